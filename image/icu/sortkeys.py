# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL asks of ICU, asked of the library that the loader finds: one line for each locale, to be compared between two libraries.

For each locale: the collator's version, the sort keys of a sample, upper, lower and title case of it, and the locale's English name (which
becomes the comment of a collation); and for each server encoding that has ICU, the converter's answer.
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import re

# Server encodings for which PostgreSQL uses ICU (src/common/encnames.c, pg_enc2icu_tbl).
ENCODINGS = [
    "EUC-JP", "EUC-CN", "EUC-KR", "EUC-TW", "UTF-8", *(f"ISO-8859-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)),
    "CP866", "KOI8-R", "KOI8-U", *(f"CP125{n}" for n in range(9)),
]  # fmt: skip
# ruff: noqa: RUF001
SAMPLE = (
    "abc ABC äöü ÄÖÜ ß ch ll ij IJ æøå ÆØÅ ñ č ž š ğ ı İ i I 10 9 a-b a b a_b ΑΒΓ αβγ άς σ "
    "абв АБВ ё й 漢字 中文 日本語 かな カナ ㄅ 한글 ไทย เกา ກ ខ က हिन्दी தமிழ் עברית العربية ֆ ქართული ⅷ ﬁ ｱ 𝒜 𐐀 \u0301e e\u0301 ''\"!?"
)


def library(name: str) -> tuple[ctypes.CDLL, str]:
    path = sorted(glob.glob(f"/usr/lib/*/lib{name}.so.*"), key=len)[0]
    return ctypes.CDLL(path), re.search(r"\.so\.(\d+)", path)[1]


def utf16(text: str) -> tuple[ctypes.Array, int]:
    raw = text.encode("utf-16-le")
    buffer = (ctypes.c_uint16 * (len(raw) // 2)).from_buffer_copy(raw)
    return buffer, len(buffer)


def main() -> None:
    """Print the lines."""
    uc, major = library("icuuc")
    i18n, _unused = library("icui18n")

    def function(lib: ctypes.CDLL, name: str, result: object = ctypes.c_int32) -> ctypes._CFuncPtr:
        found = getattr(lib, f"{name}_{major}")
        found.restype = result
        return found

    name_of, count = function(uc, "uloc_getAvailable", ctypes.c_char_p), function(uc, "uloc_countAvailable")
    open_, close = function(i18n, "ucol_open", ctypes.c_void_p), function(i18n, "ucol_close", None)
    key, version = function(i18n, "ucol_getSortKey"), function(i18n, "ucol_getVersion", None)
    display, convert = function(uc, "uloc_getDisplayName"), function(uc, "ucnv_open", ctypes.c_void_p)
    to_bytes = function(uc, "ucnv_fromUChars")
    words = [*SAMPLE.split(" "), SAMPLE]
    for index in range(count()):
        locale = name_of(index)
        status = ctypes.c_int32(0)
        collator = ctypes.c_void_p(open_(locale, ctypes.byref(status)))
        digest = hashlib.sha256(str(status.value).encode())
        out = ctypes.create_string_buffer(4096)
        version(collator, out)
        digest.update(out.raw[:4])
        for word in words:
            digest.update(out.raw[: key(collator, *utf16(word), out, 4096)])
        close(collator)
        wide = (ctypes.c_uint16 * 4096)()
        for case in ("u_strToUpper", "u_strToLower", "u_strToTitle"):
            extra = (None,) if case == "u_strToTitle" else ()
            length = function(uc, case)(wide, 4096, *utf16(SAMPLE), *extra, locale, ctypes.byref(status))
            digest.update(bytes(memoryview(wide)[:length].cast("B")))
        length = display(locale, b"en", wide, 4096, ctypes.byref(status))
        name = bytes(memoryview(wide)[:length].cast("B")).decode("utf-16-le")
        print(locale.decode(), status.value, digest.hexdigest(), name)
    for encoding in ENCODINGS:
        status = ctypes.c_int32(0)
        converter = ctypes.c_void_p(convert(encoding.encode(), ctypes.byref(status)))
        out = ctypes.create_string_buffer(4096)
        length = to_bytes(converter, out, 4096, *utf16(SAMPLE), ctypes.byref(status))
        print(encoding, status.value, hashlib.sha256(out.raw[:length]).hexdigest())


if __name__ == "__main__":
    main()
