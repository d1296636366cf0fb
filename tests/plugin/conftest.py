"""Inner runs of pytest with the plugin in them, and the proof that they leave nothing behind."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle.state.directory import STATE_VARIABLE
from pytest_bottle.state.owner import Owner
from tests.death.remains import GONE_WITHIN
from tests.death.remains import branded
from tests.death.remains import command_line
from tests.death.remains import eventually
from tests.death.remains import put_on
from tests.death.remains import unused_brand

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

COMPANY = (
    "anyio",
    "asyncio",
    "html",
    "metadata",
    "pytest_cov",
    "randomly",
    "repeat",
    "rerunfailures",
)
"""Other plugins, by the names of their entry points; `-p NAME` lets one in again."""

INNER_OPTIONS = ("-p", "no:cacheprovider", *(f"-pno:{name}" for name in (*COMPANY, "timeout")))
"""Of every inner run, which is quicker alone, and in the order that is written down."""

LONGEST_RUN = 60.0
"""Seconds."""

FAKE_BACKEND = """
    from pytest_bottle.testing.fake import FakeBackend

    class Fake(FakeBackend):
        name = {name!r}

    def pytest_bottle_backends(config):
        return [Fake({arguments})]
"""

CALLING_AGENT = """
[agents.caller]
kind = "command"
args = ["python3", "calling_agent.py", "{prompt}"]
env = { MODEL_URL = "{model_url}", MODEL_TOKEN = "{model_token}" }
bottle = "box"

[bottles.box]
backend = "bubblewrap"

[bottles.box.files]
"calling_agent.py" = "calling_agent.py"
"""


class State:
    """The state directory of one test's runs, and what is left of them."""

    def __init__(self, root: Path, brand: int) -> None:
        self.root = root
        self.brand = brand

    def remains(self) -> list[str]:
        """Describe what there is of the test's runs, a line each."""
        # Zombies have no command line: they have ended, but init has not looked yet.
        lines = {pid: command_line(pid) for pid in branded(self.brand) if pid != os.getpid()}
        return [
            *(f"process {pid}: {line[:150]}" for pid, line in lines.items() if line),
            *(f"file {path}" for path in self.root.glob("runs/*")),
            *(f"slot {path}" for path in self.root.glob("slots/*/*,*") if _is_taken(path.name)),
        ]

    def assert_empty(self) -> None:
        """Fail where something of the test's runs is still there when it has to be gone."""
        eventually(lambda: not self.remains(), GONE_WITHIN)
        assert not self.remains()


def _is_taken(slot: str) -> bool:
    """A slot of a process that has ended is free: the next who waits removes it."""
    return Owner.decode(slot.split(",")[3]).alive()


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    """Give the test's runs a state directory of their own, in which nothing may stay."""
    # Short, for the sockets in it; and root's sandboxes run bwrap from there as somebody else.
    root = Path(tempfile.mkdtemp(prefix="bp-", dir="/tmp"))
    root.chmod(0o711)
    monkeypatch.setenv(STATE_VARIABLE, str(root))
    monkeypatch.setenv("COLUMNS", "200")
    unbranded = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    state = State(root, unused_brand())
    put_on(state.brand)
    try:
        yield state
        state.assert_empty()
    finally:
        for pid in branded(state.brand):
            if pid != os.getpid():
                os.kill(pid, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, unbranded)
        shutil.rmtree(root)


@pytest.fixture
def run(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Run the inner suite in a process of its own: `run("-rs", "--bottle-scope=module")`."""

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*INNER_OPTIONS, *arguments, timeout=LONGEST_RUN)

    return run


@pytest.fixture
def start(pytester: pytest.Pytester) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the inner suite, and go on while it runs."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *INNER_OPTIONS, *arguments],
            cwd=pytester.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def fake_backend(pytester: pytest.Pytester) -> Callable[..., None]:
    """Give the inner suite the fake backend: `fake_backend(lose_after=1)`; see there for faults."""

    def add(name: str = "fake", *, more: str = "", **faults: Any) -> None:
        arguments = ", ".join(f"{fault}={value!r}" for fault, value in faults.items())
        pytester.makeconftest(FAKE_BACKEND.format(name=name, arguments=arguments) + more)

    return add


@pytest.fixture
def calling_agent(pytester: pytest.Pytester) -> None:
    """Give the inner suite an agent `caller`, which asks its model; see `calling_agent.py`."""
    (pytester.path / "bottle.toml").write_text(CALLING_AGENT)
    shutil.copy(Path(__file__).with_name("calling_agent.py"), pytester.path)
