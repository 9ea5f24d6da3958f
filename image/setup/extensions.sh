#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Compiles each directory of SOURCES that has a PGXS Makefile and installs it under TARGET, and where pg_stat_monitor is among them, or was
# installed as a package, what keeps secrets from it (discreet/). Usage: extensions.sh SOURCES TARGET
# Environment: PG_MAJOR, EXTENSION_BUILD_PACKAGES.
set -eu

sources=$1 target=$2
monitor=usr/lib/postgresql/$PG_MAJOR/lib/pg_stat_monitor.so
mkdir -p "$target"
[ -n "$(find "$sources" -mindepth 2 -maxdepth 2 -name Makefile | head -n 1)" ] || [ -e "/$monitor" ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
apt-get update -q >/dev/null
# shellcheck disable=SC2086  # words on purpose
apt-get install -qy --no-install-recommends gcc make libc6-dev libpq-dev $EXTENSION_BUILD_PACKAGES >/dev/null
# The headers and PGXS, without the 900 MB of clang and LLVM that the package asks for: nothing is compiled to bitcode here.
(cd "$work" && chmod 0755 "$work" && apt-get download -q "postgresql-server-dev-$PG_MAJOR" >/dev/null && dpkg-deb -x postgresql-server-dev-*.deb /)

compile() {
    name=$(basename "$1")
    echo "extensions: $name"
    cp -r "$1" "$work/$name"
    make -C "$work/$name" USE_PGXS=1 with_llvm=no PG_CONFIG="/usr/lib/postgresql/$PG_MAJOR/bin/pg_config" >/dev/null
    make -C "$work/$name" USE_PGXS=1 with_llvm=no PG_CONFIG="/usr/lib/postgresql/$PG_MAJOR/bin/pg_config" DESTDIR="$target" install >/dev/null
}
for makefile in "$sources"/*/Makefile; do
    [ ! -e "$makefile" ] || compile "$(dirname "$makefile")"
done
[ ! -e "/$monitor" ] && [ ! -e "$target/$monitor" ] || compile "$(dirname "$0")/discreet"
find "$target" -name '*.so' -exec strip --strip-unneeded {} +
rm -rf "$target/usr/share/doc" "$target/usr/include"
