"""What the tests of the Docker backend share: an engine, two images, and sandboxes that go away."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.base import ExecResult
from pytest_bottle.backends.docker.backend import DockerBackend
from pytest_bottle.backends.docker.image import DEFAULT_IMAGE
from pytest_bottle.plan import BottlePlan
from pytest_bottle.plan import ImagePlan
from pytest_bottle.plan import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_bottle.backends.docker.sandbox import DockerSandbox

IMAGE = os.environ.get("BOTTLE_DOCKER_IMAGE", DEFAULT_IMAGE)
"""A Debian or Ubuntu with Python."""

WITHOUT_PYTHON = """\
ARG BASE
FROM $BASE
RUN rm -rf /usr/bin/python3* /usr/local/bin/python3* /usr/lib/python3*
"""

NUMBERS = itertools.count(1)


def make_plan(tmp_path: Path, **changes) -> BottlePlan:
    values = {
        "name": f"bottle-t{os.getpid()}-main-{next(NUMBERS)}",
        "run_id": f"t{os.getpid()}",
        "worker": "main",
        "backend": "docker",
        "state_dir": tmp_path,
        "image": ImagePlan(reference=IMAGE),
        "limits": Limits(memory=512 << 20, pids=128, cpus=1),
        **changes,
    }
    return BottlePlan(**values)


def run(sandbox: DockerSandbox, *argv: str, **changes) -> ExecResult:
    return sandbox.exec(ExecRequest(argv=argv, **changes))


def sh(sandbox: DockerSandbox, script: str, **changes) -> ExecResult:
    return run(sandbox, "sh", "-c", script, **changes)


def processes(sandbox: DockerSandbox) -> list[str]:
    """Command lines in the guest; images may have neither ps nor pgrep."""
    script = 'for file in /proc/[0-9]*/cmdline; do tr "\\0" " " <$file; echo; done'
    return [line.strip() for line in sh(sandbox, script).stdout.splitlines()]


@pytest.fixture(scope="session")
def backend() -> Iterator[DockerBackend]:
    backend = DockerBackend()
    probe = backend.probe()
    if not probe.ok:
        pytest.skip(f"{probe.detail} {probe.fix}")
    yield backend
    backend.settle(20)
    backend.shutdown()


@pytest.fixture
def launch(backend: DockerBackend, tmp_path: Path) -> Iterator[Callable[..., DockerSandbox]]:
    """Launch sandboxes of plans that differ from the usual one; they end with the test."""
    launched = []

    def launch(**changes) -> DockerSandbox:
        plan = make_plan(tmp_path, **changes)
        backend.prepare(plan)
        launched.append(backend.launch(plan))
        return launched[-1]

    yield launch
    for sandbox in launched:
        sandbox.stop()
    backend.settle(20)


@pytest.fixture(scope="session")
def bare_image(tmp_path_factory: pytest.TempPathFactory) -> ImagePlan:
    """An image without Python."""
    if named := os.environ.get("BOTTLE_DOCKER_TEST_BARE_IMAGE"):
        return ImagePlan(reference=named)
    dockerfile = tmp_path_factory.mktemp("bare") / "Dockerfile"
    dockerfile.write_text(WITHOUT_PYTHON)
    return ImagePlan(dockerfile=dockerfile, build_args=(("BASE", IMAGE),))


@pytest.fixture(scope="module", params=["python", "bare"])
def sandbox(
    request: pytest.FixtureRequest,
    backend: DockerBackend,
    bare_image: ImagePlan,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DockerSandbox]:
    """A sandbox on either image: what a test sees must not differ."""
    changes = {"image": bare_image} if request.param == "bare" else {}
    plan = make_plan(tmp_path_factory.mktemp("state"), **changes)
    backend.prepare(plan)
    sandbox = backend.launch(plan)
    yield sandbox
    sandbox.stop()
    backend.settle(20)
