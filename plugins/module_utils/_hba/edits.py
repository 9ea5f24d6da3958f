# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""What plans are made of: a document's entries with their meaning, and edits of one line that leave the rest of it alone.

An edit of a line keeps its spacing and comment where that can be done; it is read back, and where it does not mean what it should the
line is written anew in the canonical form.
"""

from __future__ import annotations

import bisect
import re
import typing as t

from . import catalog, comments
from .document import Document, Section
from .grammar import Grammar
from .lexer import scan
from .meaning import Key, Meaning, Names, meaning_of, name_key
from .model import Field, Rule, Server, Token
from .parser import Line, Place, line_reader, parse_fields
from .render import ANY_HOST, render_field, render_option, render_token, rendered
from .spec import RuleSpec, check_spec, spec_of_rule

_NO_PLACE = Place()


class Entry(t.NamedTuple):
    """A line that is more than blanks and a comment."""

    line: int
    """Index of the document's line."""
    fields: tuple[Field, ...]
    rule: object
    """What the grammar read: a ``Rule`` or a ``Mapping``; None for an include record and for a line that the server refuses."""
    meaning: t.Any
    section: str | None = None


class Entries:
    """The entries of a document, read when they are asked for: an edit of one section or one rule need not parse the whole file."""

    def __init__(self, document: Document, sections: t.Sequence[Section], grammar: Grammar | None = None) -> None:
        self._document = document
        self._grammar = grammar or HBA
        self._sections = sections
        self._begins = [section.begin for section in sections]
        self._read: dict[int, Entry] = {}
        blanks = " \t," if document.server.major >= 19 else " \t\r,"
        texts = [line.text.lstrip(blanks) for line in document.lines]
        self.contents = [index for index, text in enumerate(texts) if text and text[0] != "#"]
        """Indexes of the lines that are entries, whether the server accepts them or not."""
        self._loose: dict[t.Any, list[Entry]] = {}
        self._in_sections: dict[t.Any, Entry] = {}

    def all(self) -> list[Entry]:
        """Every entry."""
        return self.read(self.contents)

    def of_section(self, section: Section) -> list[Entry]:
        """The entries between a section's markers."""
        return self.read(self.contents_between(section.begin, section.end))

    def read(self, lines: t.Iterable[int]) -> list[Entry]:
        """The entries of these lines."""
        return [self._read.get(line) or self._entry(line) for line in lines]

    def concerning(self, keys: t.Sequence[t.Any], lines: t.Sequence[int] | None = None) -> list[Entry]:
        """Entries that may be about one of the keys, by their text, so that most lines need not be parsed; for many keys, all of them."""
        searched = self.contents if lines is None else lines
        if len(keys) > FEW:
            return self.read(searched)
        about = self._grammar.about(keys)
        return self.read([line for line in searched if about(self._document.lines[line].text)])

    def look_for(self, keys: t.Sequence[t.Any]) -> None:
        """Prepare the questions below for these keys."""
        for entry in self.concerning(keys):
            if entry.meaning is None:
                continue
            if entry.section is None:
                self._loose.setdefault(entry.meaning.key, []).append(entry)
            else:
                self._in_sections.setdefault(entry.meaning, entry)

    def first_loose(self, key: t.Any) -> Entry | None:
        """The first entry outside sections that is about these clients."""
        found = self._loose.get(key)
        return found[0] if found else None

    def dead_below(self, key: t.Any) -> list[Entry]:
        """The other entries outside sections about these clients: none of them is ever reached."""
        return self._loose.get(key, [])[1:]

    def in_section(self, meaning: t.Any, before: Entry | None) -> bool:
        """Whether an entry inside a section means this, and stands before another entry when one is given."""
        found = self._in_sections.get(meaning)
        return found is not None and (before is None or found.line < before.line)

    def contents_between(self, low: int, high: int) -> list[int]:
        """Lines with content strictly between two lines."""
        return self.contents[bisect.bisect_right(self.contents, low) : bisect.bisect_left(self.contents, high)]

    def are_neighbours(self, lines: t.Sequence[int]) -> bool:
        """Whether these lines stand in this order with no other entry between them."""
        places = [bisect.bisect_left(self.contents, line) for line in lines]
        return all(later == earlier + 1 for earlier, later in zip(places, places[1:]))

    def _entry(self, index: int) -> Entry:
        line, server = self._document.lines[index], self._document.server
        read = line_reader(server)(line.text)
        found = read.scan()
        usable = found.fields and found.error is None and line.error is None
        rule, meaning = self._grammar.read(read, server) if usable else (None, None)
        owner = bisect.bisect_left(self._begins, index) - 1
        name = self._sections[owner].name if owner >= 0 and index < self._sections[owner].end else None
        entry = Entry(index, found.fields, rule, meaning, name)
        self._read[index] = entry
        return entry


FEW = 16
"""So many keys are worth a look at a line's text before it is parsed."""


def _texts(names: Names) -> list[str]:
    """The texts behind name keys; empty for a keyword with two spellings, which every line holds."""
    return ["" if name == "ksamerole" else name[1:] for name in names]


