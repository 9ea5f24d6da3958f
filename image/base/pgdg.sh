#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Adds the PostgreSQL project's own apt repository, for a major version that the distribution does not have.
# The key comes from Debian's signed package postgresql-common and must have the fingerprint below: a changed key stops the build.
# Usage: pgdg.sh URL (of the repository, without /dists)
set -eu

fingerprint=B97B0AFCAA1A47F044F244A07FCC7D46ACCC4CF8
url=$1
key=usr/share/postgresql-common/pgdg/apt.postgresql.org.asc
ring=/usr/share/keyrings/apt.postgresql.org.gpg
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")-pgdg
chmod 0755 "$work"
(cd "$work" && apt-get download -q postgresql-common >&2)
dpkg-deb --fsys-tarfile "$work"/postgresql-common_*.deb | tar -x -C "$work" "./$key"

export GNUPGHOME="$work/gnupg"
mkdir -m 0700 "$GNUPGHOME"
found=$(gpg --batch --with-colons --show-keys "$work/$key" | awk -F: '$1 == "fpr" { print $10; exit }')
if [ "$found" != "$fingerprint" ]; then
    echo "pgdg: the repository key has the fingerprint '$found', not $fingerprint: the key was replaced; check it and change image/base/pgdg.sh" >&2
    exit 1
fi
gpg --batch --yes --dearmor --output "$ring" "$work/$key"
chmod 0644 "$ring"
echo "deb [signed-by=$ring] $url $suite main" >/etc/apt/sources.list.d/pgdg.list
