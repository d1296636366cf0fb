"""The fake backend: real processes, no wall, and faults on request."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

import pytest_bottle
from pytest_bottle.backends.base import Backend
from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.base import ExecResult
from pytest_bottle.backends.base import Resource
from pytest_bottle.backends.base import Sandbox
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import LaunchError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.errors import TeardownError
from pytest_bottle.errors import UserUnsupportedError
from pytest_bottle.plan import BottlePlan
from pytest_bottle.plan import ImagePlan
from pytest_bottle.state.owner import Owner
from pytest_bottle.testing.fake import FakeBackend

if TYPE_CHECKING:
    from collections.abc import Callable

DAEMON = "sleep {mark} >/dev/null 2>&1 & (env -i setsid sleep {mark} >/dev/null 2>&1 &)"
"""Starts two processes that outlive their command; one has left it in every way there is."""

_marks = itertools.count(os.getpid() * 1000)


@pytest.fixture
def plan(tmp_path):
    return BottlePlan(
        name="bottle-fake", run_id="run", worker="main", backend="fake", state_dir=tmp_path
    )


@pytest.fixture
def launch(plan):
    launched = []

    def start(backend=None, **changes):
        sandbox = (backend or FakeBackend()).launch(
            BottlePlan(**{**{f: getattr(plan, f) for f in plan.__slots__}, **changes})
        )
        launched.append(sandbox)
        return sandbox

    yield start
    for sandbox in launched:
        sandbox.stop()


def sh(sandbox: Sandbox, script: str, **changes: Any) -> ExecResult:
    return sandbox.exec(ExecRequest(argv=("sh", "-c", script), **changes))


def running(mark: int) -> list[int]:
    """Return the living processes with the mark as an argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(mark).encode() in words:
            found.append(int(path.parent.name))
    return found


def wait_until(condition: Callable[[], bool], timeout: float = 5) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start_daemons(sandbox: Sandbox) -> int:
    mark = next(_marks)
    sh(sandbox, DAEMON.format(mark=mark))
    wait_until(lambda: len(running(mark)) == 2)
    return mark


def test_it_is_a_backend_and_makes_sandboxes(launch):
    backend: Backend = FakeBackend()
    sandbox: Sandbox = launch(backend)
    assert (backend.name, backend.wall) == ("fake", "none")
    assert isinstance(sandbox, Sandbox)


def test_it_needs_no_pytest():
    script = "import sys, pytest_bottle.testing.fake; assert 'pytest' not in sys.modules"
    parent = str(Path(pytest_bottle.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": parent}, timeout=30, check=False
    )
    assert done.returncode == 0


def test_the_probe_runs_a_command():
    assert FakeBackend().probe().ok
    assert FakeBackend(unavailable="out of order").probe().detail == "out of order"


def test_workdir_and_home_are_below_the_state_directory(launch, plan):
    sandbox = launch()
    assert Path(sandbox.guest.workdir) == plan.state_dir / "fake" / "workspace"
    assert Path(sandbox.guest.home) == plan.state_dir / "fake" / "home"
    assert sh(sandbox, "pwd; echo $HOME").stdout.split() == [
        sandbox.guest.workdir,
        sandbox.guest.home,
    ]


def test_its_resources_are_a_directory_and_a_process(launch, plan):
    (planned,) = FakeBackend().planned_resources(plan)
    sandbox = launch()
    (found,) = sandbox.resources
    assert (planned.kind, Path(planned.id).is_dir()) == ("directory", True)
    assert (found.kind, Owner.decode(found.id).alive()) == ("process", True)
    sandbox.stop()
    assert not Path(planned.id).exists()
    assert not Owner.decode(found.id).alive()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"image": ImagePlan(reference="debian")}, "image"), ({"user": "somebody"}, "somebody")],
)
def test_what_it_cannot_do_is_refused(plan, changes, reason):
    wanted = BottlePlan(**{**{f: getattr(plan, f) for f in plan.__slots__}, **changes})
    with pytest.raises(CapabilityError, match=reason):
        FakeBackend().prepare(wanted)


def test_another_user_is_refused(launch):
    with pytest.raises(UserUnsupportedError, match="somebody"):
        sh(launch(), "true", user="somebody")


def test_an_unavailable_one_prepares_nothing(plan):
    with pytest.raises(CapabilityError, match="out of order"):
        FakeBackend(unavailable="out of order").prepare(plan)


def test_stop_ends_what_commands_left_running(launch):
    sandbox = launch()
    mark = start_daemons(sandbox)
    assert sandbox.stop() is True
    assert running(mark) == []
    assert sandbox.stop() is True


@pytest.mark.parametrize("victim", ["guard", "server", "client"])
def test_whatever_dies_takes_everything_with_it(launch, victim):
    sandbox = launch()
    mark = start_daemons(sandbox)
    guard = Owner.decode(sandbox.resources[0].id).pid
    (server,) = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
    if victim == "client":
        sandbox.close()
    else:
        os.kill(guard if victim == "guard" else int(server), signal.SIGKILL)
    wait_until(lambda: not running(mark))
    with pytest.raises(SandboxLostError):
        sh(sandbox, "true")


def test_another_process_can_attach_to_a_detached_one(launch, plan):
    first = launch(shared=True)
    first.detach()
    first.close()
    second = FakeBackend().attach(plan, first.reference())
    assert second.guest == first.guest
    assert sh(second, "echo attached").stdout == "attached\n"
    second.stop()
    with pytest.raises(SandboxLostError):
        FakeBackend().attach(plan, first.reference())


def test_a_person_gets_a_shell_in_the_workdir(launch):
    sandbox = launch()
    command = list(sandbox.connection())
    shell = subprocess.run(
        command, input=b"pwd; echo $HOME\n", capture_output=True, timeout=10, check=False
    )
    assert shell.stdout.decode().split() == [sandbox.guest.workdir, sandbox.guest.home]


def test_launches_fail_as_often_as_was_asked_for(launch, plan):
    backend = FakeBackend(fail_launch=2)
    for _ in range(2):
        with pytest.raises(LaunchError, match="bottle-fake"):
            launch(backend)
        assert list(plan.state_dir.iterdir()) == []
    assert sh(launch(backend), "echo up").stdout == "up\n"


def test_a_launch_without_a_state_directory_fails(launch, tmp_path):
    with pytest.raises(LaunchError, match="did not start"):
        launch(state_dir=tmp_path / "missing")


def test_a_sandbox_is_lost_after_as_many_commands_as_was_asked_for(launch):
    sandbox = launch(FakeBackend(lose_after=2))
    assert [sh(sandbox, "echo up").stdout for _ in range(2)] == ["up\n"] * 2
    with pytest.raises(SandboxLostError, match="killed"):
        sh(sandbox, "echo up")
    assert not Owner.decode(sandbox.resources[0].id).alive()


def test_a_stop_that_is_to_fail_says_what_remains(launch):
    sandbox = launch(FakeBackend(fail_stop=1))
    with pytest.raises(TeardownError, match="remains"):
        sandbox.stop()


def test_it_removes_nothing_that_it_does_not_make():
    with pytest.raises(TeardownError, match="fake:thing"):
        FakeBackend().remove(Resource(kind="fake:thing", id="x"))
