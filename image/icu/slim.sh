#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# ICU's data library (30 MB) without what a database server never asks for: names of currencies, units and time zones, spelled-out numbers,
# transliteration, EBCDIC. What PostgreSQL does ask for stays as it is, byte for byte: collation, locales and their names, case and word
# boundaries, normalization, converters. The build ends here unless sortkeys.py gets the same answers from both libraries.
# Usage: slim.sh TARGET (a directory that gets the library under its path)
set -eu

here=$(dirname "$0")
target=$1
library=$(readlink -f "$(ldconfig -p | sed -n 's/.* => \(.*libicudata\.so\.[0-9]*\)$/\1/p' | head -n 1)")
major=$(basename "$library" | sed 's/^libicudata\.so\.\([0-9]*\).*/\1/')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$target$(dirname "$library")"
if [ "$WITH_FULL_ICU" = true ]; then
    cp -p "$library" "$target$library"
    exit
fi
apt-get update -q >/dev/null
apt-get install -qy --no-install-recommends icu-devtools binutils >/dev/null

# The converters are those of mainframes and of X11's compound text.
unused='^(unit|curr|zone|translit|rbnf)/|^(ibm-(1364|1371|1388|1390|1399|16684|930|933|935|937|939)_|icu-internal-compound-).*[.]cnv$'

# The library is one table of bytes under one name; its section is mapped where it lies in the file.
# shellcheck disable=SC2046  # two words
set -- $(readelf --wide --dyn-syms "$library" | awk '/ icudt[0-9]+_dat$/ { print $2, $3 }')
tail -c "+$((0x$1 + 1))" "$library" | head -c "$(($2))" >"$work/icudt${major}l.dat"
icupkg --list "$work/icudt${major}l.dat" | grep -E "$unused" >"$work/remove.txt"
[ "$(wc -l <"$work/remove.txt")" -gt 500 ]
# The items carry the name of the file.
mkdir "$work/new"
icupkg --remove "$work/remove.txt" "$work/icudt${major}l.dat" "$work/new/icudt${major}l.dat"
name=icudt${major}_dat
as -o "$work/data.o" - <<ASSEMBLY
    .section .rodata
    .balign 16
    .globl $name
    .type $name, %object
$name: .incbin "$work/new/icudt${major}l.dat"
    .size $name, . - $name
    .section .note.GNU-stack, "", %progbits
ASSEMBLY
ld -shared -z noexecstack -soname "libicudata.so.$major" -o "$work/$(basename "$library")" "$work/data.o"
ln -s "$(basename "$library")" "$work/libicudata.so.$major"

python3 "$here/sortkeys.py" >"$work/full"
LD_LIBRARY_PATH=$work python3 "$here/sortkeys.py" >"$work/slim"
cmp "$work/full" "$work/slim"
[ "$(wc -l <"$work/full")" -gt 700 ]
install -m 0644 "$work/$(basename "$library")" "$target$library"
