# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random files: from the grammar, with every oddity that the lexer and the parser know of, and from the corpus by mutation.

Everything is drawn from one ``random.Random``, so that a seed gives the same files on every machine.
"""

from __future__ import annotations

import random
import typing as t

from .corpus import Case
from .vocabulary import (
    ADDRESSES,
    ASPECTS,
    ATOMS,
    BLANKS,
    BRACKET_PARTS,
    COMMENTS,
    ENDS,
    GOOD_ADDRESSES,
    LDAP_TAILS,
    LENGTHS,
    MASKS,
    METHODS,
    NAMES,
    ODD_METHODS,
    ODD_TYPES,
    OPTION_METHODS,
    OPTIONS,
    OWN_OPTIONS,
    PLAIN,
    QUANTIFIERS,
    REGEX_OPENERS,
    REGEX_PIECES,
    REGEX_STARTS,
    REGEXES,
    SPICE,
    TYPES,
    VALUES,
)


class Generator:
    """Draws cases for one major from a seed."""

    def __init__(self, seed: int, major: int) -> None:
        self.rng = random.Random(seed)
        self.major = major
        self.odd = ASPECTS

    def chance(self, one_in: float) -> bool:
        return self.rng.random() < 1 / one_in

    def draw_oddity(self) -> None:
        """Choose what the next record is odd in: usually one or two things, so that the rest does not hide them."""
        self.odd = ASPECTS if self.chance(10) else frozenset(self.rng.sample(sorted(ASPECTS), self.rng.choice([0, 1, 1, 2])))

    # --- tokens and fields ------------------------------------------------------------------------------------------

    def written(self, text: str) -> str:
        """A token as text: bare, or quoted in one of the ways that mean the same or nearly so."""
        if "quotes" not in self.odd:
            return text if text and not set(text) & set(' \t\r,#"@') else '"' + text.replace('"', '""') + '"'
        needs = text == "" or any(c in text for c in ' \t\r,#"') or text.startswith("@")
        doubled = text.replace('"', '""')
        roll = self.rng.random()
        if roll < (0.25 if needs else 0.80):
            return text
        if roll < 0.93:
            return f'"{doubled}"'
        cut = self.rng.randint(0, len(text))
        one, other = text[:cut].replace('"', '""'), text[cut:].replace('"', '""')
        return self.rng.choice(
            [
                f'{text[:cut]}"{other}"',
                f'"{one}"{text[cut:]}',
                f'""{text}',
                f'{text[:cut]}""{text[cut:]}',
                f'"{text}',
                f'{text}"',
                f"'{text}'",
            ]
        )

    def name(self) -> str:
        roll = self.rng.random()
        if roll < 0.55 or "names" not in self.odd:
            return self.rng.choice(PLAIN)
        if roll < 0.80:
            return self.rng.choice(NAMES)
        if roll < 0.95:
            return self.regex()
        return "".join(self.rng.choice('ab+@/,"#= \\é') for _ in range(self.rng.randint(0, 6)))

    def regex(self) -> str:
        if self.chance(2):
            return self.rng.choice(REGEXES)
        return "/" + "".join(self.rng.choice(REGEX_PIECES) for _ in range(self.rng.randint(1, 7)))

    def field(self, draw: t.Callable[[], str]) -> str:
        count = 1 if self.chance(1.3) else self.rng.randint(1, 4)
        glue = self.rng.choice([",", ",", ",", ", ", " ,", ",,", ",\\\n"]) if "blanks" in self.odd else ","
        return glue.join(draw() for _ in range(count))

    def names(self) -> str:
        return self.field(lambda: self.written(self.name()))

    def number(self) -> str:
        return self.rng.choice(
            [
                str(self.rng.randint(0, 300)),
                hex(self.rng.randint(0, 300)),
                "0" + oct(self.rng.randint(0, 300))[2:],
                str(self.rng.randint(0, 2**33)),
            ]
        )

    def address(self) -> str:
        roll = self.rng.random()
        if "address" not in self.odd:
            return self.rng.choice(GOOD_ADDRESSES)
        if roll < 0.75:
            return self.rng.choice(ADDRESSES)
        if roll < 0.88:
            dotted = ".".join(self.number() for _ in range(self.rng.randint(1, 5)))
            return dotted + self.rng.choice(["", "/8", "/32", "/0", f"/{self.rng.randint(0, 40)}"])
        groups = [self.rng.choice(["", "0", "1", "ffff", "db8", "10.1.2.3", "%lo", "12345"]) for _ in range(self.rng.randint(2, 9))]
        return ":".join(groups) + self.rng.choice(["", "/64", "/128", "/0", f"/{self.rng.randint(0, 140)}"])

    # --- records -----------------------------------------------------------------------------------------------------

    def option(self, method: str) -> str:
        own = OWN_OPTIONS.get(method, ["map", "clientcert"])
        name = self.rng.choice(own) if not self.chance(5) else self.rng.choice(OPTIONS)
        value = self.rng.choice(VALUES.get(name, ["x", "", "a b", "a=b", "a,b", "é", '"', "1", "dc=a,dc=b"]))
        roll = self.rng.random()
        if "quotes" not in self.odd:
            return self.written(f"{name}={value}")
        if roll < 0.45 and not any(c in value for c in ' ,#"'):
            return f"{name}={value}"
        doubled = value.replace('"', '""')
        if roll < 0.80:
            return f'"{name}={doubled}"'
        return self.rng.choice(
            [
                f'{name}="{doubled}"',
                f'"{name}"={value}',
                f"{name}={value}",
                f"{name} = {value}",
                name,
                f'{name}"="{value}',
                f'{name}="{value}',
            ]
        )

    def pick(self, usual: list[str], odd: list[str], one_in: float) -> str:
        return self.rng.choice(odd if self.chance(one_in) else usual)

    def record(self) -> str:
        """One record of pg_hba.conf, usually whole, with its oddities."""
        self.draw_oddity()
        kind = self.pick(TYPES, ODD_TYPES, 8) if "type" in self.odd else self.rng.choice(TYPES)
        method = self.method()
        if method == "peer" and kind != "local" and "method" not in self.odd:
            method = "ident"
        fields = [kind, self.names(), self.names()]
        if kind != "local" or ("structure" in self.odd and self.chance(4)):
            fields.append(self.address())
            bare = "/" not in fields[-1] and fields[-1][:1].isdigit()
            if bare or ("structure" in self.odd and self.chance(3)):
                good = "ffff::" if ":" in fields[-1] else "255.255.0.0"
                fields.append(self.rng.choice(MASKS) if "address" in self.odd else good)
        fields.append(method if "quotes" not in self.odd else self.written(method))
        fields += self.options(method)
        if "structure" in self.odd:
            roll = self.rng.randrange(4)
            if roll == 0:
                del fields[self.rng.randrange(len(fields)) :]
            elif roll == 1:
                fields.insert(self.rng.randint(0, len(fields)), self.written(self.rng.choice(NAMES)))
        return self.joined(fields)

    def method(self) -> str:
        if "method" in self.odd:
            return self.pick(METHODS, ODD_METHODS, 4)
        return self.rng.choice(OPTION_METHODS if "options" in self.odd else ["trust", "md5", "scram-sha-256", "reject", "password", "peer"])

    def options(self, method: str) -> list[str]:
        """Options: what the method needs, and with them or instead of them anything."""
        needed = {
            "ldap": [self.rng.choice(["ldapprefix=x", "ldapsuffix=x", "ldapbasedn=x", '"ldapurl=ldap://h/dc=a"'])],
            "radius": ["radiusservers=127.0.0.1", "radiussecrets=s"],
            "oauth": ["issuer=i", "scope=s"],
        }.get(method, [])
        if "options" not in self.odd:
            return needed
        kept = [option for option in needed if not self.chance(5)]
        drawn = [self.option(method) for _ in range(self.rng.choice([0, 1, 1, 2, 3, 5]))]
        return [*kept, *drawn] if self.chance(2) else [*drawn, *kept]

    def joined(self, fields: list[str]) -> str:
        if "blanks" not in self.odd:
            return " ".join(fields)
        text = self.rng.choice(["", "", "", " ", "\t", ",", ", "])
        for field in fields:
            text += field + (" " if not self.chance(5) else self.rng.choice(BLANKS))
        if self.chance(4):
            text += self.rng.choice(COMMENTS)
        if self.chance(4):
            cut = self.rng.randint(0, len(text))
            text = text[:cut] + self.rng.choice(["\\\n", "\\\r\n", "\\", "\r", "\0", '"', "#", "\x1c", "\x85"]) + text[cut:]
        return text

    def mapping(self) -> str:
        """One record of pg_ident.conf."""
        self.draw_oddity()
        fields = [self.written(self.rng.choice(["m", "m", "map", "M", "all", "/m", "include", "@", "", "a b", "+m"]))]
        systems = ["root", "nobody", "alice", "all", "+grp", "/^(.*)@x$", "/^a", "/(.)(.)", "/", "", "é", "a b", "a,b", *REGEXES[10:40]]
        targets = ["alice", "bob", "all", "+grp", "\\1", "x\\1y\\1", "/^a", "/", "", "+", "\\2", '"all"', *REGEXES[:30]]
        fields += [self.written(self.rng.choice(systems)), self.written(self.rng.choice(targets))]
        if self.chance(8):
            fields[self.rng.randrange(3)] = self.names()
        if self.chance(10):
            del fields[self.rng.randrange(3) :]
        if self.chance(10):
            fields.append("extra")
        return self.joined(fields)

    # --- files -------------------------------------------------------------------------------------------------------

    def file(self, kind: str, names: list[str], lines: int) -> bytes:
        """A file's bytes; ``names`` are the companions that it may mention."""
        out = ""
        for _ in range(lines):
            roll = self.rng.random()
            if roll < 0.12:
                out += self.rng.choice(COMMENTS)
            elif roll < 0.20 and names:
                out += self.inclusion(names)
            elif roll < 0.28 and names:
                out += f"local {self.at(names)} all trust" if kind == "hba" else f"m {self.at(names)} alice"
            else:
                out += self.record() if kind == "hba" else self.mapping()
            out += self.rng.choice(ENDS) if self.chance(2) else "\n"
        if self.chance(3):
            out = out.rstrip("\n")
        return self.seasoned(out.encode("utf-8", "surrogatepass"))

    def seasoned(self, raw: bytes) -> bytes:
        if self.chance(6):
            cut = self.rng.randint(0, len(raw))
            raw = raw[:cut] + self.rng.choice(SPICE) + raw[cut:]
        return raw

    def at(self, names: list[str]) -> str:
        token = f"@{self.rng.choice(names)}"
        return self.rng.choice(
            [token, token, f'@"{token[1:]}"', f'"{token}"', f"x,{token}", f"{token},{token}", f"{token},y", f'{token[:2]}"{token[2:]}"']
        )

    def inclusion(self, names: list[str]) -> str:
        word = self.rng.choice(
            ["include", "include", "include_if_exists", "include_dir", "include_dir", "Include", '"include"', "include_nope"]
        )
        target = self.rng.choice(
            [*names, "d", "d", "missing", "missing.d", ".", "..", '""', "./a.conf", "sub/../a.conf", "d/a.conf,b.conf", "@a.txt"]
        )
        tail = self.rng.choice(["", "", "", " # c", " x", ",", ",x", " "])
        return f"{word} {self.written(target) if self.chance(4) else target}{tail}"

    def companions(self, kind: str) -> tuple[dict[str, bytes], list[str]]:
        files: dict[str, bytes] = {}
        names = [
            "a.txt",
            "b.txt",
            "a.conf",
            "b c.conf",
            "d/a.conf",
            "d/10.conf",
            "d/9.conf",
            "d/.x.conf",
            "d/y.CONF",
            "d/n.conf~",
            "d/conf",
            "d/.conf",
            "d/a.conf",
            "sub/a.txt",
        ]
        later: list[str] = []
        for name in self.rng.sample(names, self.rng.randint(1, 6)):
            relative = (
                later if self.major < 16 or not self.chance(6) else [*later, name]
            )  # up to 15 a file that reads itself ends the server
            if name.endswith(".txt"):
                content = "".join(
                    self.names() + self.rng.choice([" ", "\n", ",", "\n", "\r\n", "\\\n", "\n# c\n", "#"])
                    for _ in range(self.rng.randint(0, 4))
                )
                if relative and self.chance(3):
                    content += "@" + self.rng.choice(relative) + "\n"
                files[name] = self.seasoned(content.encode("utf-8", "surrogatepass"))
            else:
                files[name] = self.file(kind, relative, self.rng.randint(0, 3))
            later.append(name)
        return files, later

    def case(self, kind: str, name: str) -> Case:
        """A case from the grammar."""
        files: dict[str, bytes] = {}
        names: list[str] = []
        if self.chance(3):
            files, names = self.companions(kind)
            names = [*names, "missing.txt", "sub", "d"]
        chmod = {self.rng.choice(sorted(files)): 0} if files and self.chance(8) else {}
        symlinks = {}
        if files and self.chance(10):
            symlinks = {
                self.rng.choice(["d/l.conf", "l.txt", "d/s.conf"]): self.rng.choice(["../a.txt", "nowhere", "a.conf", "..", "/dev/null"])
            }
        ssl = not self.chance(8)
        text = self.file(kind, names, self.rng.randint(1, 5))
        return Case(name, kind, text, ssl=ssl, files=files, chmod=chmod, symlinks=symlinks)

    def batch(self, name: str, lines: int = 60) -> Case:
        """Many one-line probes of one column: the rest of each line is plain, so that its row shows what was made of the column."""
        self.odd = frozenset()
        probe = self.rng.choice(
            [self._probe_address, self._probe_mask, self._probe_regex, self._probe_ldap, self._probe_radius, self._probe_token]
        )
        text = "".join(probe() + "\n" for _ in range(lines))
        return Case(name, "hba", text.encode("utf-8", "surrogatepass"))

    def stretched(self, name: str) -> Case:
        """Lines and tokens about as long as the limits: the read chunk of 12 and 13, the token of 12 to 15, the buffer that a NUL meets."""
        out = b""
        for _ in range(self.rng.randint(1, 4)):
            length = self.rng.choice(LENGTHS) + self.rng.randint(-3, 3)
            shape = self.rng.randrange(6)
            if shape == 0:
                line = b"local " + b"a" * max(length - 16, 1) + b" all trust"
            elif shape == 1:
                line = b"local " + b",".join([b"abcdefg"] * max((length - 16) // 8, 1)) + b" all trust"
                line = line.ljust(length, b"x") if self.chance(2) else line
            elif shape == 2:
                line = b"#".ljust(length, b"c") + self.rng.choice([b"", b"local all all trust", b" \\", b"\\"])
            elif shape == 3:
                line = b"local all all trust".ljust(length) + self.rng.choice([b"", b"x", b"# c", b"\r", b'"', b"map=x"])
            elif shape == 4:
                line = b'local "' + b"\xc3\xa9" * max((length - 18) // 2, 1) + b'" all trust'
            else:
                line = b"host all all " + b"h" * max(length - 30, 1) + b" trust " + b"map=" + b"v" * self.rng.choice([1, 200, 300])
            if self.chance(3):
                at = self.rng.choice([length, length - 1, self.rng.randint(0, len(line)), 1023, 1024, 2047])
                line = line[:at] + self.rng.choice([b"\0", b"\0x", b"\\", b"\r", b"\n", b'"', b"\\\n", b"\0\n", b"\0\\"]) + line[at:]
            out += line + self.rng.choice([b"\n", b"\n", b"\n", b"\r\n", b"\\\n", b"\0\n", b""])
        kind = "hba" if self.chance(1.2) else "ident"
        if self.chance(4):
            return Case(name, kind, b"local @long.txt all trust\nlocal b b trust\n", files={"long.txt": out})
        return Case(name, kind, out)

    def _soup(self, alphabet: str, longest: int) -> str:
        return "".join(self.rng.choice(alphabet) for _ in range(self.rng.randint(0, longest)))

    def _spoiled(self, text: str, alphabet: str) -> str:
        """A text with up to two characters changed, dropped or put in."""
        for _ in range(self.rng.choice([0, 1, 1, 2])):
            at = self.rng.randint(0, len(text))
            text = text[:at] + self.rng.choice(["", self.rng.choice(alphabet)]) + text[at + self.rng.choice([0, 1]) :]
        return text

    def _probe_address(self) -> str:
        self.odd = frozenset({"address"})
        drawn = (
            self.address()
            if self.chance(2)
            else self._spoiled(self.rng.choice([*ADDRESSES, *GOOD_ADDRESSES]), "0123456789abcdefxX.:/%lo +-")
        )
        quoted = drawn.replace('"', "")
        return f'host all all "{quoted}" trust' if self.chance(2) else f'host all all "{quoted}" 255.0.0.0 trust'

    def _probe_mask(self) -> str:
        mask = self.rng.choice(MASKS) if self.chance(3) else self._spoiled(self.rng.choice(MASKS), "0123456789abcdefx.:%/ ")
        return f'host all all {self.rng.choice(["1.2.3.4", "::1"])} "{mask}" trust'.replace('""', '"')

    def _probe_regex(self) -> str:
        self.odd = frozenset({"names"})
        roll = self.rng.randrange(4)
        if roll == 0:
            drawn = self.regex()
        elif roll == 1:
            drawn = self._spoiled(self.rng.choice(REGEXES), "".join(REGEX_PIECES))
        else:
            drawn = self.regex_soup()
        quoted = drawn.replace('"', '""')
        return f'local "{quoted}" all trust' if self.chance(2) else f'local all "{quoted}" trust'

    def regex_soup(self) -> str:
        """A longer expression from pieces that fit together more often than not."""
        depth, out = 0, self.rng.choice(REGEX_STARTS)
        for _ in range(self.rng.randint(1, 10)):
            roll = self.rng.random()
            if roll < 0.15:
                out += self.rng.choice(REGEX_OPENERS)
                depth += 1
            elif roll < 0.25 and depth:
                out += ")"
                depth -= 1
            elif roll < 0.45:
                out += self.rng.choice(QUANTIFIERS)
            elif roll < 0.6:
                out += self.bracket()
            else:
                out += self.rng.choice(ATOMS)
        return out + ")" * (depth if not self.chance(6) else 0)

    def bracket(self) -> str:
        """A bracket expression."""
        inner = "".join(self.rng.choice(BRACKET_PARTS) for _ in range(self.rng.randint(0, 3)))
        return f"[{self.rng.choice(['', '', '^', '^]', ']'])}{inner}{']' if not self.chance(12) else ''}"

    def _probe_ldap(self) -> str:
        if self.chance(4):
            return f'host all all all ldap ldapbasedn=x "ldapport={self._soup("0123456789 +-x", 11)}"'
        url = self.rng.choice(VALUES["ldapurl"])
        roll = self.rng.randrange(4)
        if roll in (1, 2):
            url = self._spoiled(url, "ldapsh:/?%,()=&@[]#1a <>")
        elif roll == 3:
            url = "ldap" + self._soup(":/?%,()=a1s[]@ ", 14)
        quoted = url.replace('"', '""')
        return f'host all all all ldap "ldapurl={quoted}"{self.rng.choice(LDAP_TAILS)}'

    def _probe_radius(self) -> str:
        """Lists of servers, secrets, ports and names; servers are numeric, because PostgreSQL would ask the resolver for names."""
        parts = []
        for name in OWN_OPTIONS["radius"]:
            if name in ("radiusservers", "radiussecrets") or self.chance(2):
                drawn = self._spoiled(self.rng.choice(VALUES[name]), ' ,"\t\v' if name == "radiusservers" else ' ,"1a\t\v.x-')
                doubled = drawn.replace('"', '""')
                parts.append(f'"{name}={doubled}"')
        self.rng.shuffle(parts)
        return f"host all all all radius {' '.join(parts)}"

    def _probe_token(self) -> str:
        return f"local {self._soup('ab,#@+ ' + chr(34) * 3 + chr(92), 12)} all trust"

    def mutated(self, cases: list[Case], name: str) -> Case:
        """A corpus case with a few bytes, lines or fields changed, or two of them spliced."""
        base = self.rng.choice(cases)
        raw = base.text
        for _ in range(self.rng.choice([1, 1, 1, 2, 3, 6])):
            raw = self.mutation(raw, cases, base.kind)
        files = dict(base.files)
        if files and self.chance(2):
            victim = self.rng.choice(sorted(files))
            files[victim] = self.mutation(files[victim], cases, base.kind)
        return base._replace(name=name, text=raw, files=files, outcomes=())

    def mutation(self, raw: bytes, cases: list[Case], kind: str) -> bytes:
        position = self.rng.randint(0, len(raw))
        length = self.rng.choice([1, 1, 1, 2, 3, 8])
        roll = self.rng.randrange(8)
        if roll == 0:
            return raw[:position] + raw[position + length :]
        if roll == 1:
            return raw[:position] + self.rng.choice(SPICE) + raw[position:]
        if roll == 2:
            return raw[:position] + self.rng.choice(SPICE) + raw[position + length :]
        if roll == 3:
            return raw[:position] + bytes([self.rng.randrange(256)]) + raw[position + 1 :]
        if roll == 4:
            other = self.rng.choice([case for case in cases if case.kind == kind]).text
            cut = self.rng.randint(0, len(other))
            return raw[:position] + other[cut : cut + 200] if self.chance(2) else raw + other
        if roll == 5:
            words = raw.split(b" ")
            one, two = self.rng.randrange(len(words)), self.rng.randrange(len(words))
            words[one], words[two] = words[two], words[one]
            return b" ".join(words)
        if roll == 6:
            words = raw.split(b" ")
            where = self.rng.randrange(len(words))
            words[where] = self.rng.choice([self.names, self.address, self.record, self.regex])().encode("utf-8", "surrogatepass")
            return b" ".join(words)
        lines = raw.split(b"\n")
        where = self.rng.randrange(len(lines))
        return b"\n".join([*lines[:where], *lines[where:][:1], *lines[where:]])