def _may_share(text: str, wanted: t.Sequence[tuple[list[str], list[str]]]) -> bool:
    if '"' in text:
        return True
    for databases, users in wanted:
        for user in users:
            if user in text:
                for database in databases:
                    if database in text:
                        return True
    return False


def longest_run(values: t.Sequence[int | None]) -> set[int]:
    """Indexes of a longest subsequence of strictly increasing values; None never belongs to it. n log n."""
    tails: list[int] = []
    ends: list[int] = []
    before: dict[int, int | None] = {}
    for index, value in enumerate(values):
        if value is None:
            continue
        at = bisect.bisect_left(tails, value)
        before[index] = ends[at - 1] if at else None
        if at == len(tails):
            tails.append(value)
            ends.append(index)
        else:
            tails[at], ends[at] = value, index
    found: set[int] = set()
    step = ends[-1] if ends else None
    while step is not None:
        found.add(step)
        step = before[step]
    return found


# --------------------------------------------------------------------------------------------------------------- taking names away


def subtract(
    document: Document, scope: t.Sequence[Entry], unwanted: t.Sequence[tuple[Key, Meaning | None]]
) -> t.Iterator[tuple[Entry, list[str]]]:
    """Entries that lose something, each with the lines that are left of it (none: it goes).

    ``unwanted`` are keys, with the meaning when method and options must be equal too.
    """
    index: dict[tuple[str, tuple[object, ...], str], list[int]] = {}
    for number, (key, _unused) in enumerate(unwanted):
        for user in key.users:
            index.setdefault((key.type, key.address, user), []).append(number)
    for entry in scope:
        if not isinstance(entry.rule, Rule):
            continue
        key = entry.meaning.key
        numbers = sorted({number for user in key.users for number in index.get((key.type, key.address, user), ())})
        hits = [unwanted[number][0] for number in numbers if _concerns(entry.meaning, *unwanted[number])]
        if hits:
            yield entry, _rest(document, entry, entry.rule, hits)


def _concerns(meaning: Meaning, key: Key, exactly: Meaning | None) -> bool:
    if exactly is not None and (exactly.method, exactly.options) != (meaning.method, meaning.options):
        return False
    return not meaning.key.databases.isdisjoint(key.databases)


def _rest(document: Document, entry: Entry, rule: Rule, hits: t.Sequence[Key]) -> list[str]:
    """What is left of an entry's databases and users, as lines."""
    regexes = document.server.major >= catalog.REGEX_SINCE
    rows: list[tuple[Field, Field]] = [(rule.databases, rule.users)]
    for key in hits:
        left: list[tuple[Field, Field]] = []
        for databases, users in rows:
            hit, spared = _split(databases, key.databases, "database", regexes)
            gone, staying = _split(users, key.users, "user", regexes)
            if not hit or not gone:
                left.append((databases, users))
                continue
            if spared:
                left.append((spared, users))
            if staying:
                left.append((hit, staying))
        rows = left
    text = document.lines[entry.line].text
    return [_with_names(text, entry, databases, users, document.server) for databases, users in rows]


def _split(field: Field, names: Names, role: str, regexes: bool) -> tuple[Field, Field]:
    """Tokens that are among the names, and the others."""
    hit = tuple([token for token in field if name_key(token, role, regexes) in names])
    return hit, tuple([token for token in field if name_key(token, role, regexes) not in names])


# ------------------------------------------------------------------------------------------------------------------ edits of a line

_TOKEN = re.compile('(?:[^ \t\r,#"]|"[^"]*(?:"|$))+')
_SKIP = re.compile("[ \t\r,]*")


def _spans(text: str, fields: t.Sequence[Field]) -> list[tuple[int, int]] | None:
    """Where each field stands in a line; None when the simple reading does not find the fields that the lexer found."""
    spans: list[tuple[int, int]] = []
    position = _end(_SKIP, text, 0)
    for field in fields:
        start = end = position
        for _unused in field:
            match = _TOKEN.match(text, position)
            if match is None:
                return None
            end = match.end()
            position = _end(_SKIP, text, end)
        spans.append((start, end))
    return spans


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match is not None else position


def _with_names(text: str, entry: Entry, databases: Field, users: Field, server: Server) -> str:
    """A line with other names in its database and user columns."""
    spec = spec_of_entry(entry, text)._replace(databases=databases, users=users)
    spans = _spans(text, entry.fields)
    if spans is None:
        return rendered(spec, server)[0]
    parts, position = [], 0
    for (start, end), old, new, role in zip(spans[1:3], entry.fields[1:3], (databases, users), ("database", "user")):
        parts.append(text[position:start])
        if old == new:
            parts.append(text[start:end])
        else:
            parts.append(render_field(new, "database" if role == "database" else "user", server))
        position = end
    return _verified("".join([*parts, text[position:]]), spec, server)


