# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment contract as values: :func:`parse` turns variables into :class:`Settings` and messages, without any I/O of its own.

Three answers to a bad value, each listed in ``docs/container.md``: *fall back* to a documented value and say so, *close* external
access and say so, or *refuse* to start (:class:`SettingsError`). Where a guess could let somebody in, the answer is never a guess.
"""

from __future__ import annotations

import dataclasses
import difflib
import shlex
import typing as t

TRUE_WORDS = frozenset({"true", "yes", "on", "1", "t", "y"})
FALSE_WORDS = frozenset({"false", "no", "off", "0", "f", "n"})
LEVELS = ("debug", "info", "warning", "error")
FALLBACK_METHOD = "md5"
SECRET_VARIABLES = ("POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_INITDB_ARGS", "PGDATA")
"""Variables that also exist as ``…_FILE``."""
ACCESS_VARIABLES = tuple(
    "EXTERNAL_ACCESS_" + name for name in ("ENABLE", "METHOD", "OPTIONS", "ADDRESSES", "DATABASES", "USERS", "TLS", "ALLOW_INSECURE")
)


class SettingsError(Exception):
    """The container must not start with this environment. ``variable`` names what to mend."""

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(f"{variable}: {reason}")
        self.variable = variable
        self.reason = reason


class Message(t.NamedTuple):
    """One line for the log: what was wrong with the environment and what holds instead."""

    level: str
    text: str
    variable: str


@dataclasses.dataclass(frozen=True)
class Access:
    """What the environment says about external access, before the engine has seen it."""

    enabled: bool = True
    methods: tuple[str, ...] = (FALLBACK_METHOD,)
    """In order of preference, as written, lower case not assumed: PostgreSQL's method names are case-sensitive."""
    options: tuple[str, ...] = ()
    """``name=value`` words."""
    addresses: tuple[str, ...] = ("0.0.0.0/0", "::/0")
    databases: tuple[str, ...] = ("all",)
    users: tuple[str, ...] = ("all",)
    tls_required: bool = False
    allow_insecure: bool = False


@dataclasses.dataclass(frozen=True)
class Settings:
    """The whole environment contract of standalone mode."""

    data_directory: str = "/var/lib/postgresql/data"
    user: str = "postgres"
    user_given: bool = False
    database: str = "postgres"
    password: str = ""
    initdb_arguments: tuple[str, ...] = ()
    wal_directory: str = ""
    trust_asked: bool = False
    """POSTGRES_HOST_AUTH_METHOD=trust: docker-library's way to say that no password is wanted."""
    log_level: str = "info"
    member: bool = False
    """PATRONI_SCOPE is set: run as a member of a cluster."""
    access: Access = Access()


class Parsed(t.NamedTuple):
    """Settings and what is to be said about them."""

    settings: Settings
    messages: tuple[Message, ...]


Environment = t.Mapping[str, str]
ReadFile = t.Callable[[str], bytes]
"""Reads a secret's file; raises OSError."""


def parse(environment: Environment, read_file: ReadFile) -> Parsed:
    """Settings from the environment. ``read_file`` is called for each ``…_FILE`` variable that is set.

    Raises :class:`SettingsError` for what the container must not start with.
    """
    messages: list[Message] = []
    values = {name: _value_or_file(environment, name, read_file) for name in SECRET_VARIABLES}
    user = _identifier("POSTGRES_USER", values["POSTGRES_USER"] or "postgres")
    _warn_unknown_names(environment, messages)
    settings = Settings(
        data_directory=_data_directory(values["PGDATA"]),
        user=user,
        user_given=bool(values["POSTGRES_USER"]),
        database=_identifier("POSTGRES_DB", values["POSTGRES_DB"] or user),
        password=_password(values["POSTGRES_PASSWORD"]),
        initdb_arguments=_initdb_arguments(values["POSTGRES_INITDB_ARGS"]),
        wal_directory=environment.get("POSTGRES_INITDB_WALDIR", ""),
        trust_asked=environment.get("POSTGRES_HOST_AUTH_METHOD") == "trust",
        log_level=_log_level(environment.get("LOG_LEVEL", ""), messages),
        member=bool(environment.get("PATRONI_SCOPE")),
        access=_access(environment, messages),
    )
    return Parsed(settings, tuple(messages))


def boolean(word: str) -> bool | None:
    """A boolean word, in any case and with blanks around it; None when it is none."""
    folded = word.strip().lower()
    if folded in TRUE_WORDS:
        return True
    return False if folded in FALSE_WORDS else None


def split_list(variable: str, text: str) -> tuple[str, ...]:
    """A comma-separated list; an item in double quotes may hold commas, and ``""`` in it is one quote.

    Quotes stay in the result around a quoted item, since they mean something: ``"all"`` is a name. Raises SettingsError.
    """
    items: list[str] = []
    item, quoted = "", False
    for character in text:
        if character == '"':
            quoted = not quoted
        if character == "," and not quoted:
            items.append(item.strip())
            item = ""
        else:
            item += character
    items.append(item.strip())
    if quoted:
        raise SettingsError(variable, "a double quote is not closed")
    if not all(items) or '""' in items:
        raise SettingsError(variable, f"{text!r} has an empty item: remove the extra comma, or unset the variable for its default")
    return tuple(items)


def _value_or_file(environment: Environment, name: str, read_file: ReadFile) -> str:
    value, path = environment.get(name, ""), environment.get(name + "_FILE", "")
    if not path:
        return value
    # The image itself sets PGDATA's default, so a file for it is no contradiction.
    if value and not (name == "PGDATA" and value == Settings.data_directory):
        raise SettingsError(name, f"{name} and {name}_FILE are both set; keep one of them")
    try:
        raw = read_file(path)
    except OSError as error:
        raise SettingsError(
            f"{name}_FILE", f"cannot read {path}: {error.strerror or error}; check the mount and that its mode lets us read"
        ) from None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{name}_FILE", f"{path} is not UTF-8 text") from None
    # Line ends go, as a shell's $(<file) takes them off; blanks may belong to a password.
    text = text.rstrip("\r\n")
    if "\0" in text:
        raise SettingsError(f"{name}_FILE", f"{path} holds a NUL byte")
    return text


