"""What the tests of the bubblewrap backend share: sandboxes that end with their test."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.base import ExecResult
from pytest_bottle.backends.base import Probe
from pytest_bottle.backends.bubblewrap.backend import BubblewrapBackend
from pytest_bottle.plan import BottlePlan

if TYPE_CHECKING:
    from pytest_bottle.backends.bubblewrap.sandbox import BubblewrapSandbox

_numbers = itertools.count()


class Box:
    """One sandbox, with what a test asks of it."""

    def __init__(self, plan: BottlePlan, sandbox: BubblewrapSandbox) -> None:
        self.plan = plan
        self.sandbox = sandbox

    def exec(self, *argv: str, **fields: Any) -> ExecResult:
        return self.sandbox.exec(ExecRequest(argv=argv, **{"timeout": 20, **fields}))

    def sh(self, script: str, **fields: Any) -> ExecResult:
        return self.exec("/bin/sh", "-c", script, **fields)

    def python(self, script: str, **fields: Any) -> ExecResult:
        return self.exec("/usr/bin/python3", "-c", script, **fields)

    @property
    def keeper(self) -> int:
        """The pid of the process that made it and serves its commands."""
        return int(self.sandbox.reference()["keeper"]["owner"].partition(":")[0])

    @property
    def init(self) -> int:
        """The pid, on the host, of the guest's first process."""
        return int(self.sandbox.reference()["keeper"]["init"])

    @property
    def groups(self) -> list[Path]:
        """Its control groups."""
        return [Path(path) for path in self.sandbox.reference()["keeper"]["cgroups"]]


Launch = Callable[..., Box]


def eventually(true: Callable[[], object], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def commands_in(group: Path) -> set[str]:
    """Return the names of the programs that run in a control group."""
    names = set()
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):  # It has ended.
            names.add(Path(f"/proc/{pid}/comm").read_text().strip())
    return names


def make_plan(state_dir: Path, **fields: Any) -> BottlePlan:
    return BottlePlan(
        name=f"bottle-t{os.getpid()}-main-{next(_numbers)}",
        run_id=f"t{os.getpid()}",
        worker="main",
        backend="bubblewrap",
        state_dir=state_dir,
        **fields,
    )


@pytest.fixture(scope="session")
def probe() -> Probe:
    """What the backend says about this host."""
    backend = BubblewrapBackend()
    try:
        return backend.probe()
    finally:
        backend.shutdown()


@pytest.fixture
def backend(probe: Probe) -> Iterator[BubblewrapBackend]:
    """A backend with a broker of its own, which the test may kill."""
    if not probe.ok:
        pytest.skip(f"{probe.detail}. {probe.fix}")
    backend = BubblewrapBackend()
    yield backend
    backend.shutdown()


@pytest.fixture
def launch(backend: BubblewrapBackend, tmp_path: Path) -> Iterator[Launch]:
    """Launch a sandbox of a plan's fields."""
    boxes: list[Box] = []

    def launch_one(**fields: Any) -> Box:
        plan = make_plan(tmp_path, **fields)
        backend.prepare(plan)
        boxes.append(Box(plan, backend.launch(plan)))
        return boxes[-1]

    yield launch_one
    for box in boxes:
        box.sandbox.stop()


@pytest.fixture
def box(launch: Launch) -> Box:
    return launch()
