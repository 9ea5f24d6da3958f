# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads how this host reaches package servers, so that a build can reach them the same way: ``host_settings.py DIRECTORY SUITE``.

Writes apt.conf and pip.conf into DIRECTORY (0700, for they may hold a proxy's password), each only when there is something to say,
and prints where they are, the certificates that this host trusts, the proxies of the environment, and the apt sources of SUITE.
The build gets the files as secrets, which never become part of a layer.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

APT_OPTION = re.compile(
    r"^Acquire::((https?|ftp)::(Proxy|[A-Za-z0-9._-]+::Proxy|Proxy::[A-Za-z0-9._-]+)|Check-Valid-Until|Check-Date|ForceIPv[46]|Retries)"
    r' "[^"]+";$',
    re.IGNORECASE,
)
PIP_OPTIONS = ("index-url", "extra-index-url", "proxy", "trusted-host", "timeout")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")


def output(argv: list[str]) -> list[str]:
    """Return a program's lines; none when it is missing or fails."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []


def apt_conf() -> str:
    """Return the proxy and time options of this host's apt, as a configuration file's text."""
    return "".join(line + "\n" for line in output(["apt-config", "dump"]) if APT_OPTION.match(line))


def pip_conf() -> str:
    """Return what this host's pip is told about servers: files in pip's order of precedence, then the environment."""
    home = Path(os.environ.get("HOME", "/root"))
    named = [Path(os.environ["PIP_CONFIG_FILE"])] if os.environ.get("PIP_CONFIG_FILE") else []
    places = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf", *named]
    chosen: dict[str, str] = {}
    for place in places:
        parser = configparser.RawConfigParser()
        try:
            parser.read(place, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                chosen.update({name: value for name, value in parser.items(section) if name in PIP_OPTIONS})
    for name in PIP_OPTIONS:
        value = os.environ.get("PIP_" + name.upper().replace("-", "_"))
        if value:
            chosen[name] = value
    # A directory of this host is no index inside the build.
    words = {name: [word for word in value.split() if not word.startswith(("file:", "/"))] for name, value in chosen.items()}
    lines = [f"{name} = {' '.join(value)}\n" for name, value in words.items() if value]
    return "[global]\n" + "".join(lines) if lines else ""


def sources(suite: str) -> list[str]:
    """Return this host's own sources of the Debian suite (its mirror), read by apt itself; none when it has none of them.

    An address with a password in it is left out: what is returned ends up in the image.
    """
    line = "$(ORIGIN)\t$(CODENAME)\t$(REPO_URI)\t$(COMPONENT)"
    found: list[str] = []
    for text in output(["apt-get", "indextargets", "--format", line, "Created-By: Packages"]):
        origin, codename, uri, component = [*text.split("\t"), "", "", "", ""][:4]
        if origin == "Debian" and component == "main" and codename in (suite, f"{suite}-updates", f"{suite}-security") and "@" not in uri:
            found.append(f"deb {uri.rstrip('/')} {codename} main")
    unique = sorted(set(found), key=lambda text: (text.split()[2], text))
    return unique if any(text.split()[2] == suite for text in unique) else []


def main(arguments: list[str]) -> int:
    """Write the files and print the findings."""
    folder, suite = Path(arguments[0]), arguments[1]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = {}
    for name, text in (("apt.conf", apt_conf()), ("pip.conf", pip_conf())):
        path = folder / name
        path.unlink(missing_ok=True)
        if text:
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
        written[name] = str(path) if text else ""
    bundle = next((path for path in (os.environ.get("PIP_CERT", ""), *CERTIFICATES) if path and Path(path).is_file()), "")
    proxy = {name: os.environ[name] for name in PROXIES if os.environ.get(name)}
    found = {
        "apt_conf": written["apt.conf"],
        "pip_conf": written["pip.conf"],
        "ca_bundle": bundle,
        "proxy": proxy,
        "sources": sources(suite),
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
