# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: a network, a client container that plays the outsider, and servers that are gone after their test."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator

import pytest
from image_support import DOCKER, IMAGE, PASSWORD, RUN, Container, docker

Start = Callable[..., Container]
FIRST = ("test_statistics", "test_member", "test_container", "test_events")
"""The long files begin, so that none of them is left alone at the end: the first builds an image, the second waits for clusters."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first; pytest-xdist would begin with those of many tests."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


@pytest.fixture(scope="session", autouse=True)
def network() -> Iterator[str]:
    """A network of its own, with both families; and the image must be there."""
    if shutil.which(DOCKER) is None or docker("info", check=False).returncode:
        pytest.fail(f"{DOCKER} does not answer: start the engine, or set PGOPS_DOCKER")
    if docker("image", "inspect", IMAGE, check=False).returncode:
        pytest.fail(f"{IMAGE} is not there: build it (see the Dockerfile's first lines), or set PGOPS_IMAGE")
    number = int(RUN[-2:], 16)
    docker("network", "create", "--ipv6", "--subnet", f"172.29.{number}.0/24", "--subnet", f"fd00:5067:{number:x}::/64", RUN)
    yield RUN
    for name in docker("ps", "--all", "--quiet", "--filter", f"name={RUN}").stdout.split():
        docker("rm", "--force", "--volumes", name, check=False)
    for name in docker("volume", "ls", "--quiet", "--filter", f"name={RUN}").stdout.split():
        docker("volume", "rm", name, check=False)
    docker("network", "rm", RUN, check=False)


@pytest.fixture(scope="session")
def outsider(network: str) -> Container:
    """A second container with its own address, from which psql connects."""
    name = f"{RUN}-outsider"
    docker("run", "--detach", "--name", name, "--network", network, "--entrypoint", "sleep", IMAGE, "1000")
    return Container(name)


@pytest.fixture
def start(network: str) -> Iterator[Start]:
    """Starts containers that are gone after the test. ``words`` are options of ``docker run``, ``env`` is the environment."""
    started: list[Container] = []

    def run(
        *words: str, command: tuple[str, ...] = (), env: dict[str, str] | None = None, password: str | None = PASSWORD, image: str = IMAGE
    ) -> Container:
        container = Container(f"{RUN}-{len(started)}-{uuid.uuid4().hex[:4]}")
        started.append(container)
        environment = {**({"POSTGRES_PASSWORD": password} if password is not None else {}), **(env or {})}
        options = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        docker("run", "--detach", "--name", container.name, "--network", network, *options, *words, image, *command)
        return container

    yield run
    for container in started:
        container.remove()


@pytest.fixture
def volume() -> Iterator[str]:
    """A named volume for one test."""
    name = f"{RUN}-{uuid.uuid4().hex[:6]}"
    docker("volume", "create", name)
    yield name
    for container in docker("ps", "--all", "--quiet", "--filter", f"volume={name}").stdout.split():
        docker("rm", "--force", container, check=False)
    docker("volume", "rm", name, check=False)


@pytest.fixture
def connect(outsider: Container):
    """``connect(server, …)`` → what psql prints, ``ok USER`` or the server's refusal."""

    def ask(
        server: Container,
        family: int = 4,
        password: str = PASSWORD,
        user: str = "postgres",
        database: str = "postgres",
        *,
        statement: str = "SELECT 'ok ' || current_user",
        **options,
    ) -> str:
        words = {"host": server.address(family), "user": user, "dbname": database, "connect_timeout": "5", **options}
        dsn = " ".join(f"{name}='{value}'" for name, value in words.items())
        done = docker(
            "exec",
            "--env",
            f"PGPASSWORD={password}",
            outsider.name,
            "psql",
            "-XAtqw",
            dsn,
            "-c",
            statement,
            check=False,
        )
        return done.stdout.strip() or done.stderr.strip()

    return ask