def with_method(text: str, entry: Entry, wanted: RuleSpec, server: Server) -> str:
    """A line with another method and other options; its columns and its comment stay."""
    old = spec_of_entry(entry, text)
    spec = old._replace(method=wanted.method, options=wanted.options)
    spans = _spans(text, entry.fields)
    if spans is None or wanted.method is None:
        return rendered(spec, server)[0]
    column = 3 if old.address is None else 4 if old.netmask is None else 5
    start, end = spans[column][0], spans[-1][1]
    method = [render_token(Token(wanted.method), "method", server)]
    method += [render_option(name, value, server) for name, value in wanted.options]
    return _verified(text[:start] + " ".join(method) + text[end:], spec, server)


def recommented(text: str, comment: str | None, expires: str | None, server: Server) -> str | None:
    """A line with another comment or expiry, what stands before it as it is; None where the line would then be read differently."""
    code = text[: comments.comment_start(text)]
    bare = code.rstrip(" \t\r")
    gap = code[len(bare) :] if len(code) < len(text) and len(code) > len(bare) else "  "
    new = comments.join(comment, expires, server)
    line = f"{bare}{gap}{new}" if new else bare
    same = scan(line, server).fields == scan(text, server).fields
    return line if same and comments.split(line)[1:] == (comment or (None if not new else ""), expires) else None


def with_comment(text: str, comment: str | None, expires: str | None, server: Server) -> str:
    """A rule's line with another comment or expiry; the rule before it stays as it is."""
    line = recommented(text, comment, expires, server)
    if line is not None:
        return line
    code = text[: comments.comment_start(text)].rstrip(" \t\r")
    fields = scan(code, server).fields
    row = parse_fields(fields, server, _NO_PLACE, host=ANY_HOST)
    if not isinstance(row, Rule):
        return text
    return rendered(spec_of_rule(fields, row)._replace(comment=comment, expires=expires), server)[0]


def spec_of_entry(entry: Entry, text: str) -> RuleSpec:
    """A rule that was read, as a wanted one, with its comment and expiry. Raises ValueError for an entry that is no rule."""
    if not isinstance(entry.rule, Rule):
        raise ValueError("not a rule")
    _unused, comment, expires = comments.split(text)
    return spec_of_rule(entry.fields, entry.rule)._replace(comment=comment, expires=expires)


def _verified(line: str, spec: RuleSpec, server: Server) -> str:
    """The edited line if it means what it should and keeps the comment, else the same rule in the canonical form."""
    canonical, rule = rendered(spec, server)
    row = parse_fields(scan(line, server).fields, server, _NO_PLACE, host=ANY_HOST)
    same = isinstance(row, Rule) and meaning_of(row, server) == meaning_of(rule, server)
    return line if same and comments.split(line)[1:] == (spec.comment, spec.expires) else canonical


# ------------------------------------------------------------------------------------------------------------- the grammar of pg_hba.conf


class HbaGrammar:
    """pg_hba.conf as plans see it; implements :class:`grammar.Grammar`."""

    may_be_empty = False

    def line(self, spec: RuleSpec, server: Server) -> tuple[str, Meaning]:
        """See :meth:`grammar.Grammar.line`."""
        line, rule = rendered(spec, server)
        return line, meaning_of(rule, server)

    def check(self, spec: RuleSpec, server: Server, where: str) -> None:
        """See :meth:`grammar.Grammar.check`."""
        check_spec(spec, server, where)

    def read(self, line: Line, server: Server) -> tuple[Rule | None, Meaning | None]:
        """See :meth:`grammar.Grammar.read`."""
        row = line.rule() or parse_fields(line.scan().fields, server, _NO_PLACE, host=ANY_HOST)
        return (row, meaning_of(row, server)) if isinstance(row, Rule) else (None, None)

    def about(self, keys: t.Sequence[Key]) -> t.Callable[[str], bool]:
        """A line without quotes shares a database and a user name with a key only if it holds their texts."""
        wanted = [(_texts(key.databases), _texts(key.users)) for key in keys]
        return lambda text: _may_share(text, wanted)

    def changed(self, text: str, entry: Entry, spec: RuleSpec, server: Server) -> str:
        """See :meth:`grammar.Grammar.changed`."""
        return with_method(text, entry, spec, server)

    def commented(self, text: str, comment: str | None, expires: str | None, server: Server) -> str:
        """See :meth:`grammar.Grammar.commented`."""
        return with_comment(text, comment, expires, server)

    def subtract(
        self, document: Document, entries: Entries, lines: t.Sequence[int], specs: t.Sequence[RuleSpec]
    ) -> t.Iterator[tuple[Entry, list[str]]]:
        """See :meth:`grammar.Grammar.subtract`."""
        server = document.server
        unwanted: list[tuple[Key, Meaning | None]] = []
        for index, spec in enumerate(specs):
            check_spec(spec, server, f"rules[{index}]", absent=True)
            _unused, rule = rendered(spec if spec.method is not None else spec._replace(method="reject"), server)
            meaning = meaning_of(rule, server)
            unwanted.append((meaning.key, None if spec.method is None else meaning))
        scope = entries.concerning([key for key, _unused in unwanted], lines)
        yield from subtract(document, scope, unwanted)


HBA = HbaGrammar()
