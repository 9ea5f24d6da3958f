#!/bin/sh
# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# ICU's data library (30 MB) without what a database server never asks for: names of currencies, units and time zones, names of languages in
# other languages than English, calendars and number formats, spelled-out numbers, transliteration, where lines may break, dictionaries for words
# of scripts without capitals, and converters of encodings that PostgreSQL does not know. What PostgreSQL does ask for stays as it is, byte for
# byte: collation, locales and their English names, case and word boundaries, normalization, converters. The build ends here unless sortkeys.py
# gets the same answers from both libraries.
# Usage: slim.sh TARGET (a directory that gets the library under its path)
set -eu

here=$(readlink -f "$(dirname "$0")")
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

# The library is one table of bytes under one name; its section is mapped where it lies in the file.
# shellcheck disable=SC2046  # two words
set -- $(readelf --wide --dyn-syms "$library" | awk '/ icudt[0-9]+_dat$/ { print $2, $3 }')
tail -c "+$((0x$1 + 1))" "$library" | head -c "$(($2))" >"$work/icudt${major}l.dat"
mkdir "$work/items" "$work/new"
icupkg --extract '*' --destdir "$work/items" "$work/icudt${major}l.dat"
python3 "$here/sortkeys.py" >"$work/full"

cd "$work/items"
rm -r unit curr zone translit rbnf
find lang region -name '*.res' ! -name 'root.res' ! -name 'pool.res' ! -name 'res_index.res' ! -name 'en*.res' -delete
# A locale's own file: calendars, formats. Collations and the list of all locales lie elsewhere.
find . -maxdepth 1 -regextype posix-extended -regex './[a-z]{2,3}(_[A-Za-z0-9_]+)?[.]res' ! -name res_index.res -delete
rm -f brkitr/line*.brk brkitr/sent*.brk brkitr/*.dict unames.icu confusables.cfu zoneinfo64.res metaZones.res windowsZones.res
sed -n 's/^converter .* \([^ ]*\)$/\1.cnv/p' "$work/full" >"$work/converters.txt"
find . -name '*.cnv' | sed 's,^[.]/,,' | grep -vxF -f "$work/converters.txt" >"$work/others.txt"
# Some are no more than what is different from another one; icupkg says from which.
icupkg --remove "$work/others.txt" "$work/icudt${major}l.dat" "$work/new/unused.dat" 2>&1 | sed -n 's/.* depends on missing item \(.*[.]cnv\)$/\1/p' >"$work/needed"
grep -vxF -f "$work/needed" "$work/others.txt" | xargs rm
# Written as Debian's own was: from all items, the same program gives the same bytes.
find . -type f | sed 's,^[.]/,,' | LC_ALL=C sort >"$work/keep"
gencmn -n "icudt${major}l" -t dat -s "$work/items" -d "$work/new" 0 "$work/keep"
cd "$work"
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

LD_LIBRARY_PATH=$work python3 "$here/sortkeys.py" >"$work/slim"
cmp "$work/full" "$work/slim"
[ "$(wc -l <"$work/full")" -gt 700 ]
install -m 0644 "$work/$(basename "$library")" "$target$library"
