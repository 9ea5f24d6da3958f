# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules from text and back, for people who template. Each filter's documentation is the YAML file of its name."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.pgops.access.plugins.module_utils._ansible.hba_common import version_of
from ansible_collections.pgops.access.plugins.module_utils._ansible.hba_proof import specs_of
from ansible_collections.pgops.access.plugins.module_utils._hba import catalog
from ansible_collections.pgops.access.plugins.module_utils._hba.document import Document
from ansible_collections.pgops.access.plugins.module_utils._hba.errors import HbaError
from ansible_collections.pgops.access.plugins.module_utils._hba.model import Server, Token, encode
from ansible_collections.pgops.access.plugins.module_utils._hba.render import render_rule
from ansible_collections.pgops.access.plugins.module_utils._hba.spec import RuleSpec, spec_from_line


def _server(version: t.Any) -> Server:
    major, minor = version_of(str(version))
    return Server(major, minor=minor)


def hba_rules(text: t.Any, postgres_version: t.Any) -> list[dict[str, t.Any]]:
    """The rules of a text as dictionaries that pg_hba takes, in order."""
    if not isinstance(text, str):
        raise AnsibleFilterError(f"hba_rules: a text is wanted, not {type(text).__name__}")
    try:
        document = Document.parse(encode(text), _server(postgres_version))
        found = []
        for number, line in enumerate(document.lines):
            if line.text.strip(" \t\r,") and not document.is_comment(number):
                found.append(_dictionary(spec_from_line(line.text, document.server, f"line {line.line}")))
    except HbaError as error:
        raise AnsibleFilterError(f"hba_rules: {error}") from error
    return found


def hba_lines(rules: t.Any, postgres_version: t.Any) -> str:
    """Rules as pg_hba takes them, as the text of a file: checked, quoted where needed, one line each."""
    if not isinstance(rules, (list, tuple)):
        raise AnsibleFilterError(f"hba_lines: a list of rules is wanted, not {type(rules).__name__}")
    try:
        server = _server(postgres_version)
        return "".join([f"{render_rule(spec, server)}\n" for spec in specs_of(list(rules), server, absent=False)])
    except HbaError as error:
        raise AnsibleFilterError(f"hba_lines: {error}") from error


def _dictionary(spec: RuleSpec) -> dict[str, t.Any]:
    names = [name for name, _value in spec.options]
    options: t.Any = dict(spec.options) if len(set(names)) == len(names) else [f"{name}={value}" for name, value in spec.options]
    shown = {
        "type": spec.type,
        "databases": [_value_of(token) for token in spec.databases],
        "users": [_value_of(token) for token in spec.users],
        "address": None if spec.address is None else _value_of(spec.address),
        "netmask": spec.netmask,
        "method": spec.method,
        "options": options or None,
        "comment": spec.comment,
        "expires": spec.expires,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _value_of(token: Token) -> str:
    """A token as a list's item: with quotes of its own only where it would be a keyword or a sign otherwise."""
    text = token.text
    special = text in catalog.DATABASE_KEYWORDS or text in catalog.ADDRESS_KEYWORDS or text[:1] in ("+", "@")
    if text and not text.startswith('"') and not (token.quoted and special):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """The filters by name."""
        return {"hba_rules": hba_rules, "hba_lines": hba_lines}
