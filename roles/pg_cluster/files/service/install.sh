#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Installs one program and the user that it runs as. Usage: install.sh etcd|haproxy
set -eu

case ${1:-} in
    etcd) packages="etcd-server etcd-client" data=/var/lib/etcd ;;
    haproxy) packages=haproxy data=/var/lib/haproxy ;;
    *) echo "install: PROGRAM is '${1:-}', not etcd or haproxy: docker build --build-arg PROGRAM=etcd" >&2; exit 1 ;;
esac
export DEBIAN_FRONTEND=noninteractive
rm -f /etc/apt/apt.conf.d/docker-clean
printf 'path-exclude=/usr/share/%s/*\n' doc man info locale lintian >/etc/dpkg/dpkg.cfg.d/pgops
printf 'path-include=/usr/share/doc/*/copyright\n' >>/etc/dpkg/dpkg.cfg.d/pgops
groupadd --system --gid 998 "$1"
useradd --system --uid 998 --gid 998 --no-create-home --home-dir "$data" --shell /usr/sbin/nologin "$1"
apt-get -qy update
# shellcheck disable=SC2086  # words on purpose
apt-get -qy -o APT::Keep-Downloaded-Packages=true -o Dpkg::Use-Pty=0 --no-install-recommends install $packages
# The volume takes over owner and mode.
install -d -o 998 -g 998 -m 0700 "$data"
find / -xdev -type f -perm /6000 -exec chmod a-s {} +
rm -rf /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old /var/lib/dpkg/*-old
