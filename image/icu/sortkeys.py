# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL asks of ICU, asked of the library that the loader finds: one line for each locale, to be compared between two libraries.

For each locale: its version, the sort keys of a sample in each of its collations, upper, lower and title case of it, its language
tag, its likely script, and its English name (which becomes the comment of a collation); rules of one's own; and for each encoding that
PostgreSQL knows and ICU has, the converter's answer and its name.
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import re
import typing as t

# Server encodings for which PostgreSQL uses ICU (src/common/encnames.c, pg_enc2icu_tbl), and those of clients, which libxml2 may meet.
ENCODINGS = [
    "EUC-JP", "EUC-CN", "EUC-KR", "EUC-TW", "UTF-8", *(f"ISO-8859-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)),
    "CP866", "KOI8-R", "KOI8-U", *(f"CP125{n}" for n in range(9)),
    "Shift_JIS", "Big5", "GBK", "GB18030", "windows-949", "US-ASCII", "UTF-16", "UTF-32",
]  # fmt: skip
# ruff: noqa: RUF001
SAMPLE = (
    "abc ABC äöü ÄÖÜ ß ch ll ij IJ æøå ÆØÅ ñ č ž š ğ ı İ i I 10 9 a-b a b a_b ΑΒΓ αβγ άς σ "
    "абв АБВ ё й 漢字 中文 日本語 かな カナ ㄅ 한글 ไทย เกา ກ ខ က हिन्दी தமிழ் עברית العربية ֆ ქართული ⅷ ﬁ ｱ 𝒜 𐐀 \u0301e e\u0301 ''\"!? "
    # Where words end without blanks: dictionaries of scripts that have no case must not matter for it.
    "abกรุงเทพมหานครcd efភាសាខ្មែរgh ijမြန်မာဘာသာkl mnພາສາລາວop qr東京都渋谷区st uvひらがなカタカナwx yz다람쥐ab "
    "o'neil l'été can't 3rd x.y a:b"
)
WORDS = [*SAMPLE.split(" "), SAMPLE]
RULES = ["&a < b <<< B &z < ch <<< Ch <<< CH", "[import de-u-co-phonebk]", "[import zh-u-co-stroke] &a < z", "[reorder Grek Cyrl]"]


def library(name: str) -> tuple[ctypes.CDLL, str]:
    path = sorted(glob.glob(f"/usr/lib/*/lib{name}.so.*"), key=len)[0]
    return ctypes.CDLL(path), re.search(r"\.so\.(\d+)", path)[1]


def utf16(text: str) -> tuple[ctypes.Array, int]:
    raw = text.encode("utf-16-le")
    buffer = (ctypes.c_uint16 * (len(raw) // 2)).from_buffer_copy(raw)
    return buffer, len(buffer)


def utf16_of(buffer: ctypes.Array, length: int) -> bytes:
    return bytes(memoryview(buffer)[: max(length, 0)].cast("B"))


class Asker:
    """The two libraries' functions."""

    def __init__(self) -> None:
        self._uc, self._major = library("icuuc")
        self._i18n, _unused = library("icui18n")
        self._out = ctypes.create_string_buffer(8192)
        self._wide = (ctypes.c_uint16 * 8192)()

    def uc(self, name: str, *words: object, gives: object = ctypes.c_int32) -> t.Any:
        """Call a function of libicuuc."""
        found = getattr(self._uc, f"{name}_{self._major}")
        found.restype = gives
        return found(*words)

    def i18n(self, name: str, *words: object, gives: object = ctypes.c_int32) -> t.Any:
        """Call a function of libicui18n."""
        found = getattr(self._i18n, f"{name}_{self._major}")
        found.restype = gives
        return found(*words)

    def locales(self) -> list[bytes]:
        return [self.uc("uloc_getAvailable", index, gives=ctypes.c_char_p) for index in range(self.uc("uloc_countAvailable"))]

    def collations(self, locale: bytes) -> list[bytes]:
        """The locale, and it with each collation that it has beside its own."""
        status = ctypes.c_int32(0)
        values = ctypes.c_void_p(
            self.i18n("ucol_getKeywordValuesForLocale", b"collation", locale, ctypes.c_byte(1), ctypes.byref(status), gives=ctypes.c_void_p)
        )
        found = []
        while value := self.uc("uenum_next", values, None, ctypes.byref(status), gives=ctypes.c_char_p):
            found.append(locale + b"@collation=" + value)
        self.uc("uenum_close", values, gives=None)
        return [locale, *found]

    def sorted(self, collator: ctypes.c_void_p) -> bytes:
        """The collator's version and its sort keys of the sample."""
        self.i18n("ucol_getVersion", collator, self._out, gives=None)
        answers = [self._out.raw[:4]]
        for word in WORDS:
            answers.append(self._out.raw[: self.i18n("ucol_getSortKey", collator, *utf16(word), self._out, len(self._out))])
        self.i18n("ucol_close", collator, gives=None)
        return b"".join(answers)

    def locale(self, name: bytes) -> str:
        """All that is asked about a locale, as one line."""
        status = ctypes.c_int32(0)
        digest = hashlib.sha256()
        for collation in self.collations(name):
            collator = ctypes.c_void_p(self.i18n("ucol_open", collation, ctypes.byref(status), gives=ctypes.c_void_p))
            digest.update(collation + str(status.value).encode() + self.sorted(collator))
        for case in ("u_strToUpper", "u_strToLower", "u_strToTitle"):
            extra = (None,) if case == "u_strToTitle" else ()
            length = self.uc(case, self._wide, len(self._wide), *utf16(SAMPLE), *extra, name, ctypes.byref(status))
            digest.update(utf16_of(self._wide, length))
        for function, extra in (("uloc_toLanguageTag", (ctypes.c_byte(1),)), ("uloc_addLikelySubtags", ()), ("uloc_canonicalize", ())):
            self._out.value = b""
            self.uc(function, name, self._out, len(self._out), *extra, ctypes.byref(status))
            digest.update(self._out.value)
        length = self.uc("uloc_getDisplayName", name, b"en", self._wide, len(self._wide), ctypes.byref(status))
        return f"{name.decode()} {status.value} {digest.hexdigest()} {utf16_of(self._wide, length).decode('utf-16-le')}"

    def rules(self, text: str) -> str:
        """The answer of a collator made of rules."""
        status = ctypes.c_int32(0)
        collator = self.i18n("ucol_openRules", *utf16(text), 17, -1, None, ctypes.byref(status), gives=ctypes.c_void_p)
        digest = hashlib.sha256(self.sorted(ctypes.c_void_p(collator)) if collator else b"").hexdigest()
        return f"rules {status.value} {digest} {text}"

    def encoding(self, name: str) -> str:
        """The answer of a converter, and its name, which is that of its file where it has one."""
        status = ctypes.c_int32(0)
        converter = ctypes.c_void_p(self.uc("ucnv_open", name.encode(), ctypes.byref(status), gives=ctypes.c_void_p))
        length = self.uc("ucnv_fromUChars", converter, self._out, len(self._out), *utf16(SAMPLE), ctypes.byref(status))
        digest = hashlib.sha256(self._out.raw[: max(length, 0)]).hexdigest()
        real = self.uc("ucnv_getName", converter, ctypes.byref(status), gives=ctypes.c_char_p)
        return f"converter {name} {status.value} {digest} {(real or b'').decode()}"


def main() -> None:
    """Print the lines."""
    asker = Asker()
    for name in asker.locales():
        print(asker.locale(name))
    for text in RULES:
        print(asker.rules(text))
    for name in ENCODINGS:
        print(asker.encoding(name))


if __name__ == "__main__":
    main()
