# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This module util is PRIVATE to the collection.
"""pg_hba_info between Ansible's parameters and the engine: from a file, a text or a live server to rules, decisions and findings."""

from __future__ import annotations

import contextlib
import os
import typing as t

from .._hba import decide, host, ruleset
from .._hba.findings import findings
from .._hba.model import Server
from .._hba.reader import DictReader
from .._server import loaded, session
from .._server.facts import Denied, Facts, ServerFiles, ask, translated
from . import arguments, hba_common, hba_usage
from .arguments import connection_options
from .hba_common import Invalid, Sentence
from .run import Result

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]

    from .._hba.reader import Reader

TEXT = "content"
"""What a text is called where a file would be named."""


def argument_spec() -> dict[str, dict[str, t.Any]]:
    """The module's options; DOCUMENTATION says what they mean."""
    return {
        **connection_options(),
        "path": {"type": "path"},
        "content": {"type": "str"},
        "postgres_version": {"type": "str"},
        "clients": {"type": "list", "elements": "dict", "options": arguments.client_options()},
        "fail_on": {"type": "str", "default": "mismatch", "choices": ["mismatch", "never"]},
        **hba_usage.options(),
    }


def info(module: AnsibleModule) -> Result:
    """Reads and judges; see RETURN."""
    params = module.params
    clients = hba_common.sentences(params["clients"], "clients")
    given = params["path"] is not None or params["content"] is not None
    if params["logs"] and params["content"] is not None:
        raise Invalid("logs: name rules by file and line, so they need path or a live server, not content")
    with contextlib.ExitStack() as stack, translated("to read the server's rules"):
        connection, facts = None, None
        if not given or params["login_host"] or params["login_unix_socket"]:
            connection = stack.enter_context(session.session("to read the server's rules", arguments.connection_parameters(params)))
            facts = ask(connection)
        server = _server(params, facts)
        if given:
            source = _read(params, server)
            return _with_logs(_judge(source, server, facts, clients, params), source, server, connection, params)
        return _live(connection, server, t.cast(Facts, facts), clients, params)


def _server(params: t.Mapping[str, t.Any], facts: Facts | None) -> Server:
    if facts is None:
        return hba_common.server_of_file(params["path"] or "", params["postgres_version"])
    if params["postgres_version"] is None:
        return facts.server
    major, minor = hba_common.version_of(params["postgres_version"])
    return facts.server._replace(major=major, minor=minor)


class _Source(t.NamedTuple):
    """What was read, and through what."""

    name: str
    rules: ruleset.Ruleset
    reader: Reader
    pending: bool | None = None


def _read(params: t.Mapping[str, t.Any], server: Server) -> _Source:
    """The rules of a file of this machine, or of a text."""
    if params["content"] is not None:
        raw = params["content"].encode("utf-8", "surrogateescape")
        return _Source(TEXT, ruleset.parse_text(raw, server, TEXT), DictReader({TEXT: raw}))
    path = os.path.abspath(params["path"])
    if os.path.isdir(path):
        raise Invalid(f"path: {path} is a directory; give the path of the file itself")
    found = ruleset.load(path, host.Files(), server)
    if found.unreadable is not None:
        raise Invalid(f"path: {found.unreadable}")
    return _Source(path, found, host.Files())


def _live(connection: t.Any, server: Server, facts: Facts, clients: t.Sequence[Sentence], params: t.Mapping[str, t.Any]) -> Result:
    """The server's file through its own eyes; where the role may not read files, the view."""
    reader = ServerFiles(connection)
    try:
        if not facts.hba_file:
            raise Denied("the role may not know where the server's files are")
        rules = ruleset.load(facts.hba_file, reader, server)
        if rules.unreadable is not None:
            raise Invalid(f"the server cannot read its rules: {rules.unreadable}")
    except Denied as denied:
        return _view_only(connection, facts, clients, denied, params)
    source = _Source(facts.hba_file, rules, reader, loaded.pending(connection, rules.files))
    return _with_logs(_judge(source, server, facts, clients, params), source, server, connection, params)


def _view_only(connection: t.Any, facts: Facts, clients: t.Sequence[Sentence], denied: Denied, params: t.Mapping[str, t.Any]) -> Result:
    """All that a role without the right to read files can know. The view does not tell names from keywords, so nothing is decided."""
    if clients:
        raise Invalid(
            f"clients: cannot be decided, because the view pg_hba_file_rules does not tell a quoted name from a keyword, and {denied};"
            " grant pg_read_server_files with execute on pg_read_binary_file, or use a superuser"
        )
    if params["logs"]:
        raise Invalid(f"logs: the files that were loaded have to be known to tell uses of rules, and {denied}; give path as well")
    rows = loaded.view_rows(connection)
    for row in rows:
        row.setdefault("file_name", facts.hba_file or None)
        row["text"] = None
        row["options"] = None if row["options"] is None else [hba_common.masked_option(option) for option in row["options"]]
    errors = [{"file_name": row["file_name"], "line_number": row["line_number"], "error": row["error"], "hint": None} for row in rows]
    return {
        "changed": False,
        "source": "view",
        "file": facts.hba_file or None,
        "postgres_version": facts.version,
        "loads": None,
        "pending_reload": None,
        "rules": rows,
        "errors": [error for error in errors if error["error"] is not None],
        "decisions": [],
        "findings": [],
        "mismatches": [],
    }


