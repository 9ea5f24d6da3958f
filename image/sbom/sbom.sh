#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Two software bills of materials (CycloneDX): Debian's packages of ROOT, and the virtual environment. Usage: sbom.sh REQUIREMENTS ROOT TARGET
set -eu

requirements=$1 root=$2 target=$3
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
if [ -s /run/build/ca.pem ]; then export PIP_CERT=/run/build/ca.pem; fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1

python3 -m pip install -q --require-hashes --no-deps --target "$tools" -r "$requirements"
export PYTHONPATH="$tools"
mkdir -p "$target"
python3 "$tools/bin/debsbom" generate --root "$root" -t cdx --distro-name pgops-postgres -o "$target/debian"
env -u PYTHONPATH python3 -c 'import sys; sys.path.insert(0, sys.argv.pop(1)); from cyclonedx_py.__main__ import main; sys.exit(main())' \
    "$tools" environment --no-validate --output-reproducible -o "$target/python.cdx.json" /opt/pgops/venv/bin/python
