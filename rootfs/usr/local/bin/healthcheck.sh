#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Is this container's PostgreSQL healthy? Asks the process, the socket, a query, and as a member Patroni's REST API, in this order, and
# says which one fails. Exit status 0 or 1, one line of text, within two seconds (0.7 for the socket, 1.0 for the query); a member's within 3.
set -u

state=/run/postgresql/pgops/state

say() {
    echo "$2"
    exit "$1"
}

value() { sed -n "s/^$1=//p" "$state"; }

[ -r "$state" ] || say 1 "starting: the entrypoint has not begun its work"
phase=$(value phase) data=$(value data) user=$(value user)
[ "$phase" = running ] || say 1 "starting: $phase"

# postmaster.pid, one fact a line: process, data directory, start, port, socket directory, address, shared memory, state.
[ -r "$data/postmaster.pid" ] || say 1 "process: PostgreSQL does not run"
pid=$(sed -n 1p "$data/postmaster.pid") port=$(sed -n 4p "$data/postmaster.pid") directory=$(sed -n 5p "$data/postmaster.pid")
kill -0 "$pid" 2>/dev/null || say 1 "process: PostgreSQL (process $pid) is gone"
[ -S "$directory/.s.PGSQL.$port" ] || say 1 "socket: $directory/.s.PGSQL.$port is not there"

answer=$(timeout -k 0.1 0.7 pg_isready -h "$directory" -p "$port" -U "$user" -d postgres 2>&1)
case $? in
    0) ;;
    1)
        case $(sed -n 8p "$data/postmaster.pid") in stopping*) say 1 "stopping: the server is shutting down" ;; esac
        phase=$(timeout -k 0.1 0.5 pg_controldata "$data" 2>/dev/null | sed -n 's/^Database cluster state: *//p')
        case $phase in
            *recovery*) say 1 "recovering: $phase" ;;
            *) say 1 "starting: the server rejects connections still" ;;
        esac
        ;;
    124) say 1 "socket: no answer within 0.7 s" ;;
    *) say 1 "socket: no answer: ${answer##* - }" ;;
esac

# A server whose disk is full may answer for long; the next segment of its log does not fit.
# shellcheck disable=SC2046  # two words
set -- $(stat -f -c '%a %S' "$data")
[ $(($1 * $2)) -ge 16777216 ] || say 1 "disk: less than 16 MB are free for $data"

answer=$(PGOPTIONS='-c statement_timeout=900' PGAPPNAME=healthcheck timeout -k 0.1 1 psql -XwAtq -h "$directory" -p "$port" -U "$user" -d postgres \
    -c "SELECT CASE WHEN pg_is_in_recovery() THEN 'replica' ELSE 'primary' END" 2>&1)
case $? in
    0)
        watch=$(value watch)
        counted=$(value statistics)
        [ -n "$watch" ] || say 0 "healthy: $answer${counted:+ ($counted)}"
        said=$(timeout -k 0.1 1 /usr/bin/python3 -I -S /usr/local/lib/pgops/ask_rest.py "$watch" 2>&1) && say 0 "healthy: $answer ($said${counted:+; $counted})"
        say 1 "${said:-rest: Patroni does not answer within 1 s}"
        ;;
    124) say 1 "query: no answer within 1 s" ;;
esac
case $answer in
    *"too many clients"* | *"connection slots"*) say 1 "query: too many connections" ;;
    *"No space left"*) say 1 "query: the disk is full" ;;
    *) say 1 "query: $(echo "$answer" | tail -n 1)" ;;
esac
