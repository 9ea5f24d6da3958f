#!/usr/bin/env bash
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Healthy means that a scrape answers, and that the exporter reached its server for it. One line says which.

if ! { exec 3<>/dev/tcp/127.0.0.1/9187; } 2>/dev/null; then
    echo "starting: nothing listens on port 9187"
    exit 1
fi
printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
answer=$(timeout 4 cat <&3)
case $answer in
    *$'\n'"pg_up 1"$'\n'*) echo "healthy: pg_up 1" ;;
    *$'\n'"pg_up 0"$'\n'*) echo "server: pg_up 0, the exporter does not reach PostgreSQL or is not let in"; exit 1 ;;
    *) echo "scrape: no answer within 4 s"; exit 1 ;;
esac
