# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""The engine's command line: reads access files as a PostgreSQL server of a given major does, without a server and without Ansible.

Run it as ``python3 -m ansible_collections.pgops.access.plugins.module_utils._hba COMMAND …``. This is the only file of the engine that
opens files. Exit codes: 0, 1 when there are errors or findings (the file would not load), 2 for wrong usage and for
files that cannot be read. Results are JSON on standard output; bytes that are not UTF-8 are written as lone surrogates (``\\udcff`` for
the byte ff), from which every JSON parser of Python gets the byte back with ``surrogateescape``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import sys
import typing as t

from . import catalog, host, view
from .errors import HbaError
from .model import ALL_FEATURES, LineError, Role, Server, decode, encode
from .ruleset import Ruleset, load, parse_text

PROGRAM = "python3 -m ansible_collections.pgops.access.plugins.module_utils._hba"
EXIT_OK, EXIT_FOUND, EXIT_USAGE = 0, 1, 2


class UsageError(Exception):
    """The command cannot do what it was asked; the message says why and what to do."""


class WouldNotLoad(Exception):
    """The command needs rules that a server has loaded, and no server would load these."""


# ------------------------------------------------------------------------------------------------------------------- arguments


def _version(text: str) -> tuple[int, int | None]:
    """``15`` or ``15.18``."""
    major, _dot, minor = text.partition(".")
    if not major.isdecimal() or (minor and not minor.isdecimal()) or len(text) > 8:
        raise argparse.ArgumentTypeError(f"{text!r} is not a PostgreSQL version; give a major such as 16, or major.minor")
    if not catalog.FIRST_MAJOR <= int(major) <= catalog.LAST_MAJOR:
        known = f"{catalog.FIRST_MAJOR} to {catalog.LAST_MAJOR - 1}"
        raise argparse.ArgumentTypeError(f"PostgreSQL {major} is not covered; majors {known} are (and 19 as its release candidate)")
    return int(major), int(minor) if minor else None


def _names(text: str) -> tuple[str, ...]:
    return tuple([name.strip() for name in text.split(",") if name.strip()])


def _features(text: str) -> tuple[str, ...]:
    names = _names(text)
    unknown = sorted(set(names) - ALL_FEATURES)
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; a comma list of {', '.join(sorted(ALL_FEATURES))} is wanted")
    return names