def _password(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise SettingsError("POSTGRES_PASSWORD", "holds a line break; initdb reads one line, so the rest would silently be lost")
    return text


def _identifier(variable: str, text: str) -> str:
    if any(ord(character) < 32 for character in text):
        raise SettingsError(variable, f"{text!r} holds a control character")
    # NAMEDATALEN: the server cuts longer names, and then nobody finds them.
    if len(text.encode("utf-8", "surrogateescape")) > 63:
        raise SettingsError(variable, f"{text!r} is longer than the 63 bytes of a PostgreSQL name")
    return text


def _data_directory(text: str) -> str:
    path = text or Settings.data_directory
    if not path.startswith("/") or "\n" in path:
        raise SettingsError("PGDATA", f"{path!r} is no absolute path")
    return path.rstrip("/") or "/"


def _words(variable: str, text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise SettingsError(variable, f"cannot be split into words: {error}") from None


def _initdb_arguments(text: str) -> tuple[str, ...]:
    words = _words("POSTGRES_INITDB_ARGS", text)
    for word in words:
        if word.startswith(("-D", "--pgdata")):
            raise SettingsError("POSTGRES_INITDB_ARGS", f"{word!r}: where the database is made is PGDATA's to say")
    return words


def _log_level(text: str, messages: list[Message]) -> str:
    level = text.strip().lower()
    if level in LEVELS:
        return level
    if level:
        messages.append(Message("warning", f"LOG_LEVEL={text!r} is none of {', '.join(LEVELS)}: info is used", "LOG_LEVEL"))
    return "info"


def _access(environment: Environment, messages: list[Message]) -> Access:
    return Access(
        enabled=_enabled(environment, messages),
        methods=_methods(environment, messages),
        options=_words("EXTERNAL_ACCESS_OPTIONS", _clean(environment, "EXTERNAL_ACCESS_OPTIONS")),
        addresses=_narrowing(environment, "EXTERNAL_ACCESS_ADDRESSES", Access.addresses),
        databases=_narrowing(environment, "EXTERNAL_ACCESS_DATABASES", Access.databases),
        users=_narrowing(environment, "EXTERNAL_ACCESS_USERS", Access.users),
        tls_required=_tls_required(environment.get("EXTERNAL_ACCESS_TLS", ""), messages),
        allow_insecure=_flag(environment, "EXTERNAL_ACCESS_ALLOW_INSECURE", messages),
    )


def _clean(environment: Environment, variable: str) -> str:
    """The value, refused when it holds what could begin another line of pg_hba.conf."""
    text = environment.get(variable, "")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise SettingsError(variable, f"{text!r} holds a control character (a line break, say); no rule can be made of it")
    return text


def _enabled(environment: Environment, messages: list[Message]) -> bool:
    text = environment.get("EXTERNAL_ACCESS_ENABLE")
    if text is None:
        return True
    value = boolean(text)
    if value is None:
        reason = f"EXTERNAL_ACCESS_ENABLE={text!r} is no boolean (true or false): external access is closed until it is"
        messages.append(Message("error", reason, "EXTERNAL_ACCESS_ENABLE"))
        return False
    return value


def _flag(environment: Environment, variable: str, messages: list[Message]) -> bool:
    text = environment.get(variable, "")
    value = boolean(text)
    if value is None and text.strip():
        messages.append(Message("error", f"{variable}={text!r} is no boolean (true or false): false is used", variable))
    return bool(value)


def _methods(environment: Environment, messages: list[Message]) -> tuple[str, ...]:
    """EXTERNAL_ACCESS_METHOD, else docker-library's POSTGRES_HOST_AUTH_METHOD, else the default; possible or not is decided later."""
    for variable in ("EXTERNAL_ACCESS_METHOD", "POSTGRES_HOST_AUTH_METHOD"):
        text = environment.get(variable, "").strip()
        if not text:
            continue
        methods = tuple(word.strip() for word in text.split(",") if word.strip())
        if methods:
            return methods
        messages.append(Message("warning", f"{variable}={text!r} names no method: {FALLBACK_METHOD} is used", variable))
    return (FALLBACK_METHOD,)


def _narrowing(environment: Environment, variable: str, default: tuple[str, ...]) -> tuple[str, ...]:
    if variable not in environment:
        return default
    return split_list(variable, _clean(environment, variable))


def _tls_required(text: str, messages: list[Message]) -> bool:
    word = text.strip().lower()
    if word in ("", "allow"):
        return False
    if word != "require":
        reason = f"EXTERNAL_ACCESS_TLS={text!r} is neither allow nor require: require, the stricter one, is used"
        messages.append(Message("error", reason, "EXTERNAL_ACCESS_TLS"))
    return True


def _warn_unknown_names(environment: Environment, messages: list[Message]) -> None:
    """A misspelt name would be silence where the user expects a restriction."""
    known = set(ACCESS_VARIABLES)
    for name in sorted(environment):
        folded = name.upper().replace("-", "_")
        if name in known or not folded.startswith(("EXTERNAL_ACCES", "EXTERNALACCES")):
            continue
        nearest = difflib.get_close_matches(folded, ACCESS_VARIABLES, n=1, cutoff=0.0)[0]
        messages.append(Message("warning", f"{name} is not a variable of this image and changes nothing; did you mean {nearest}?", name))
