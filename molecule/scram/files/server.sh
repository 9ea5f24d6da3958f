#!/bin/sh
# A server of the scenario, of whatever major lies in $BIN; its data is in memory.
set -eu
data=/tmp/data
"$BIN/initdb" --no-sync --auth=peer --username=postgres --encoding=UTF8 --locale=C --pgdata="$data" >/tmp/initdb.log
cat >>"$data/postgresql.conf" <<END
listen_addresses = '*'
unix_socket_directories = '/run/postgresql'
max_connections = 60
shared_buffers = 32MB
fsync = off
password_encryption = 'md5'
log_connections = on
log_line_prefix = '%m [%p] '
$SETTINGS
END
cp /scenario/pg_hba.conf "$data/pg_hba.conf"
exec "$BIN/postgres" -D "$data" 2>>/tmp/server.log
