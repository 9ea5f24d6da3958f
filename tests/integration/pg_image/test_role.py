# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role itself, with a small Dockerfile of its own, so that it neither takes long nor touches the real image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import typing as t
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Role

DOCKERFILE = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG PG_MAJOR\nCOPY rootfs /\nLABEL major=${PG_MAJOR}\n"


def inspect(docker: str, name: str) -> dict[str, t.Any] | None:
    """Ask the engine for an image."""
    done = subprocess.run([docker, "image", "inspect", name], capture_output=True, text=True, check=False)
    return json.loads(done.stdout)[0] if done.returncode == 0 else None


@pytest.fixture
def small(role: Role, docker: str) -> Iterator[dict[str, t.Any]]:
    """Variables for a context and an image of this test's own; the image is removed afterwards."""
    context = role.folder / "context"
    (context / "rootfs").mkdir(parents=True)
    (context / "rootfs" / "hello").write_text("one", encoding="utf-8")
    (context / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    name = f"pgops-test/image:{uuid.uuid4().hex[:12]}"
    yield {"pg_image_context": str(context), "pg_image_name": name, "pg_image_engine": "docker"}
    subprocess.run([docker, "image", "rm", "--force", name], capture_output=True, check=False)


def test_built_once_then_only_when_something_changed(role: Role, docker: str, small: dict[str, t.Any]) -> None:
    name = small["pg_image_name"]
    first = role(**small)
    assert first.code == 0, first.output
    image = inspect(docker, name)
    assert image is not None
    assert image["Config"]["Labels"]["major"] == "15"
    assert image["Config"]["Labels"]["io.pgops.base.source"] in ("registry", "mmdebstrap")

    again = role(**small)
    assert (again.code, again.changed) == (0, 0), again.output

    (Path(small["pg_image_context"]) / "rootfs" / "hello").write_text("two", encoding="utf-8")
    predicted = role("--check", **small)
    assert (predicted.code, predicted.changed) == (0, 1), predicted.output
    unchanged = inspect(docker, name)
    assert unchanged is not None
    assert unchanged["Id"] == image["Id"]

    rebuilt = role(**small)
    assert rebuilt.code == 0, rebuilt.output
    changed = inspect(docker, name)
    assert changed is not None
    assert changed["Id"] != image["Id"]
    said = subprocess.run([docker, "run", "--rm", name, "cat", "/hello"], capture_output=True, text=True, check=True)
    assert said.stdout == "two"

    removed = role(pg_image_state="absent", **small)
    assert removed.code == 0, removed.output
    assert inspect(docker, name) is None
    assert role(pg_image_state="absent", **small).changed == 0


def test_a_build_that_fails_says_where_and_leaves_the_image(role: Role, docker: str, small: dict[str, t.Any]) -> None:
    assert role(**small).code == 0
    before = inspect(docker, small["pg_image_name"])
    assert before is not None
    (Path(small["pg_image_context"]) / "Dockerfile").write_text(DOCKERFILE + "RUN echo boom >&2; exit 3\n", encoding="utf-8")
    failed = role(**small)
    assert failed.code == 2
    assert "could not be built" in failed.output
    assert "boom" in failed.output
    assert "image-build.log" in failed.output
    after = inspect(docker, small["pg_image_name"])
    assert after is not None
    assert after["Id"] == before["Id"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"pg_image_nmae": "x:y"}, "No such variable of role pgops.access.pg_image: pg_image_nmae"),
        ({"pg_image_base_digest": "sha256:123"}, "Nothing was changed"),
        ({"pg_image_name": "no tag"}, "Nothing was changed"),
        ({"pg_image_engine": "lxc"}, "one of"),
        ({"pg_image_base": "alpine:3", "pg_image_base_source": "mmdebstrap"}, "cannot be made with mmdebstrap"),
    ],
)
def test_bad_input_is_refused_before_anything_happens(role: Role, variables: dict[str, str], said: str) -> None:
    run = role(**variables)
    assert run.code == 2
    assert said in " ".join(run.output.split())
    assert not role.state.exists()


def test_no_engine_ends_with_the_command_to_run(role: Role) -> None:
    run = role(env={"DOCKER_HOST": "unix:///nowhere.sock"}, pg_image_engine="docker", pg_image_engine_install=False)
    assert run.code == 2
    assert "No container engine answers" in run.output
    assert "sudo " in run.output or "https://" in run.output


def test_no_space_is_refused_before_the_build(role: Role, docker: str, small: dict[str, t.Any]) -> None:
    run = role(pg_image_min_free_mb=10**9, **small)
    assert run.code == 2
    assert "MB are free" in run.output
    assert inspect(docker, small["pg_image_name"]) is None


@pytest.mark.skipif(shutil.which("mmdebstrap") is None and os.geteuid() != 0, reason="mmdebstrap is not installed, and we are not root")
def test_the_base_made_from_packages_is_the_same_bytes_twice(role: Role, docker: str, small: dict[str, t.Any]) -> None:
    base = "debian:bookworm-slim"
    if inspect(docker, base):
        pytest.skip(f"{base} is there already and is not ours to remove")
    made = {**small, "pg_image_base": base, "pg_image_base_source": "mmdebstrap"}
    hashes = []
    for _attempt in range(2):
        run = role(**made)
        assert run.code == 0, run.output
        image = inspect(docker, base)
        assert image is not None
        assert image["Config"]["Labels"]["io.pgops.base.source"] == "mmdebstrap"
        hashes.append(image["Config"]["Labels"]["io.pgops.base.rootfs.sha256"])
        gone = role(pg_image_state="absent", pg_image_remove_base=True, **made)
        assert gone.code == 0, gone.output
        assert inspect(docker, base) is None
    assert hashes[0] == hashes[1]
