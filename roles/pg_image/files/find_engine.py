# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds a container engine that answers, and a client that can build, and prints what it found as one JSON object.

Run by the role pg_image on the host: ``find_engine.py auto|docker|podman STATE_DIRECTORY``. One process instead of twenty tasks.
It changes nothing, with one exception: for a Podman that cannot start containers as it stands (a host that forbids raising
limits, a missing crun), it writes a private containers.conf and a wrapper into the state directory, and only when that helps.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

# `docker info` answers in well under a second; a daemon that hangs must not hang us.
ANSWER_TIMEOUT = 15
PROBE_IMAGE = "localhost/pgops-probe"


def call(
    argv: list[str], env: Optional[dict[str, str]] = None, timeout: int = ANSWER_TIMEOUT, data: Optional[bytes] = None
) -> tuple[int, str, str]:
    """Run a program; return its exit code, output and errors. A program that hangs or cannot start counts as failed."""
    try:
        done = subprocess.run(
            argv, input=data or b"", capture_output=True, timeout=timeout, check=False, env=dict(os.environ, **(env or {}))
        )
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer within {timeout} s"
    except OSError as error:
        return 127, "", str(error)
    return done.returncode, done.stdout.decode(errors="replace").strip(), done.stderr.decode(errors="replace").strip()


def clients(name: str) -> list[str]:
    """Return every program of that name on PATH, in its order, each file once: a client without buildx may hide one that can build."""
    found: dict[str, str] = {}
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, name)
        if folder and os.path.isfile(path) and os.access(path, os.X_OK):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def version_numbers(text: str) -> tuple[int, int]:
    """Read the first two numbers of a version: ``20.10.24+dfsg1`` is (20, 10)."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def can_build(client: str) -> str:
    """Return an empty text when this Docker client can build with BuildKit, otherwise the reason why not.

    18.09 to 22 hold a BuildKit client of their own; from 23 on `docker build` calls the plugin buildx (docs.docker.com).
    """
    code, version, problem = call([client, "version", "--format", "{{.Client.Version}}"])
    if not version:
        return problem or f"exit code {code}"
    numbers = version_numbers(version)
    if numbers < (18, 9):
        return f"version {version} is older than 18.09 and knows no BuildKit"
    if numbers >= (23, 0) and call([client, "buildx", "version"])[0] != 0:
        return f"version {version} lacks the plugin buildx"
    return ""


def kernel_has_ipv6() -> bool:
    """Say whether new networks of this host can carry IPv6."""
    try:
        return Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").read_text(encoding="ascii").strip() == "0"
    except OSError:
        return False


def free_bytes(folder: str) -> int:
    """Return the free space where `folder` is or will be; -1 when it cannot be seen from here (a remote daemon)."""
    path = Path(folder or "/nowhere")
    try:
        status = os.statvfs(path)
    except OSError:
        return -1
    return status.f_bavail * status.f_frsize


def docker(tried: list[dict[str, str]]) -> Optional[dict[str, Any]]:
    """Return the facts of a Docker that answers, or None with the reasons added to `tried`."""
    answering, builder = "", ""
    reasons: list[str] = []
    info: dict[str, Any] = {}
    for client in clients("docker"):
        if not answering:
            code, text, problem = call([client, "info", "--format", "{{json .}}"])
            try:
                info = json.loads(text) if code == 0 else {}
            except ValueError:
                info = {}
            # A client that cannot reach its daemon prints half an answer and, before 25, exit code 0.
            if info.get("ServerErrors") or not info.get("ServerVersion"):
                tried.append({"cli": client, "problem": "; ".join(info.get("ServerErrors") or []) or problem or "gave no answer"})
                continue
            if "podman" in str(info.get("OperatingSystem", "")).lower() + call([client, "--version"])[1].lower():
                tried.append({"cli": client, "problem": "is Podman under Docker's name; ask for podman"})
                continue
            answering = client
        reason = can_build(client)
        if not reason:
            builder = client
            break
        reasons.append(f"{client}: {reason}")
    if not answering:
        return None
    return {
        "engine": "docker",
        "cli": answering,
        "build_cli": builder,
        "build_env": {"DOCKER_BUILDKIT": "1"},
        "build_problem": "" if builder else "; ".join(reasons),
        "version": info["ServerVersion"],
        "rootless": any("rootless" in option for option in info.get("SecurityOptions") or []),
        "root_dir": info.get("DockerRootDir", ""),
        "free_bytes": free_bytes(info.get("DockerRootDir", "")),
        "ipv6": kernel_has_ipv6(),
        "base_prefix": "",
    }


# --- Podman ------------------------------------------------------------------------------------------------------------------


def starts_containers(client: str) -> str:
    """Try to start a container of an empty image; return an empty text when all but the missing program worked, else the error.

    The engines agree on exit code 127 for "the program was not found", which comes after namespaces, limits and network are set up.
    """
    empty_tar = bytes(10240)
    code, image, problem = call([client, "import", "--quiet", "-", PROBE_IMAGE], data=empty_tar, timeout=60)
    if code != 0:
        return f"cannot import an image: {problem or image}"
    code, _text, problem = call([client, "run", "--rm", PROBE_IMAGE, "/nothing"], timeout=60)
    call([client, "rmi", "--force", PROBE_IMAGE], timeout=60)
    return "" if code == 127 else problem.splitlines()[-1] if problem else f"exit code {code}"


def limits() -> str:
    """Write limits that nobody can be forbidden to set: Podman asks for a million files and processes, which needs CAP_SYS_RESOURCE.

    The ceiling for processes is pid_max as well as our own limit, because Podman lowers itself to that before it starts a container.
    """
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    wanted = (("nofile", resource.RLIMIT_NOFILE, 1048576), ("nproc", resource.RLIMIT_NPROC, min(pid_max, 32768)))
    values = []
    for name, number, ceiling in wanted:
        hard = resource.getrlimit(number)[1]
        value = ceiling if hard == resource.RLIM_INFINITY else min(hard, ceiling)
        values.append(f'"{name}={value}:{value}"')
    return f"default_ulimits = [{', '.join(values)}]"


def private_configurations() -> list[str]:
    """Return configurations to try, the least first. A file given by CONTAINERS_CONF replaces the system's, so each is complete."""
    runtime = next((name for name in ("runc", "crun") if shutil.which(name)), "runc")
    engine = f'[engine]\nruntime = "{runtime}"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    return [f"[containers]\n{limits()}\n", f"[containers]\n{limits()}\n\n{engine}"]


