#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Installs the server, Python and the few tools that the entrypoint calls; runs once, in the Dockerfile's base stage.
# Environment: PG_MAJOR, PGDG_URL, WITH_JIT, WITH_APT, EXTRA_PACKAGES, EXTRA_LOCALES, as the Dockerfile explains them.
set -eu

here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DEBIAN_FRONTEND=noninteractive

apt() { apt-get -qy -o APT::Keep-Downloaded-Packages=true -o Dpkg::Use-Pty=0 --no-install-recommends "$@"; }

# The mounted package cache would be emptied by this file of Docker's own Debian images.
rm -f /etc/apt/apt.conf.d/docker-clean
# Documentation and translations stay out of every layer; with them out, translated server messages are out as well.
cat >/etc/dpkg/dpkg.cfg.d/pgops <<EXCLUDES
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/lintian/*
path-exclude=/usr/share/bash-completion/*
path-exclude=/usr/share/zoneinfo/right/*
EXCLUDES
if [ "$WITH_JIT" != true ]; then
    # Without the library pg_jit_available() is false and nothing else changes; with it and no LLVM each costly query would fail.
    cat >>/etc/dpkg/dpkg.cfg.d/pgops <<EXCLUDES
path-exclude=/usr/lib/postgresql/*/lib/bitcode/*
path-exclude=/usr/lib/postgresql/*/lib/llvmjit*
EXCLUDES
fi

# Before any package can take the numbers: 999 is what volumes made by docker-library's image are owned by.
groupadd --system --gid 999 postgres
useradd --system --uid 999 --gid 999 --no-create-home --home-dir /var/lib/postgresql --shell /bin/bash postgres

apt update
# A base that was pulled some time ago lacks fixes that exist.
apt upgrade
# Some ways to make a base image leave the converter to a merged /usr in it, and with it all of Perl (50 MB).
if dpkg-query -W usrmerge >/dev/null 2>&1 && [ -L /bin ]; then
    apt install usr-is-merged
    # An essential package's dependency asks for either; apt wants to hear that leaving this one is meant.
    # shellcheck disable=SC2046  # words on purpose
    apt purge --allow-remove-essential usrmerge $(dpkg-query -W -f '${Package}\n' '*perl*' | grep -v '^perl-base$')
    apt autoremove --purge
fi
if ! apt-cache show "postgresql-$PG_MAJOR" >/dev/null 2>&1; then
    apt install ca-certificates gpg
    "$here/pgdg.sh" "$PGDG_URL"
    apt -o APT::Update::Error-Mode=any update || {
        echo "install: PostgreSQL $PG_MAJOR is not in this distribution, and $PGDG_URL cannot be used; PGDG_URL may name a mirror" >&2
        exit 1
    }
fi
# Sources and keys that the user gave (image/extensions).
for file in /extensions/apt/*.list /extensions/apt/*.sources; do
    if [ -f "$file" ]; then
        install -m 0644 "$file" /etc/apt/sources.list.d/
        given="${given:-} /etc/apt/sources.list.d/$(basename "$file")"
    fi
done
for file in /extensions/apt/*.asc /extensions/apt/*.gpg; do
    if [ -f "$file" ]; then install -D -m 0644 -t /etc/apt/keyrings "$file"; fi
done
if [ -n "${given:-}" ]; then apt -o APT::Update::Error-Mode=any update; fi
stand_in=$("$here/stand-in.sh" "$PG_MAJOR" "$WITH_JIT" "$WITH_APT" "$work")
jit=
if [ "$WITH_JIT" = true ] && apt-cache show "postgresql-$PG_MAJOR-jit" >/dev/null 2>&1; then
    jit=postgresql-$PG_MAJOR-jit
fi
# shellcheck disable=SC2086  # words on purpose
apt install "$stand_in" "postgresql-$PG_MAJOR" python3 python3-psycopg2 libnss-extrausers openssl ca-certificates \
    xz-utils zstd $jit $EXTRA_PACKAGES
if dpkg-query -W gpg >/dev/null 2>&1; then apt purge --auto-remove gpg; fi

# Locales of the C library, beside C.UTF-8 and ICU's: compiled from the package's sources, which are 16 MB and do not stay.
if [ -n "$EXTRA_LOCALES" ]; then
    (cd "$work" && apt-get download -q locales && dpkg-deb -x locales_*.deb locales)
    for locale in $EXTRA_LOCALES; do
        I18NPATH=$work/locales/usr/share/i18n localedef -i "${locale%%.*}" -c -f "${locale#*.}" "$locale" || {
            echo "install: EXTRA_LOCALES: $locale cannot be made; write it like de_DE.UTF-8" >&2
            exit 1
        }
    done
fi

# The later stages need what is Debian's only, and what is built on top may not reach the user's own.
# shellcheck disable=SC2086  # words on purpose
if [ -n "${given:-}" ]; then rm -f $given; fi

# The defaults of new clusters, in the file that initdb copies: reachable from outside the container, statements counted, SCRAM. Utility
# statements are not counted from the first moment: initdb and Patroni give the superuser its password with one.
sample=/usr/share/postgresql/$PG_MAJOR/postgresql.conf.sample
sed -i -e "s/^#*listen_addresses = .*/listen_addresses = '*'/" \
    -e "s/^#*shared_preload_libraries = .*/shared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.track_utility = off/" \
    -e "s/^#*password_encryption = .*/password_encryption = scram-sha-256/" "$sample"
[ "$(grep -cE "^(listen_addresses|shared_preload_libraries|pg_stat_statements.track_utility|password_encryption) = " "$sample")" = 4 ]

# Group 0 may do what the user may, and the user is in it: an arbitrary user id with group 0, as Kubernetes distributions give it, can run this
# image, and so can the user where an engine mounts a temporary file system without a mode: it takes over the mode, but belongs to root.
usermod --append --groups root postgres
install -d -o 999 -g 0 -m 0775 /var/lib/postgresql /docker-entrypoint-initdb.d /run/postgresql
chmod 0775 /run
# Its name comes from a file that the entrypoint writes (libnss-extrausers; libnss-wrapper would bring all of Perl).
sed -i -e 's/^passwd:.*/passwd:         files extrausers/' /etc/nsswitch.conf
grep -q '^passwd: *files extrausers$' /etc/nsswitch.conf
mkdir -p /var/lib/extrausers
ln -sfn /dev/shm/pgops/passwd /var/lib/extrausers/passwd
# Who may not write there (another user with another group, or a read-only root without a mount) works in shared memory, where everybody may,
# and is found through these links; whoever may write there replaces them.
ln -s /dev/shm/pgops /run/postgresql/pgops
ln -s /dev/shm/pgops/.s.PGSQL.5432 /run/postgresql/.s.PGSQL.5432
chown -h 999:0 /run/postgresql/pgops /run/postgresql/.s.PGSQL.5432
# A mount point always, never a directory of a running container: a new volume takes over its mode, whoever mounts it need not know the
# user, and there is no other way for a user with another group. 0700 once it is used.
install -d -o 999 -g 0 -m 1777 /var/lib/postgresql/data