def _interface(text: str) -> t.Any:
    try:
        return _part("decide").interface(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no address with a prefix length such as 192.0.2.7/24") from error


def _server_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--postgres-version",
        type=_version,
        required=True,
        metavar="N",
        help="major version of the server, 12 to 18; N.M asks for that minor release instead of the newest",
    )
    parser.add_argument("--ssl", choices=("on", "off"), default="on", help="the server's setting ssl (default: on)")
    parser.add_argument(
        "--without",
        type=_features,
        default=(),
        metavar="LIST",
        help="features that the server was built without: ssl, gssapi, ldap, pam (default: built with all, as Debian's is)",
    )
    parser.add_argument(
        "--oauth-validator-libraries",
        type=_names,
        default=None,
        metavar="LIST",
        help="the server's setting of that name (18; without it, whatever the lines need is taken as permitted)",
    )
    parser.add_argument(
        "--db-user-namespace", choices=("on", "off"), default="off", help="the server's setting of that name (16 and earlier)"
    )


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Read pg_hba.conf and pg_ident.conf as PostgreSQL 12 to 18 do.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: t.Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(run=run)
        _server_arguments(sub)
        return sub

    file_help = "the file; - is standard input (its includes are looked up in the current folder)"
    sub = command("rows", cmd_rows, "print the rows of pg_hba_file_rules (or pg_ident_file_mappings)")
    sub.add_argument("--ident", action="store_true", help="FILE is a pg_ident.conf")
    sub.add_argument("file", metavar="FILE", help=file_help)

    sub = command("load", cmd_load, "tell whether the server would load the file, and all errors")
    sub.add_argument("--ident", action="store_true", help="FILE is a pg_ident.conf")
    sub.add_argument("file", metavar="FILE", help=file_help)

    sub = command("decide", cmd_decide, "tell for each client which rule decides, and how")
    sub.add_argument("--clients", required=True, metavar="CLIENTS.json", help="array of clients: user, database, address, transport, …")
    sub.add_argument("--roles", metavar="ROLES.json", help='array of {"name", "superuser", "member_of"}')
    sub.add_argument(
        "--resolve",
        choices=("system", "none"),
        default="system",
        help="who resolves host names in rules: this machine, or nobody, which leaves them undecided (default: system)",
    )
    sub.add_argument(
        "--interface",
        type=_interface,
        action="append",
        metavar="ADDRESS/PREFIX",
        help="an address of the server, for samehost and samenet; repeat it for each (default: only loopback is known)",
    )
    sub.add_argument("file", metavar="FILE", help=file_help)

    sub = command("effect", cmd_effect, "tell for whom access differs between two files")
    sub.add_argument("--roles", metavar="ROLES.json", help='array of {"name", "superuser", "member_of"}')
    sub.add_argument("--format", choices=("json", "table"), default="json", help="JSON (default), or a line of text for each")
    sub.add_argument("--exit-code", action="store_true", help="exit 1 when anything changes")
    sub.add_argument("before", metavar="BEFORE", help=file_help)
    sub.add_argument("after", metavar="AFTER")

    sub = command("findings", cmd_findings, "look for dead, weak and surprising rules")
    sub.add_argument("--format", choices=("json", "table"), default="json", help="JSON (default), or a line of text for each")
    sub.add_argument("--roles", metavar="ROLES.json", help='array of {"name", "superuser", "member_of"}')
    sub.add_argument("file", metavar="FILE", help=file_help)

    sub = command("format", cmd_format, "print the file with its rules written in canonical form, comments kept")
    sub.add_argument("--check", action="store_true", help="print nothing; exit 1 when the file is not formatted")
    sub.add_argument("file", metavar="FILE", help=file_help)
    return parser


# ------------------------------------------------------------------------------------------------------- shared by the commands


def server_of(args: argparse.Namespace) -> Server:
    """The server that the arguments describe."""
    major, minor = args.postgres_version
    return Server(
        major,
        ssl=args.ssl == "on",
        features=ALL_FEATURES - frozenset(args.without),
        db_user_namespace=args.db_user_namespace == "on",
        oauth_validator_libraries=args.oauth_validator_libraries,
        minor=minor,
    )


def path_of(argument: str, standard_name: str = "pg_hba.conf") -> str:
    """Absolute path, as engine text, of a file argument; standard input stands for a file in the current folder. Raises UsageError."""
    if not argument:
        raise UsageError("a file's name is empty; name a file, or - for standard input")
    name = encode(standard_name) if argument == "-" else os.fsencode(argument)
    return decode(os.path.abspath(name))


def bytes_of(argument: str) -> bytes:
    """Content of a file argument. Raises UsageError."""
    try:
        return _standard_input() if argument == "-" else host.Files().read(path_of(argument))
    except OSError as error:
        raise UsageError(f"{argument}: cannot be read: {error.strerror}") from error


def _standard_input() -> bytes:
    if t.cast(t.Any, sys.stdin) is None:
        raise UsageError("-: standard input is closed")
    return sys.stdin.buffer.read()


def ruleset_of(argument: str, server: Server) -> Ruleset:
    """Ruleset of a file argument, with all that it includes."""
    path = path_of(argument)
    if argument == "-":
        return parse_text(bytes_of(argument), server, path, host.Files())
    return load(path, host.Files(), server)


def json_of(argument: str) -> t.Any:
    """Value of a JSON file argument. Raises UsageError."""
    try:
        return json.loads(bytes_of(argument))
    except ValueError as error:
        raise UsageError(f"{argument}: is not JSON: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{argument}: is not what is wanted: its arrays or objects are nested too deeply") from error