def wrap(client: str, state: Path) -> tuple[str, str]:
    """Find a private configuration with which `client` starts containers; return the wrapper's path, or '' and the last reason."""
    folder = state / "podman"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    configuration, wrapper = folder / "containers.conf", folder / "podman"
    wrapper.write_text(
        "#!/bin/sh\n# Made by the role pgops.access.pg_image: Podman as it stands cannot start containers on this host.\n"
        f"CONTAINERS_CONF='{configuration}' exec '{client}' \"$@\"\n",
        encoding="utf-8",
    )
    wrapper.chmod(0o755)
    reason = ""
    for text in private_configurations():
        configuration.write_text(text, encoding="utf-8")
        reason = starts_containers(str(wrapper))
        if not reason:
            return str(wrapper), ""
    shutil.rmtree(folder)
    return "", reason


def podman(tried: list[dict[str, str]], state: Path) -> Optional[dict[str, Any]]:
    """Return the facts of a Podman that starts containers, or None with the reasons added to `tried`."""
    for client in clients("podman"):
        code, text, problem = call([client, "info", "--format", "json"], timeout=60)
        try:
            info = json.loads(text) if code == 0 else {}
        except ValueError:
            info = {}
        if not info:
            tried.append({"cli": client, "problem": problem or "gave no answer"})
            continue
        wrapper = state / "podman" / "podman"
        usable, reason = (
            (str(wrapper), "") if wrapper.exists() and not starts_containers(str(wrapper)) else (client, starts_containers(client))
        )
        if reason:
            usable, reason = wrap(client, state)
        if reason:
            tried.append({"cli": client, "problem": reason})
            continue
        root_dir = info["store"]["graphRoot"]
        rootless = bool(info["host"]["security"]["rootless"])
        return {
            "engine": "podman",
            "cli": usable,
            "build_cli": usable,
            "build_env": {},
            "build_problem": "",
            "version": info["version"]["Version"],
            "rootless": rootless,
            "root_dir": root_dir,
            "free_bytes": free_bytes(root_dir),
            "ipv6": kernel_has_ipv6(),
            "base_prefix": "docker.io/library/",
        }
    return None


# --- what the host is --------------------------------------------------------------------------------------------------------


def host() -> dict[str, Any]:
    """Say what may be done here when no engine answers."""
    release = Path("/etc/os-release")
    words = dict(line.split("=", 1) for line in release.read_text(encoding="utf-8").splitlines() if "=" in line) if release.exists() else {}
    family = {words.get("ID", "").strip('"'), *words.get("ID_LIKE", "").strip('"').split()}
    return {
        "root": os.geteuid() == 0,
        "apt": shutil.which("apt-get") is not None and "debian" in family,
        "systemd": Path("/run/systemd/system").is_dir(),
        "cgroups": Path("/sys/fs/cgroup").is_dir() and any(Path("/sys/fs/cgroup").iterdir()),
        "dockerd": shutil.which("dockerd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin") or "",
        "podman": shutil.which("podman") or "",
        "user": os.environ.get("USER") or str(os.geteuid()),
    }


def main(arguments: list[str]) -> int:
    """Print the findings."""
    asked, state = arguments[0], Path(arguments[1])
    tried: list[dict[str, str]] = []
    facts = None
    if asked in ("auto", "docker"):
        facts = docker(tried)
    # A Docker that cannot build is no reason to change engines when it was asked for by name.
    if asked == "podman" or (asked == "auto" and (facts is None or not facts["build_cli"])):
        facts = podman(tried, state) or facts
    print(
        json.dumps(
            {"facts": facts or {}, "tried": tried, "said": "; ".join(f"{one['cli']}: {one['problem']}" for one in tried), "host": host()}
        ),
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
