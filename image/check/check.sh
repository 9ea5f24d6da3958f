#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Stops the build when a package is older than Debian's security archive has it, by the lists that apt holds; leaves a note of what was asked.
set -eu

here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tab=$(printf '\t')

apt-get indextargets --format "\$(CODENAME)$tab\$(RELEASE)$tab\$(FILENAME)" 'Created-By: Packages' \
    | grep -E "^[a-z]*-security${tab}|${tab}[a-z]*-security${tab}" | sort -u >"$work/lists" || true
count=0
while IFS=$tab read -r _codename _release file; do
    count=$((count + 1))
    /usr/lib/apt/apt-helper cat-file "$file" >"$work/$count.packages"
done <"$work/lists"
mkdir -p /usr/share/pgops
if [ "$count" = 0 ]; then
    echo "check: no security archive is among apt's sources, so nothing is known about fixed vulnerabilities" >&2
    echo "not checked: no security archive among the sources" >/usr/share/pgops/security-check
    exit
fi
python3 "$here/fixed.py" /var/lib/dpkg/status "$work"/*.packages || {
    echo "check: build again with newer package lists (pg_image_force, or docker build --no-cache)" >&2
    exit 1
}
echo "no package is older than in Debian's security archive: $(cat "$work"/*.packages | grep -c '^Package:') packages compared" \
    >/usr/share/pgops/security-check
