#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Takes away what only an installation needs; the Dockerfile's last stage before the image itself, which begins from scratch.
# dpkg's records stay and stay true: packages go by dpkg, and of those that stay only files go that nothing in a container opens.
# Environment: PG_MAJOR, WITH_APT, EXTRA_PACKAGES.
set -eu

wanted="postgresql-$PG_MAJOR python3 python3-psycopg2 libnss-extrausers openssl ca-certificates xz-utils zstd $EXTRA_PACKAGES"

mark_libraries() {
    # Where the base came from a bootstrap, its libraries count as wished for.
    dpkg-query -W -f '${Package} ${Section}\n' | awk '$2 ~ /^(oldlibs|libs)$/ && $1 != "libnss-extrausers" { print $1 }' | xargs apt-mark auto
    # shellcheck disable=SC2086  # words on purpose
    apt-mark manual $wanted
}

if [ "$WITH_APT" != true ]; then
    # Installing: apt with its keys, debconf and the Perl that asks its questions. File systems: nobody makes or mounts one here.
    packages=$(dpkg-query -W -f '${Package}\n' apt debconf perl-base adduser gpgv debian-archive-keyring e2fsprogs mount 2>/dev/null || true)
    mark_libraries >/dev/null
    # shellcheck disable=SC2086  # words on purpose
    apt-get -qy -o Dpkg::Use-Pty=0 --allow-remove-essential --auto-remove purge $packages
    for package in $wanted; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || {
            echo "trim: $package needs what is taken away (Perl, debconf); build with WITH_APT=true" >&2
            exit 1
        }
    done
    rm -rf /etc/apt /var/lib/apt /var/cache/apt /usr/share/perl5 /usr/lib/*/perl-base /var/cache/debconf/*
fi

# Also from a base that was pulled, which no exclusion of dpkg has seen.
find /usr/share/doc -type f ! -name copyright -delete
find /usr/share/doc -depth -type d -empty -delete
rm -rf /usr/share/man /usr/share/info /usr/share/lintian /usr/share/locale/* /usr/share/bash-completion /usr/share/zoneinfo/right \
    /usr/share/postgresql/*/man
# Character sets for iconv(3): the server converts by itself. The usual ones stay, as in Debian's later libc-bin.
find /usr/lib/*/gconv -name '*.so' ! -name 'ISO8859-1.so' ! -name 'ISO8859-15.so' ! -name 'CP1252.so' ! -name 'UTF-*.so' ! -name 'UNICODE.so' -delete
if command -v iconvconfig >/dev/null; then iconvconfig; fi
# For building packages against libraries, and debconf's questions; neither dpkg nor a scanner reads them.
rm -f /var/lib/dpkg/info/*.symbols /var/lib/dpkg/info/*.shlibs
if [ "$WITH_APT" != true ]; then rm -f /var/lib/dpkg/info/*.templates; fi
rm -f /usr/bin/pzstd
# What a debugger prints with.
rm -rf /usr/share/gcc /usr/share/gdb
# Python's own tests, the texts of its interactive help, and a drawing module whose other half (tkinter) is not there.
rm -f /usr/lib/python3*/lib-dynload/_test*.so /usr/lib/python3*/lib-dynload/_ctypes_test*.so /usr/lib/python3*/lib-dynload/_xxtestfuzz*.so \
    /usr/lib/python3*/turtle.py /usr/lib/python3*/__pycache__/turtle.*
rm -rf /usr/lib/python3*/test /usr/lib/python3*/pydoc_data/topics.py /usr/lib/python3*/pydoc_data/__pycache__ /usr/lib/python3*/lib2to3/tests

# Nobody becomes anybody else in this container, and nobody leaves files for others outside of what is mounted.
for path in /var/tmp /run/lock /var/mail; do if [ -d "$path" ]; then chmod 0755 "$path"; fi; done
# As /run/postgresql (base/install.sh). apt works as a user of its own, which has to write there.
if [ "$WITH_APT" != true ]; then chown 999:0 /tmp && chmod 1775 /tmp; fi
find / -xdev -type f -perm /6000 -exec chmod a-s {} +
rm -rf /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old
