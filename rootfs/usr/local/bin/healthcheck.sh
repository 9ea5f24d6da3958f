#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Is this container's PostgreSQL healthy? Asks the process, the socket, a query, and as a member Patroni's REST API, in this order, and
# says which one fails. Exit status 0 or 1, one line of text, within two seconds: 0.6 for the socket, 1.2 for query and REST API together.
set -u

state=/run/postgresql/pgops/state
[ -r "$state" ] || state=/dev/shm/pgops/state

say() {
    echo "$2"
    exit "$1"
}

value() { sed -n "s/^$1=//p" "$state"; }

[ -r "$state" ] || say 1 "starting: the entrypoint has not begun its work"
phase=$(value phase) data=$(value data) user=$(value user)
[ "$phase" = running ] || say 1 "starting: $phase"
[ ! -e "${state%state}unread" ] || say 1 "log: nobody reads the container's stdout, so the server waits"

# postmaster.pid, one fact a line: process, data directory, start, port, socket directory, address, shared memory, state.
[ -r "$data/postmaster.pid" ] || say 1 "process: PostgreSQL does not run"
pid=$(sed -n 1p "$data/postmaster.pid") port=$(sed -n 4p "$data/postmaster.pid") directory=$(sed -n 5p "$data/postmaster.pid")
kill -0 "$pid" 2>/dev/null || say 1 "process: PostgreSQL (process $pid) is gone"
[ -S "$directory/.s.PGSQL.$port" ] || say 1 "socket: $directory/.s.PGSQL.$port is not there"

answer=$(timeout -k 0.1 0.6 pg_isready -h "$directory" -p "$port" -U "$user" -d postgres 2>&1)
case $? in
    0) ;;
    1)
        case $(sed -n 8p "$data/postmaster.pid") in stopping*) say 1 "stopping: the server is shutting down" ;; esac
        phase=$(timeout -k 0.1 0.4 pg_controldata "$data" 2>/dev/null | sed -n 's/^Database cluster state: *//p')
        case $phase in
            *recovery*) say 1 "recovering: $phase" ;;
            *) say 1 "starting: the server rejects connections still" ;;
        esac
        ;;
    124 | 137) say 1 "socket: no answer within 0.6 s" ;;
    *) say 1 "socket: no answer: ${answer##* - }" ;;
esac

# A server whose disk is full may answer for long; the next segment of its log does not fit.
# shellcheck disable=SC2046  # two words
set -- $(stat -f -c '%a %S' "$data")
[ $(($1 * $2)) -ge 16777216 ] || say 1 "disk: less than 16 MB are free for $data"

# Both at once; a member's second question must not add to the time of the first.
watch=$(value watch)
both=$(
    if [ -n "$watch" ]; then
        {
            said=$(timeout -k 0.1 1.2 /usr/bin/python3 -I -S /usr/local/lib/pgops/ask_rest.py "$watch" 2>&1)
            echo "rest $? $said"
        } &
    fi
    answer=$(PGOPTIONS='-c statement_timeout=1100' PGAPPNAME=healthcheck timeout -k 0.1 1.2 psql -XwAtq -h "$directory" -p "$port" -U "$user" \
        -d postgres -c "SELECT CASE WHEN pg_is_in_recovery() THEN 'replica' ELSE 'primary' END" 2>&1)
    echo "query $? $(echo "$answer" | tail -n 1)"
    wait
)
of() { echo "$both" | sed -n "s/^$1 //p"; }

answer=$(of query)
status=${answer%% *} answer=${answer#* }
case $status:$answer in
    0:*) ;;
    124:* | 137:*) say 1 "query: no answer within 1.2 s" ;;
    *"too many clients"* | *"connection slots"*) say 1 "query: too many connections" ;;
    *"No space left"*) say 1 "query: the disk is full" ;;
    *) say 1 "query: $answer" ;;
esac
counted=$(value statistics)
[ -n "$watch" ] || say 0 "healthy: $answer${counted:+ ($counted)}"
said=$(of rest)
case $said in
    "0 "*) say 0 "healthy: $answer (${said#* }${counted:+; $counted})" ;;
    "124 "* | "137 "*) say 1 "rest: Patroni does not answer within 1.2 s" ;;
    *) say 1 "${said#* }" ;;
esac