def loadable(argument: str, server: Server) -> Ruleset:
    """Ruleset of a file argument that the server would load. Raises WouldNotLoad naming the first error otherwise."""
    rules = ruleset_of(argument, server)
    if not rules.loads:
        first = rules.errors[0]
        where = f"{first.file} line {first.line}: " if first.line else ""
        raise WouldNotLoad(f"{argument}: PostgreSQL {server.major} would not load it: {where}{first.message}")
    return rules


def roles_of(argument: str | None) -> list[Role] | None:
    """Roles from a JSON file argument; None when none was given. Raises UsageError."""
    if argument is None:
        return None
    items = json_of(argument)
    if not isinstance(items, list):
        raise UsageError(f"{argument}: an array of roles is wanted")
    decide = _part("decide")
    try:
        return [decide.role_from_dict(item, f"roles[{index}]") for index, item in enumerate(items)]
    except decide.InvalidClient as error:
        raise UsageError(f"{argument}: {error}") from error


def _part(name: str) -> t.Any:
    """A module of the engine that only one command needs."""
    return importlib.import_module("." + name, __package__)


def print_json_array(items: t.Iterable[t.Any]) -> None:
    """An array, one element a line."""
    lines = [json.dumps(item) for item in items]
    sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n")


def error_item(error: LineError) -> dict[str, t.Any]:
    """A load error as the commands print it; line_number is null when it concerns the file as a whole."""
    return {
        "file_name": error.file,
        "line_number": error.line or None,
        "error": error.message,
        "hint": error.hint,
        "shown_by_view": error.shown and bool(error.line),
    }


# -------------------------------------------------------------------------------------------------------------------- commands


def cmd_rows(args: argparse.Namespace) -> int:
    """``rows``: what the view shows. Where the view itself fails (the main file cannot be opened), its message goes to standard error."""
    server = server_of(args)
    if args.ident:
        return _ident_rows(args, server)
    rules = ruleset_of(args.file, server)
    if rules.unreadable is not None:
        raise UsageError(rules.unreadable)
    print_json_array(view.hba_rows(rules.rows, server))
    return EXIT_OK if rules.loads else EXIT_FOUND


def _ident_rows(args: argparse.Namespace, server: Server) -> int:
    if server.major < view.IDENT_VIEW_SINCE:
        raise UsageError(f"PostgreSQL {server.major} has no pg_ident_file_mappings; {view.IDENT_VIEW_SINCE} and later have")
    mapping = _ident_of(args.file, server)
    if mapping.unreadable is not None:
        raise UsageError(mapping.unreadable)
    print_json_array(mapping.view_rows(server))
    return EXIT_OK if mapping.loads else EXIT_FOUND


def _ident_load(args: argparse.Namespace, server: Server) -> int:
    mapping = _ident_of(args.file, server)
    sys.stdout.write(json.dumps({"loads": mapping.loads, "errors": [error_item(error) for error in mapping.errors]}) + "\n")
    return EXIT_OK if mapping.loads else EXIT_FOUND


def _ident_of(argument: str, server: Server) -> t.Any:
    ident = _part("ident")
    path = path_of(argument, "pg_ident.conf")
    if argument == "-":
        return ident.parse_text(bytes_of(argument), server, path, host.Files())
    return ident.load(path, host.Files(), server)


def cmd_load(args: argparse.Namespace) -> int:
    """``load``: whether the file would load, and each error, also those that the view does not show."""
    server = server_of(args)
    if args.ident:
        return _ident_load(args, server)
    rules = ruleset_of(args.file, server)
    sys.stdout.write(json.dumps({"loads": rules.loads, "errors": [error_item(error) for error in rules.errors]}) + "\n")
    return EXIT_OK if rules.loads else EXIT_FOUND


