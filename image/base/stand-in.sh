#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Makes a small Debian package that stands in for what the server packages depend on and a container does not use, and prints its path.
#
#   postgresql-common, postgresql-client-common   Perl (60 MB), the machinery of several clusters a host, and a cluster made at install time
#   locales, ssl-cert                             16 MB of sources for locales; a self-signed certificate with a private key in a layer
#   libllvmN                                      110 MB; only with WITH_JIT=false, together with the exclusion of llvmjit.so
#   debconf-2.0, cdebconf                         asks questions at install time, in Perl; only with WITH_APT=false: nobody installs anything
#
# A real package, not a forced removal: dpkg's and apt's view stays consistent, scanners see what is there and nothing else, and
# with WITH_APT=true `apt-get install` works in images built on top. Versions are the candidates of the sources in force, so versioned dependencies hold.
# Usage: stand-in.sh PG_MAJOR WITH_JIT WITH_APT DIRECTORY
set -eu

major=$1 jit=$2 with_apt=$3 work=$4
names="postgresql-common postgresql-client-common locales ssl-cert"
if [ "$jit" != true ]; then
    llvm=$(apt-cache show --no-all-versions "postgresql-$major" | grep '^Depends:' | grep -o 'libllvm[0-9.]*[a-z0-9]*' | sort -u || true)
    names="$names $llvm"
fi

provides=
for name in $names; do
    version=$(apt-cache policy "$name" | sed -n 's/^  Candidate: //p')
    case $version in
        '' | '(none)') echo "stand-in: no candidate for $name; is the package list of this distribution there?" >&2; exit 1 ;;
    esac
    provides="${provides:+$provides, }$name (= $version)"
done
if [ "$with_apt" != true ]; then provides="$provides, debconf-2.0, cdebconf"; fi

root=$work/pgops-postgresql-base
mkdir -p "$root/DEBIAN" "$root/usr/share/postgresql-common"
cat >"$root/DEBIAN/control" <<CONTROL
Package: pgops-postgresql-base
Version: 1.0
Architecture: all
Maintainer: The pgops.access developers <pgops@localhost>
Section: database
Priority: optional
Provides: $provides
Conflicts: postgresql-common, postgresql-client-common
Replaces: postgresql-common, postgresql-client-common
Description: stand-in for parts of PostgreSQL's packaging that a container does not use
 No cluster is created when the server is installed, no Perl wrappers are put before its programs.
CONTROL
cat >"$root/usr/share/postgresql-common/maintscripts-functions" <<'FUNCTIONS'
# Sourced by the maintainer scripts of postgresql-NN and its extensions: in a container there is no cluster, service or manual page to care for.
for function in configure_version stop_version remove_version configure_client_version remove_client_version \
    configure_contrib_version remove_contrib_version configure_doc_version remove_doc_version \
    preinst_check_catversion postinst_check_catversion set_system_locale; do
    eval "$function() { :; }"
done
FUNCTIONS
dpkg-deb --root-owner-group --build "$root" "$work/pgops-postgresql-base.deb" >&2
echo "$work/pgops-postgresql-base.deb"
