#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# One line for each pg_hba.conf below the places that are given: name|file|socket directory|port, the last two empty where no server runs.
# A name is Debian's VERSION/NAME, or the data directory.
set -u

clusters=$(pg_lsclusters --no-header 2>/dev/null)

data_directory() {
    printf '%s\n' "$clusters" | awk -v version="$1" -v name="$2" '$1 == version && $2 == name { print $6 }'
}

for place in "$@"; do
    for file in "$place"/pg_hba.conf "$place"/*/pg_hba.conf "$place"/*/*/pg_hba.conf; do
        [ -f "$file" ] || continue
        directory=$(dirname "$file")
        name=$directory
        case $file in
            /etc/postgresql/*/*/pg_hba.conf)
                name=${directory#/etc/postgresql/}
                directory=$(data_directory "${name%/*}" "${name#*/}")
                ;;
        esac
        # The file's lines, by src/include/utils/pidfile.h: process, data directory, start, port, socket directory, ...
        process=$(sed -n '1{s/[^0-9]//g;p;}' "$directory/postmaster.pid" 2>/dev/null)
        if [ -n "$process" ] && [ -d "/proc/$process" ]; then
            port=$(sed -n 4p "$directory/postmaster.pid" | tr -d ' ')
            socket=$(sed -n '5{s/ *$//;p;}' "$directory/postmaster.pid")
        else
            port='' socket=''
        fi
        printf '%s|%s|%s|%s\n' "$name" "$file" "$socket" "$port"
    done
done