def cmd_decide(args: argparse.Namespace) -> int:
    """``decide``: for each client the rule that decides, or that none does."""
    from . import decide  # noqa: PLC0415 - only this command pays for the import

    server = server_of(args)
    rules = loadable(args.file, server)
    items = json_of(args.clients)
    resolver = host.Names() if args.resolve == "system" else None
    try:
        clients = decide.clients_from_json(items)
        decider = decide.Decider(
            rules.rules, server=server, roles=roles_of(args.roles), resolver=resolver, interfaces=args.interface or None
        )
        decisions = decider.decide_all(clients, explain=True)
        wanted = [decide.expectation(item) for item in items]
    except decide.InvalidClient as error:
        raise UsageError(f"{args.clients}: {error}") from error
    shown = [decide.as_dict(decision, expect) for decision, expect in zip(decisions, wanted)]
    print_json_array(shown)
    return EXIT_OK if all(item.get("meets", item["outcome"] != decide.UNDECIDED) for item in shown) else EXIT_FOUND


def cmd_effect(args: argparse.Namespace) -> int:
    """``effect``: for whom the outcome differs between two files."""
    from . import effect as effect_module  # noqa: PLC0415 - only this command pays for the import

    server = server_of(args)
    before, after = loadable(args.before, server), loadable(args.after, server)
    try:
        changes = effect_module.effect(before.rules, after.rules, server=server, roles=roles_of(args.roles))
    except HbaError as error:
        raise UsageError(f"the difference cannot be told: {error}") from error
    if args.format == "table":
        sys.stdout.write("".join(f"{change.describe()}\n" for change in changes))
    else:
        print_json_array([change.as_dict() for change in changes])
    return EXIT_FOUND if changes and args.exit_code else EXIT_OK


def cmd_findings(args: argparse.Namespace) -> int:
    """``findings``: dead, weak and surprising rules; lines that the server refuses are findings too."""
    from .findings import findings  # noqa: PLC0415 - only this command pays for the import

    server = server_of(args)
    rules = ruleset_of(args.file, server)
    if rules.unreadable is not None:
        raise UsageError(rules.unreadable)
    texts = _texts(rules) if args.file != "-" else {}
    found = findings(rules.rules, server=server, errors=rules.errors, roles=roles_of(args.roles), texts=texts)
    if args.format == "table":
        sys.stdout.write("".join(f"{item.file}:{item.line}: {item.severity} {item.code}: {item.reason} {item.remedy}\n" for item in found))
    else:
        print_json_array([item.as_dict() for item in found])
    return EXIT_FOUND if found else EXIT_OK


def _texts(rules: Ruleset) -> dict[str, bytes]:
    """The bytes of the files that a ruleset was read from; those that can be opened but not read are left out."""
    texts: dict[str, bytes] = {}
    for file in rules.files:
        with contextlib.suppress(OSError):
            texts[file] = host.Files().read(file)
    return texts


def cmd_format(args: argparse.Namespace) -> int:
    """``format``: the file with its rules in canonical form."""
    from .formatting import formatted  # noqa: PLC0415 - only this command pays for the import

    raw = bytes_of(args.file)
    text = formatted(raw, server_of(args))
    if args.check:
        return EXIT_OK if text == raw else EXIT_FOUND
    sys.stdout.buffer.write(text)
    return EXIT_OK


def _run(args: argparse.Namespace) -> int:
    """Run one command and have its answer written. Raises UsageError, WouldNotLoad."""
    if [value for name, value in vars(args).items() if name in _FILE_ARGUMENTS].count("-") > 1:
        raise UsageError("-: standard input can be read once; only one file may be it")
    if t.cast(t.Any, sys.stdout) is None:
        raise UsageError("standard output is closed")
    try:
        code = int(args.run(args))
        sys.stdout.flush()
    except OSError as error:  # files that cannot be read are a UsageError already
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return EXIT_OK
        raise UsageError(f"the answer cannot be written: {error.strerror}") from error
    return code


_FILE_ARGUMENTS = frozenset({"file", "before", "after", "clients", "roles"})


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _build_parser().parse_args(arguments)
    try:
        return _run(args)
    except UsageError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_USAGE
    except WouldNotLoad as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_FOUND


if __name__ == "__main__":
    raise SystemExit(main())
