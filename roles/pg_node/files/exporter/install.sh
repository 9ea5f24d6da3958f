#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Installs the exporter, and the user that it runs as.
set -eu

export DEBIAN_FRONTEND=noninteractive
rm -f /etc/apt/apt.conf.d/docker-clean
printf 'path-exclude=/usr/share/%s/*\n' doc man info locale lintian >/etc/dpkg/dpkg.cfg.d/pgops
printf 'path-include=/usr/share/doc/*/copyright\n' >>/etc/dpkg/dpkg.cfg.d/pgops
groupadd --system --gid 998 exporter
useradd --system --uid 998 --gid 998 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin exporter
apt-get -qy update
apt-get -qy -o APT::Keep-Downloaded-Packages=true -o Dpkg::Use-Pty=0 --no-install-recommends install prometheus-postgres-exporter
find / -xdev -type f -perm /6000 -exec chmod a-s {} +
rm -rf /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old /var/lib/dpkg/*-old