def _judge(source: _Source, server: Server, facts: Facts | None, clients: t.Sequence[Sentence], params: t.Mapping[str, t.Any]) -> Result:
    rules = source.rules
    roles = None if facts is None else facts.roles
    decisions = decisions_of(rules, server, roles, clients, interfaces=None if facts is None else facts.interfaces)
    shown = [hba_common.shown_decision(sentence, decision) for sentence, decision in zip(clients, decisions)]
    mismatches = [mismatch(sentence, decision) for sentence, decision in zip(clients, decisions) if not _met(sentence, decision)]
    judged = findings(rules.rules, server=server, errors=rules.errors, roles=roles, texts=_texts(source))
    result: Result = {
        "changed": False,
        "source": "content" if source.name == TEXT else "path" if params["path"] is not None else "server",
        "file": source.name,
        "postgres_version": f"{server.major}" if server.minor is None else f"{server.major}.{server.minor}",
        "loads": rules.loads,
        "pending_reload": source.pending,
        "rules": hba_common.shown_rows(rules.rows, server),
        "errors": hba_common.shown_errors(rules.errors),
        "decisions": shown,
        "findings": [finding.as_dict() for finding in judged],
        "mismatches": mismatches,
    }
    if mismatches:
        expected = sum(1 for sentence in clients if sentence.expect is not None)
        result["msg"] = f"{len(mismatches)} of {expected} expectations are not met.\n" + "\n".join(mismatches)
        result["failed"] = params["fail_on"] == "mismatch"
    return result


def _with_logs(result: Result, source: _Source, server: Server, connection: t.Any, params: t.Mapping[str, t.Any]) -> Result:
    """The result with the uses of rules, when logs are given."""
    if not params["logs"]:
        return result
    known = loaded.LogSettings(None, None, None, "") if connection is None else loaded.log_settings(connection)
    how = hba_usage.reading(params["log_line_prefix"] or known.line_prefix, params["log_timezone"] or known.timezone)
    rules = source.rules
    here = params["path"] is not None or (connection is not None and _is_here(source))
    changed = hba_usage.changed_here(rules.files) if here else loaded.changed(connection, rules.files)
    since = None if params["in_force_since"] is None else hba_usage.moment_of(params["in_force_since"])
    versions = hba_usage.versions_of(rules, server, changed, backups=here, since=since)
    loads = tuple([moment for moment in (since, known.load_time if rules.loads else None) if moment is not None])
    names = {name: source.name for name in (params["log_hba_file"], known.hba_file, os.path.realpath(source.name)) if name}
    result["logs"] = hba_usage.report(
        params["logs"], how, hba_usage.Source(source.name, rules, server, versions, loads, names), result["rules"]
    )
    return result


def _is_here(source: _Source) -> bool:
    """Whether the server's file is a file of this machine: then its times are known to more than a second, and its backups."""
    try:
        return host.Files().read(source.name) == source.reader.read(source.name)
    except OSError:
        return False


def decisions_of(
    rules: ruleset.Ruleset, server: Server, roles: t.Any, clients: t.Sequence[Sentence], interfaces: t.Any = None
) -> list[decide.Decision]:
    """Decisions in the clients' order; without a file that loads nothing is decided."""
    if not rules.loads:
        first = rules.errors[0]
        where = f"line {first.line}: " if first.line else ""
        return [
            decide.Decision(decide.UNDECIDED, reason=f"the server would not load the file: {where}{first.message}") for _unused in clients
        ]
    judge = hba_common.decider(rules.rules, server, roles, interfaces)
    return judge.decide_all([sentence.client for sentence in clients], explain=True)


def _met(sentence: Sentence, decision: decide.Decision) -> bool:
    return sentence.expect is None or decide.meets(decision, sentence.expect)


def mismatch(sentence: Sentence, decision: decide.Decision) -> str:
    """One sentence about an expectation that is not met."""
    return f"{hba_common.name_of(sentence.client)}: expected {sentence.expect}, but {hba_common.outcome_of(decision)}"


def _texts(source: _Source) -> dict[str, bytes]:
    """The bytes of the files that were read."""
    texts: dict[str, bytes] = {}
    for file in source.rules.files:
        with contextlib.suppress(OSError):
            texts[file] = source.reader.read(file)
    return texts
