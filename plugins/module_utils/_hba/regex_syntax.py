# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""Text of a PostgreSQL regular expression → syntax tree, or the server's own reason why it is none.

The grammar is PostgreSQL's advanced one (manual 9.7.3) with its directors (``***:``, ``***=``), embedded options and the two
older flavours that the options ``b`` and ``e`` select. The order in which problems are found is the server's (regcomp.c and
regc_lex.c, PostgreSQL 15): one token of look-ahead, the first problem wins; ``tests/differential/test_regex.py`` compares with
a running server.

Everything is in bytes: pg_hba.conf and pg_ident.conf are matched before a database, and so an encoding, is known.
"""

from __future__ import annotations

import re
import typing as t

# The server's messages (src/include/regex/regerrs.h); they are data that people compare with their log.
BAD_VERSION = "invalid regexp (reg version 0.8)"
BAD_COLLATING = "invalid collating element"
BAD_CLASS = "invalid character class"
BAD_ESCAPE = "invalid escape \\ sequence"
BAD_BACKREF = "invalid backreference number"
BAD_BRACKET = "brackets [] not balanced"
BAD_PAREN = "parentheses () not balanced"
BAD_BRACE = "braces {} not balanced"
BAD_COUNT = "invalid repetition count(s)"
BAD_RANGE = "invalid character range"
BAD_OPERAND = "quantifier operand invalid"
BAD_OPTION = "invalid embedded option"
TOO_BIG = "regular expression is too complex"

MAX_COUNT = 255
"""Largest number in ``{m,n}`` (RE_DUP_MAX)."""
MAX_DEPTH = 8165
"""Deepest nesting that a server with the default ``max_stack_depth`` of 2 MB accepts; measured on 15.18, differs a little by build."""
MAX_SIZE = 43_400
"""Expanded states that the server accepts; measured on 15.18 (``a{255}`` 170 times, 43,554 letters)."""
GROUP_SIZE = 2
"""States that the server adds for a capturing group; measured on 15.18 (13,074 times ``()``)."""

ALL_BYTES = (1 << 256) - 1
NEWLINE = 1 << 10
LONGER = 1
SHORTER = 2


class Bytes(t.NamedTuple):
    """One byte out of a set: bit *b* of ``mask`` is set when byte *b* is in it."""

    mask: int


class Anchor(t.NamedTuple):
    """A condition on a position: ``bol eol bos eos word_start word_end word_edge not_word_edge``; ``nl_bol nl_eol`` also at newlines."""

    kind: str


class Look(t.NamedTuple):
    """Look-ahead or look-behind."""

    body: Choice
    ahead: bool
    negative: bool


class Back(t.NamedTuple):
    """Back reference to a capturing group."""

    number: int


class Group(t.NamedTuple):
    """Parentheses; ``number`` 0 when they do not capture."""

    body: Choice
    number: int


Atom = t.Union[Bytes, Anchor, Look, Back, Group]


class Piece(t.NamedTuple):
    """An atom and how often: ``high`` None is no upper bound; ``prefer`` 0 when no quantifier states a preference."""

    atom: Atom
    low: int = 1
    high: int | None = 1
    prefer: int = 0


class Choice(t.NamedTuple):
    """Branches between ``|``; each is a tuple of pieces."""

    branches: tuple[tuple[Piece, ...], ...]


class Syntax(t.NamedTuple):
    """A valid expression."""

    root: Choice
    groups: int
    """Capturing groups."""
    ignore_case: bool
    back_references: bool
    branches: int
    """How many branches it has, those between parentheses included."""
    size: int
    """Estimate of the states after expanding repetitions."""
    depth: int


class BadRegex(Exception):
    """The server refuses the expression; ``args[0]`` is its reason."""


def _mask(low: int, high: int) -> int:
    """Bits ``low`` … ``high`` inclusive, cut to bytes."""
    high = min(high, 255)
    return ((1 << (high + 1)) - 1) & ~((1 << low) - 1) if low <= high else 0


def _of(text: str) -> int:
    mask = 0
    for char in text:
        mask |= 1 << ord(char)
    return mask


_DIGIT = _mask(48, 57)
_UPPER = _mask(65, 90)
_LOWER = _mask(97, 122)
_ALNUM = _DIGIT | _UPPER | _LOWER
WORD = _ALNUM | _of("_")
_SPACE = _mask(9, 13) | _of(" ")
_PRINT = _mask(32, 126)
CLASSES: dict[str, int] = {
    "alnum": _ALNUM,
    "alpha": _UPPER | _LOWER,
    "ascii": _mask(0, 127),
    "blank": _of(" \t"),
    "cntrl": _mask(0, 31) | _mask(127, 159),
    "digit": _DIGIT,
    "graph": _PRINT & ~_of(" "),
    "lower": _LOWER,
    "print": _PRINT,
    "punct": _PRINT & ~_of(" ") & ~_ALNUM,
    "space": _SPACE,
    "upper": _UPPER,
    "word": WORD,
    "xdigit": _DIGIT | _mask(65, 70) | _mask(97, 102),
}
"""Character classes in the C locale, in which the server compiles these expressions."""


def _words(text: str) -> list[str]:
    return text.split()


_CONTROL_NAMES = _words(
    "NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC IS4 IS3 IS2 IS1"
)
_PRINT_NAMES = _words(
    "space exclamation-mark quotation-mark number-sign dollar-sign percent-sign ampersand apostrophe left-parenthesis "
    "right-parenthesis asterisk plus-sign comma hyphen period slash zero one two three four five six seven eight nine colon "
    "semicolon less-than-sign equals-sign greater-than-sign question-mark commercial-at"
)
ELEMENTS: dict[str, int] = {
    **{name: code for code, name in enumerate(_CONTROL_NAMES)},
    **{name: code for code, name in enumerate(_PRINT_NAMES, 32)},
    "alert": 7,
    "backspace": 8,
    "tab": 9,
    "newline": 10,
    "vertical-tab": 11,
    "form-feed": 12,
    "carriage-return": 13,
    "FS": 28,
    "GS": 29,
    "RS": 30,
    "US": 31,
    "hyphen-minus": 45,
    "full-stop": 46,
    "solidus": 47,
    "left-square-bracket": 91,
    "backslash": 92,
    "reverse-solidus": 92,
    "right-square-bracket": 93,
    "circumflex": 94,
    "circumflex-accent": 94,
    "underscore": 95,
    "low-line": 95,
    "grave-accent": 96,
    "left-brace": 123,
    "left-curly-bracket": 123,
    "vertical-line": 124,
    "right-brace": 125,
    "right-curly-bracket": 125,
    "tilde": 126,
    "DEL": 127,
}
"""Names of POSIX collating elements that the server knows."""


def fold(mask: int) -> int:
    """The set with the other case of every ASCII letter in it (the C locale knows no other letters)."""
    return mask | ((mask & _UPPER) << 32) | ((mask & _LOWER) >> 32)


def folded(byte: int) -> int:
    """A byte in lower case."""
    return byte + 32 if 65 <= byte <= 90 else byte


# Runs that are read at once, so that megabytes of them take a moment.
_BLANKS = re.compile(r"[ \t\n\v\f\r]*")
_BRACKET_CHARS = re.compile(r"[^]\[\\-]*")
_LETTER_BRANCHES = re.compile(r"(?:[A-Za-z0-9_]\|){0,9999}")


def _end(pattern: re.Pattern[str], text: str, pos: int) -> int:
    found = pattern.match(text, pos)
    return found.end() if found else pos


class _Flags:
    """Embedded options. ``extended`` and ``advanced`` are both on for the normal flavour, both off for the basic one."""

    def __init__(self) -> None:
        self.extended = True
        self.advanced = True
        self.literal = False
        self.ignore_case = False
        self.expanded = False
        self.newline_stops = False
        self.newline_anchors = False

    def apply(self, letter: str) -> None:
        """One option letter of ``(?letters)``."""
        if letter in "beq":
            self.extended, self.advanced, self.literal = letter == "e", False, letter == "q"
        elif letter in "ci":
            self.ignore_case = letter == "i"
        elif letter in "tx":
            self.expanded = letter == "x"
        elif letter in "mnpsw":
            self.newline_stops = letter in "mnp"
            self.newline_anchors = letter in "mnw"
        else:
            raise BadRegex(BAD_OPTION)


# Contexts of the scanner.
_MAIN, _BASIC, _LITERAL, _BOUND, _BASIC_BOUND, _BRACKETS, _ELEMENT, _EQUIVALENCE, _CLASS = range(9)
_NAMED_END = {_ELEMENT: ".", _EQUIVALENCE: "=", _CLASS: ":"}

# Kinds of tokens; single characters stand for themselves.
START, END, PLAIN, DIGIT, BACK, NAMED, NAME_END, CLASS_IN, CLASS_OUT, RANGE, LOOK, ANCHOR, CARET = (
    "start", "end", "plain", "digit", "back", "named", "name end", "class", "not class", "range", "look", "anchor", "caret",
)  # fmt: skip

_SIMPLE_ESCAPES = {"a": 7, "b": 8, "B": 92, "e": 27, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_ANCHOR_ESCAPES = {"A": "bos", "Z": "eos", "m": "word_start", "M": "word_end", "y": "word_edge", "Y": "not_word_edge"}
_CLASS_ESCAPES = {"d": "digit", "s": "space", "w": "word"}
_LOOKS = {"=": (True, False), "!": (True, True)}
_ALPHA = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = {char: value for value, char in enumerate("0123456789abcdef")} | {char: value for value, char in enumerate("ABCDEF", 10)}


class Scanner:
    """Tokens of an expression, one ahead: ``kind`` and ``value`` (a byte or code point, a flag, a name) are the next one.

    ``groups`` is kept by the parser: the scanner needs it to tell a back reference from an octal escape.
    """

    def __init__(self, text: str, major: int) -> None:
        self.text = text
        self.major = major
        self.pos = 0
        self.flags = _Flags()
        self.kind = START
        self.last = START
        self.value: t.Any = None
        self.groups = 0
        self._prefixes()
        if self.flags.literal:
            self.context = _LITERAL
        else:
            self.context = _MAIN if self.flags.extended else _BASIC
        self.advance()

    def _prefixes(self) -> None:
        if len(self.text) >= 4 and self.text.startswith("***"):
            director = self.text[3]
            if director == "?":
                raise BadRegex(BAD_VERSION)
            if director not in "=:":
                raise BadRegex(BAD_OPERAND)
            self.pos = 4
            if director == "=":
                self.flags.apply("q")
                return
        if self.text.startswith("(?", self.pos) and self.text[self.pos + 2 : self.pos + 3] in _ALPHA:
            self.pos += 2
            while self._peek() in _ALPHA:
                self.flags.apply(self._take())
            if self._peek() != ")":
                raise BadRegex(BAD_OPTION)
            self.pos += 1
            if self.flags.literal:
                self.flags.expanded = self.flags.newline_stops = self.flags.newline_anchors = False

    @property
    def in_main(self) -> bool:
        """Outside brackets and bounds, in the advanced or extended flavour, where blanks count."""
        return self.context == _MAIN and not self.flags.expanded

    def skip_bracket_run(self) -> str:
        """In brackets: the characters after this one that can only stand for themselves; the last of a run may begin a range."""
        end = _end(_BRACKET_CHARS, self.text, self.pos) - 1
        run = self.text[self.pos : end]
        self.pos = max(self.pos, end)
        return run

    def _peek(self) -> str:
        """The next character, empty at the end."""
        return self.text[self.pos : self.pos + 1]

    def _take(self) -> str:
        char = self.text[self.pos]
        self.pos += 1
        return char

    def _eat(self, char: str) -> bool:
        if self._peek() == char:
            self.pos += 1
            return True
        return False

    def _set(self, kind: str, value: t.Any = None) -> None:
        self.kind, self.value = kind, value

    def _skip_blanks(self) -> None:
        """Expanded syntax: white space and comments to the end of the line."""
        while True:
            self.pos = _end(_BLANKS, self.text, self.pos)
            if self._peek() != "#":
                return
            end = self.text.find("\n", self.pos)
            self.pos = len(self.text) if end < 0 else end

    def advance(self) -> None:
        """Reads the next token."""
        self.last = self.kind
        again = True
        while again:
            if self.flags.expanded and self.context in (_MAIN, _BASIC, _BOUND, _BASIC_BOUND):
                self._skip_blanks()
            if self.pos >= len(self.text):
                return self._at_end()
            char = self._take()
            again = self._one(char)
        return None

    def _at_end(self) -> None:
        if self.context in (_BOUND, _BASIC_BOUND):
            raise BadRegex(BAD_BRACE)
        if self.context in (_BRACKETS, _ELEMENT, _EQUIVALENCE, _CLASS):
            raise BadRegex(BAD_BRACKET)
        self._set(END)

    def _one(self, char: str) -> bool:
        """One token that begins with ``char``; True when it was only a comment."""
        context = self.context
        if context == _MAIN:
            return self._main(char)
        if context == _BASIC:
            self._basic(char)
        elif context == _LITERAL:
            self._set(PLAIN, ord(char))
        elif context in (_BOUND, _BASIC_BOUND):
            self._bound(char)
        elif context == _BRACKETS:
            self._in_brackets(char)
        elif char == _NAMED_END[context] and self._eat("]"):
            self.context = _BRACKETS
            self._set(NAME_END)
        else:
            self._set(PLAIN, ord(char))
        return False

    def _main(self, char: str) -> bool:
        if char in "*+?":
            self._set(char, SHORTER if self.flags.advanced and self._eat("?") else LONGER)
        elif char == "(":
            if self.flags.advanced and self._eat("?"):
                return self._special_group()
            self._set("(", True)
        elif char == "[":
            self._open_bracket()
        elif char == "{":
            if self.flags.expanded:
                self._skip_blanks()
            if self._peek() and self._peek() in "0123456789":
                self.context = _BOUND
                self._set("{")
            else:
                self._set(PLAIN, ord(char))
        elif char in "|.)":
            self._set(char, ord(char))
        elif char in "^$":
            self._set(CARET if char == "^" else ANCHOR, self._line_anchor(char))
        elif char == "\\":
            self._escape_outside()
        else:
            self._set(PLAIN, ord(char))
        return False

    def _line_anchor(self, char: str) -> str:
        return ("nl_" if self.flags.newline_anchors else "") + ("bol" if char == "^" else "eol")

    def _special_group(self) -> bool:
        """What follows ``(?``; True for a comment."""
        char = self._take() if self._peek() else ""
        if char == ":":
            self._set("(", False)
        elif char == "#":
            end = self.text.find(")", self.pos)
            self.pos = len(self.text) if end < 0 else end + 1
            return True
        elif char in _LOOKS:
            self._set(LOOK, _LOOKS[char])
        elif char == "<" and self._peek() in _LOOKS:
            self._set(LOOK, (False, _LOOKS[self._take()][1]))
        else:
            raise BadRegex(BAD_OPERAND)
        return False

    def _open_bracket(self) -> None:
        for text, kind in (("[:<:]]", "word_start"), ("[:>:]]", "word_end")):
            if self.text.startswith(text, self.pos):
                self.pos += len(text)
                return self._set(ANCHOR, kind)
        self.context = _BRACKETS
        return self._set("[", not self._eat("^"))

    def _escape_outside(self) -> None:
        if not self._peek():
            raise BadRegex(BAD_ESCAPE)
        if self.flags.advanced:
            self._escape()
        else:
            self._set(PLAIN, ord(self._take()))

    def _bound(self, char: str) -> None:
        if char in "0123456789":
            self._set(DIGIT, int(char))
        elif char == ",":
            self._set(",")
        elif char == "}" and self.context == _BOUND:
            self.context = _MAIN
            self._set("}", SHORTER if self.flags.advanced and self._eat("?") else LONGER)
        elif char == "\\" and self.context == _BASIC_BOUND and self._eat("}"):
            self.context = _BASIC
            self._set("}", LONGER)
        else:
            raise BadRegex(BAD_COUNT)

    def _in_brackets(self, char: str) -> None:
        if char == "]" and self.last != "[":
            self.context = _MAIN if self.flags.extended else _BASIC
            self._set("]")
        elif char == "\\" and self.flags.advanced:
            if not self._peek():
                raise BadRegex(BAD_ESCAPE)
            self._escape()
            allowed = (PLAIN, CLASS_IN, CLASS_OUT) if self.major >= 14 else (PLAIN, CLASS_IN)
            if self.kind not in allowed:
                raise BadRegex(BAD_ESCAPE)
        elif char == "-" and self.last != "[" and self._peek() != "]":
            self._set(RANGE, ord(char))
        elif char == "[":
            if not self._peek():
                raise BadRegex(BAD_BRACKET)
            for context, sign in _NAMED_END.items():
                if self._eat(sign):
                    self.context = context
                    return self._set(NAMED, context)
            self._set(PLAIN, ord(char))
        else:
            self._set(PLAIN, ord(char))
        return None

    def _basic(self, char: str) -> None:
        """A token of the basic flavour."""
        at_start = self.last in (START, "(")
        if char == "*":
            self._set(*((PLAIN, ord(char)) if at_start or self.last == CARET else ("*", LONGER)))
        elif char == "[":
            self._open_bracket()
        elif char == ".":
            self._set(".")
        elif char == "^" and at_start:
            self._set(CARET, self._line_anchor(char))
        elif char == "$":
            if self.flags.expanded:
                self._skip_blanks()
            if not self._peek() or self.text.startswith("\\)", self.pos):
                self._set(ANCHOR, self._line_anchor(char))
            else:
                self._set(PLAIN, ord(char))
        elif char == "\\":
            self._basic_escape()
        else:
            self._set(PLAIN, ord(char))

    def _basic_escape(self) -> None:
        if not self._peek():
            raise BadRegex(BAD_ESCAPE)
        char = self._take()
        if char == "{":
            self.context = _BASIC_BOUND
            self._set("{")
        elif char == "(":
            self._set("(", True)
        elif char == ")":
            self._set(")", ord(char))
        elif char in "<>":
            self._set(ANCHOR, "word_start" if char == "<" else "word_end")
        elif char in "123456789":
            self._set(BACK, int(char))
        else:
            self._set(PLAIN, ord(char))

    def _escape(self) -> None:
        """An escape of the advanced flavour; the backslash is taken and something follows."""
        char = self._take()
        if char not in _ALPHA and char not in "0123456789":
            self._set(PLAIN, ord(char))
        elif char in _SIMPLE_ESCAPES:
            self._set(PLAIN, _SIMPLE_ESCAPES[char])
        elif char in _ANCHOR_ESCAPES:
            self._set(ANCHOR, _ANCHOR_ESCAPES[char])
        elif char.lower() in _CLASS_ESCAPES:
            self._set(CLASS_IN if char.islower() else CLASS_OUT, CLASSES[_CLASS_ESCAPES[char.lower()]])
        elif char == "c":
            if not self._peek():
                raise BadRegex(BAD_ESCAPE)
            self._set(PLAIN, ord(self._take()) & 31)
        elif char in "uUx":
            least, most = {"u": (4, 4), "U": (8, 8), "x": (1, 255)}[char]
            value = self._digits(16, least, most)
            if value > 0x7FFFFFFE:
                raise BadRegex(BAD_ESCAPE)
            self._set(PLAIN, value)
        elif char in "0123456789":
            self._number(char)
        else:
            raise BadRegex(BAD_ESCAPE)

    def _number(self, first: str) -> None:
        """``\\`` and digits: a back reference when it is one digit or that many groups are open or closed, else octal."""
        after_first = self.pos
        self.pos -= 1
        if first != "0":
            value = self._digits(10, 1, 255)
            if self.pos == after_first or 0 < value <= self.groups:
                return self._set(BACK, value)
            self.pos = after_first - 1
        value = self._digits(8, 1, 3)
        if value > 255:
            self.pos -= 1
            value >>= 3
        return self._set(PLAIN, value)

    def _digits(self, base: int, least: int, most: int) -> int:
        value = count = 0
        while count < most:
            digit = _HEX.get(self._peek(), 16)
            if digit >= base:
                break
            value = (value * base + digit) & 0xFFFFFFFF
            count += 1
            self.pos += 1
        if count < least:
            raise BadRegex(BAD_ESCAPE)
        return value


class _Frame:
    """An open parenthesis (or the whole expression) that is being parsed."""

    def __init__(self, capture: int = 0, look: tuple[bool, bool] | None = None, in_look: bool = False) -> None:
        self.capture = capture
        self.look = look
        self.in_look = in_look
        self.branches: list[tuple[Piece, ...]] = []
        self.branch: list[Piece] = []
        self.pieces = 0
        self.single = False
        """Whether the last piece is one character, not repeated."""
        self.size = 0

    def choice(self) -> Choice:
        return Choice((*self.branches, tuple(self.branch)))


class Parser:
    """Iterative, because nesting may be deeper than Python's own stack allows."""

    def __init__(self, text: str, major: int, keep: bool) -> None:
        self.scan = Scanner(text, major)
        self.keep = keep
        self.stack = [_Frame()]
        self.closed: set[int] = set()
        self.depth = 1
        self.total = 0
        self.branches = 1
        self.back_references = False

    def parse(self) -> Syntax:
        """The whole expression; raises :class:`BadRegex`."""
        scan = self.scan
        while True:
            kind = scan.kind
            if kind == END:
                if len(self.stack) > 1:
                    raise BadRegex(BAD_PAREN)
                break
            if kind == "|":
                self._next_branch()
            elif kind == ")" and len(self.stack) > 1:
                self._close()
            else:
                self._atom(kind)
        root = self.stack[0]
        return Syntax(root.choice(), scan.groups, scan.flags.ignore_case, self.back_references, self.branches, root.size, self.depth)

    def _next_branch(self) -> None:
        frame = self.stack[-1]
        if frame.pieces == 1 and frame.single:
            # The server folds branches of one character into one set, so they do not count against its limit.
            frame.size -= 1
            self.total -= 1
        if self.keep:
            frame.branches.append(tuple(frame.branch))
            frame.branch = []
        frame.pieces = 0
        self.branches += 1
        scan = self.scan
        if not self.keep and scan.in_main:
            end = _end(_LETTER_BRANCHES, scan.text, scan.pos)
            self.branches += (end - scan.pos) // 2
            scan.pos = end  # a longer run goes on with the next branch
        self.scan.advance()

    def _open(self, frame: _Frame) -> None:
        self.stack.append(frame)
        self.depth = max(self.depth, len(self.stack))
        if len(self.stack) > MAX_DEPTH:
            raise BadRegex(TOO_BIG)
        self.scan.advance()

    def _close(self) -> None:
        frame = self.stack.pop()
        self.total -= frame.size
        self.scan.advance()
        if frame.look is not None:
            self._add(Piece(Look(frame.choice(), *frame.look)), frame.size)
            return
        if frame.capture:
            self.closed.add(frame.capture)
            frame.size += GROUP_SIZE
        self._quantified(Group(frame.choice(), frame.capture), frame.size)

    def _add(self, piece: Piece, size: int) -> None:
        frame = self.stack[-1]
        if self.keep:
            frame.branch.append(piece)
        frame.pieces += 1
        frame.single = piece.high == 1 and size == 1
        frame.size += size
        self.total += size
        if self.total > MAX_SIZE:
            raise BadRegex(TOO_BIG)

    def _atom(self, kind: str) -> None:
        scan = self.scan
        flags = scan.flags
        in_look = self.stack[-1].in_look
        if kind in (ANCHOR, CARET):
            self._add(Piece(Anchor(scan.value)), 1)
            scan.advance()
        elif kind == LOOK:
            self._open(_Frame(look=scan.value, in_look=True))
        elif kind == "(":
            number = 0
            if scan.value and not in_look:
                scan.groups += 1
                number = scan.groups
            self._open(_Frame(capture=number, in_look=in_look))
        elif kind == BACK:
            self._back(scan.value, in_look)
        elif kind == "[":
            self._single(self._bracket())
        elif kind == ".":
            self._single(ALL_BYTES & ~NEWLINE if flags.newline_stops else ALL_BYTES)
        elif kind in (CLASS_IN, CLASS_OUT):
            self._single(self._class(scan.value, kind == CLASS_OUT))
        elif kind == PLAIN or (kind == ")" and flags.extended and not flags.advanced):
            self._single(self._char(scan.value))
        else:
            raise BadRegex(BAD_PAREN if kind == ")" else BAD_OPERAND)

    def _single(self, mask: int) -> None:
        self.scan.advance()
        self._quantified(Bytes(mask), 1)

    def _back(self, number: int, in_look: bool) -> None:
        if in_look or number not in self.closed:
            raise BadRegex(BAD_BACKREF)
        self.back_references = True
        self.scan.advance()
        self._quantified(Back(number), 1)

    def _quantified(self, atom: Atom, size: int) -> None:
        """Adds an atom with the quantifier that may follow it."""
        low, high, prefer = self._quantifier()
        times = max(low, 1) if high is None else high
        self._add(Piece(atom, low, high, prefer), max(size * times, 1))

    def _quantifier(self) -> tuple[int, int | None, int]:
        scan = self.scan
        kind, prefer = scan.kind, scan.value
        if kind in ("*", "+", "?"):
            scan.advance()
            return (1 if kind == "+" else 0, 1 if kind == "?" else None, prefer)
        if kind != "{":
            return (1, 1, 0)
        scan.advance()
        low = self._count()
        high: int | None = low
        prefer = 0
        if scan.kind == ",":
            scan.advance()
            high = self._count() if scan.kind == DIGIT else None
            if high is not None and low > high:
                raise BadRegex(BAD_COUNT)
            prefer = scan.value
        if scan.kind != "}":
            raise BadRegex(BAD_COUNT)
        scan.advance()
        return (low, high, prefer)

    def _count(self) -> int:
        number = 0
        while self.scan.kind == DIGIT and number < MAX_COUNT:
            number = number * 10 + self.scan.value
            self.scan.advance()
        if self.scan.kind == DIGIT or number > MAX_COUNT:
            raise BadRegex(BAD_COUNT)
        return number

    def _char(self, code: int) -> int:
        """A single character; a code above 255 (``\\u1234``) is no byte and never matches."""
        return self._cased(1 << code if code < 256 else 0)

    def _cased(self, mask: int) -> int:
        return fold(mask) if self.scan.flags.ignore_case else mask

    def _class(self, mask: int, negative: bool) -> int:
        mask = self._cased(mask)
        if not negative:
            return mask
        mask = ALL_BYTES & ~mask
        # Before 14 \D, \S and \W stood for [^[:digit:]] and so on, which newline-sensitive matching restricts.
        return mask & ~NEWLINE if self.scan.flags.newline_stops and self.scan.major < 14 else mask

    def _bracket(self) -> int:
        """A bracket expression up to its ``]``, which stays the next token."""
        scan = self.scan
        positive = scan.value
        scan.advance()
        mask = 0
        while scan.kind != "]":
            mask |= self._bracket_item()
        if positive:
            return mask
        mask = ALL_BYTES & ~mask
        return mask & ~NEWLINE if scan.flags.newline_stops else mask

    def _bracket_item(self) -> int:
        scan = self.scan
        kind, value = scan.kind, scan.value
        others = 0
        if kind == RANGE:
            raise BadRegex(BAD_RANGE)
        if kind in (CLASS_IN, CLASS_OUT):
            scan.advance()
            mask = self._cased(value)
            return ALL_BYTES & ~mask if kind == CLASS_OUT else mask
        if kind == NAMED:
            name = self._name()
            if value == _CLASS:
                return self._named_class(name)
            low = self._element(name)
            if value == _EQUIVALENCE:
                return self._char(low)
        else:
            low = value
            for char in set(scan.skip_bracket_run()):
                others |= self._char(ord(char))
            scan.advance()
        high = self._range_end(low)
        if low > high:
            raise BadRegex(BAD_RANGE)
        return others | self._cased(_mask(low, high))

    def _range_end(self, low: int) -> int:
        scan = self.scan
        if scan.kind != RANGE:
            return low
        scan.advance()
        high: int = scan.value
        if scan.kind == NAMED and scan.value == _ELEMENT:
            return self._element(self._name())
        if scan.kind not in (PLAIN, RANGE):
            raise BadRegex(BAD_RANGE)
        scan.advance()
        return high

    def _name(self) -> str:
        """The text of ``[.name.]``, ``[=name=]`` or ``[:name:]``; the token after it is read before the name is judged."""
        scan = self.scan
        start = end = scan.pos
        scan.advance()
        while scan.kind == PLAIN:
            end = scan.pos
            scan.advance()
        scan.advance()
        return scan.text[start:end]

    def _element(self, name: str) -> int:
        if len(name) == 1:
            return ord(name)
        if name not in ELEMENTS:
            raise BadRegex(BAD_COLLATING)
        return ELEMENTS[name]

    def _named_class(self, name: str) -> int:
        if name not in CLASSES or (name == "word" and self.scan.major < 14):
            raise BadRegex(BAD_CLASS)
        mask = CLASSES[name]
        if self.scan.flags.ignore_case and name in ("lower", "upper"):
            mask = CLASSES["alpha"]
        return self._cased(mask)


def check(text: str, major: int) -> Syntax:
    """As :func:`parse`, but without keeping the tree: ``root`` is empty. Memory stays small for megabytes of text."""
    return Parser(text, major, keep=False).parse()


def parse(text: str, major: int) -> Syntax:
    """Parses an expression whose characters are bytes (Latin-1) or, to judge what a UTF-8 session says, code points.

    Raises :class:`BadRegex` with the server's reason.
    """
    return Parser(text, major, keep=True).parse()
