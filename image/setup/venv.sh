#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes the virtual environment of Debian's python3 from requirements that are pinned by hash. Usage: venv.sh REQUIREMENTS TARGET
# It sees Debian's own packages, too: psycopg2 is one.
set -eu

requirements=$1 target=$2
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
if [ -s /run/build/ca.pem ]; then export PIP_CERT=/run/build/ca.pem; fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# Wheels first: two packages exist as source only and are built with Debian's setuptools, not with one fetched unpinned.
python3 -m pip wheel -q --require-hashes --no-deps --no-build-isolation -w "$wheels" -r "$requirements"
python3 -m venv --without-pip --system-site-packages "$target"
python3 -m pip --python "$target/bin/python" install -q --no-index --no-deps --no-compile "$wheels"/*.whl
"$target/bin/python" -c 'import patroni, psycopg2, etcd, pythonjsonlogger, yaml, dateutil.parser'
rm -rf "$target"/lib/python3*/site-packages/*/tests "$target"/lib/python3*/site-packages/*/test
# Wheels bring their libraries with symbols that only a debugger reads.
find "$target/lib" -name '*.so' -exec strip --strip-unneeded {} +
python3 -m compileall -q --invalidation-mode unchecked-hash "$target/lib"
