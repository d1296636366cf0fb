"""One test per rival and round: set-up, one command, teardown, as pytest's own durations see them.

Collected by `run.py`, which orders nothing: rounds interleave the rivals, so that a change of the
machine's speed meets all of them.
"""

from __future__ import annotations

import os
import subprocess

import pytest

IMAGE = os.environ.get("BOTTLE_DOCKER_IMAGE", "python:3.13-slim-bookworm")
RIVALS = os.environ["BENCHMARK_RIVALS"].split(",")
ROUNDS = int(os.environ["BENCHMARK_ROUNDS"])


@pytest.fixture
def plain_subprocess():
    return lambda: subprocess.run(["true"], capture_output=True, check=True)


@pytest.fixture
def docker_cli():
    done = subprocess.run(
        ["docker", "run", "-d", "--network=none", IMAGE, "sleep", "3600"],
        capture_output=True,
        check=True,
        text=True,
    )
    name = done.stdout.strip()
    yield lambda: subprocess.run(["docker", "exec", name, "true"], capture_output=True, check=True)
    subprocess.run(["docker", "rm", "-f", name], capture_output=True, check=True)


@pytest.fixture
def testcontainers():
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - may be absent

    with DockerContainer(IMAGE).with_command("sleep 3600") as container:
        yield lambda: container.exec(["true"])


@pytest.fixture
def bottle_bubblewrap(bottle_factory):
    bottle = bottle_factory(backend="bubblewrap")
    yield lambda: bottle.exec(["true"]).check()
    bottle.close()


@pytest.fixture
def bottle_docker(bottle_factory):
    bottle = bottle_factory(backend="docker", image=IMAGE)
    yield lambda: bottle.exec(["true"]).check()
    bottle.close()


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_cycle(request, number, rival):  # noqa: ARG001 - only counts the rounds
    request.getfixturevalue(rival)()
