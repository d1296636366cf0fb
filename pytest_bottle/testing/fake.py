"""A backend without any isolation, for tests of plugins and for hosts without a real one.

Commands run as ordinary processes of this host's user, in a directory of their own. The exec
channel, the journal's resources and the lifecycle are the real ones, so that a test with this
backend goes the same way as one with a container.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

import pytest_bottle
from pytest_bottle import process
from pytest_bottle.backends.base import Guest
from pytest_bottle.backends.base import Probe
from pytest_bottle.backends.base import Resource
from pytest_bottle.backends.base import silence
from pytest_bottle.backends.channel.client import Channel
from pytest_bottle.backends.channel.command import BASE_PATH
from pytest_bottle.backends.channel.stream import PipeStream
from pytest_bottle.backends.channel.stream import SocketStream
from pytest_bottle.errors import BottleError
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import LaunchError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.errors import TeardownError
from pytest_bottle.plan import BottlePlan
from pytest_bottle.state.owner import Owner
from pytest_bottle.testing.fake_branch import copy_directory
from pytest_bottle.testing.fake_branch import stopped
from pytest_bottle.testing.fake_sandbox import Countdown
from pytest_bottle.testing.fake_sandbox import FakeSandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.backends.channel.stream import Stream

_PACKAGE_PARENT: Final = str(Path(pytest_bottle.__file__).parent.parent)
_START: Final = (
    f"import sys; sys.path.insert(0, {_PACKAGE_PARENT!r}); "
    "from pytest_bottle.testing.fake_keeper import main; main()"
)
_LOG_TAIL: Final = 2000
_PLACES: Final = ("workspace", "home", "tmp")
_LOST: Final = "the fake sandbox ended: its keeper was killed"


class FakeBackend:
    """See `Backend`. Its faults are real ones: what is lost has really been killed.

    Args:
        unavailable: a reason for which the probe and `prepare` say that there is no such backend.
        fail_launch: how many launches fail before the first that does not.
        lose_after: how many commands each sandbox runs before it is killed under the next one.
        fail_stop: how many sandboxes say at their end that something of them remains.
    """

    name = "fake"
    wall = "none"
    golden = False
    branches_processes = False

    def __init__(
        self,
        *,
        unavailable: str = "",
        fail_launch: int = 0,
        lose_after: int | None = None,
        fail_stop: int = 0,
    ) -> None:
        """Touch nothing yet."""
        self._unavailable = unavailable
        self._launches_to_fail = Countdown(fail_launch)
        self._stops_to_fail = Countdown(fail_stop)
        self._lose_after = lose_after

    def probe(self) -> Probe:
        """Run a command."""
        if self._unavailable:
            return Probe(ok=False, detail=self._unavailable, fix="ask for no such fault")
        with tempfile.TemporaryDirectory(prefix="bottle-") as directory:
            plan = BottlePlan(
                name=f"probe-{os.getpid()}",
                run_id="probe",
                worker="probe",
                backend=self.name,
                state_dir=Path(directory),
            )
            try:
                self._start(plan).stop()
            except BottleError as problem:
                return Probe(ok=False, detail=str(problem))
        return Probe(ok=True, detail="commands run on this host, without isolation or limits")

    def prepare(self, plan: BottlePlan, report: Callable[[str], None] = silence) -> None:  # noqa: ARG002
        """Refuse what a host's ordinary process cannot have."""
        if self._unavailable:
            raise CapabilityError(self.name, reason=self._unavailable)
        if plan.image is not None:
            raise CapabilityError(
                self.name,
                reason="it runs on this host's own file system and takes no image",
                fix="take the image out of the bottle, or use another backend",
            )
        if plan.user not in {None, *_own_names()}:
            raise CapabilityError(
                self.name,
                reason=f"it runs as the host's user {_own_names()[0]!r}, not as {plan.user!r}",
                fix="take the user out of the bottle, or use another backend",
            )

    def planned_resources(self, plan: BottlePlan) -> Sequence[Resource]:
        """Return the sandbox's directory."""
        return [Resource(kind="directory", id=str(_directory(plan)))]

    def launch(self, plan: BottlePlan) -> FakeSandbox:
        """Start the planned sandbox, or fail as often as was asked for."""
        if self._launches_to_fail.next():
            message = f"the sandbox {plan.name} did not start: this launch was to fail"
            raise LaunchError(message)
        return self._start(plan)

    def branch(self, plan: BottlePlan, reference: Mapping[str, Any]) -> FakeSandbox:
        """Start a sandbox with another one's files; see `Branching`."""
        source = Path(reference["directory"])
        owner = Owner.decode(reference["owner"])
        if not owner.alive():
            raise SandboxLostError(_LOST)
        with stopped(owner.pid):
            try:
                return self._start(plan, source)
            except LaunchError as problem:
                if owner.alive():
                    raise
                raise SandboxLostError(_LOST) from problem

    def _start(self, plan: BottlePlan, source: Path | None = None) -> FakeSandbox:
        directory = _directory(plan)
        try:
            keeper, log = _start_keeper(plan, directory, source)
        except OSError as problem:
            shutil.rmtree(directory, ignore_errors=True)
            message = f"the sandbox {plan.name} did not start: {problem}"
            raise LaunchError(message) from problem
        assert keeper.stdin is not None  # noqa: S101 -- for the type checker
        assert keeper.stdout is not None  # noqa: S101 -- for the type checker
        channel = Channel(
            PipeStream(os.dup(keeper.stdout.fileno()), os.dup(keeper.stdin.fileno())),
            lost=lambda: _LOST,
        )
        keeper.stdin.close()
        keeper.stdout.close()
        try:
            facts = channel.wait_ready()
            owner = Owner.of(keeper.pid)
        except (SandboxLostError, ProcessLookupError) as problem:
            channel.close()
            keeper.kill()
            keeper.wait()
            words = log.read_text(errors="replace")[-_LOG_TAIL:]
            shutil.rmtree(directory, ignore_errors=True)
            message = f"the sandbox {plan.name} ended at once: {problem} {words}".rstrip()
            raise LaunchError(message) from problem
        guest = Guest(
            user=facts["user"],
            uid=facts["uid"],
            home=facts["home"],
            workdir=str(directory / "workspace"),
        )
        return FakeSandbox(
            channel=channel,
            guest=guest,
            owner=owner,
            directory=directory,
            env=_environment(plan, directory),
            socket_path=_socket_path(plan, directory),
            keeper=keeper,
            lose_after=self._lose_after,
            stops_to_fail=self._stops_to_fail,
        )

    def attach(self, plan: BottlePlan, reference: Mapping[str, Any]) -> FakeSandbox:
        """Connect to a sandbox that another process launched."""
        del plan
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(reference["socket"])
        except OSError as problem:
            connection.close()
            message = "the fake sandbox ended: nobody answers on its socket"
            raise SandboxLostError(message) from problem
        stream: Stream = SocketStream(connection)
        channel = Channel(stream, lost=lambda: _LOST)
        channel.wait_ready()
        return FakeSandbox(
            channel=channel,
            guest=Guest(**reference["guest"]),
            owner=Owner.decode(reference["owner"]),
            directory=Path(reference["directory"]),
            env=reference["env"],
            socket_path=Path(reference["socket"]),
            keeper=None,
            lose_after=self._lose_after,
            stops_to_fail=self._stops_to_fail,
        )

    def remove(self, resource: Resource) -> None:
        """Raise: its resources are of kinds that the reaper removes itself."""
        message = f"the fake backend makes no {resource.kind}"
        raise TeardownError(message)

    def orphans(self) -> Sequence[tuple[Resource, str]]:
        """Return nothing: all that it makes is in the journal."""
        return ()

    def settle(self, deadline: float) -> None:
        """Return at once: `stop` leaves nothing to the background."""

    def shutdown(self) -> None:
        """Return at once: it holds nothing open."""


def _start_keeper(
    plan: BottlePlan, directory: Path, source: Path | None
) -> tuple[process.Process, Path]:
    """Make a sandbox's directory and start its keeper, which writes its troubles to the log.

    Args:
        plan: The sandbox.
        directory: Where its files will be.
        source: Where the files of another are, for it to start with.
    """
    for path in (directory, *(directory / name for name in _PLACES)):
        path.mkdir(mode=0o700)
    for name in _PLACES if source is not None else ():
        copy_directory(Path(str(source)) / name, directory / name)
    socket_path = _socket_path(plan, directory)
    settings = {
        "env": _environment(plan, directory),
        "workdir": str(directory / "workspace"),
        "socket": None if socket_path is None else str(socket_path),
    }
    log = directory / "keeper.log"
    with log.open("wb") as output:
        keeper = process.start(
            [sys.executable, "-I", "-S", "-c", _START, json.dumps(settings)],
            stdin=process.PIPE,
            stdout=process.PIPE,
            stderr=output,
            env={"LANG": "C.UTF-8", "PATH": BASE_PATH},
        )
    return keeper, log


def _directory(plan: BottlePlan) -> Path:
    """Return where a sandbox's files are; resolved, as its commands see it."""
    return plan.state_dir.resolve() / "fake"


def _socket_path(plan: BottlePlan, directory: Path) -> Path | None:
    return directory / "exec.sock" if plan.shared else None


def _own_names() -> tuple[str, str]:
    """Return this process's user, by name and by number."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name, str(uid)
    except KeyError:
        return str(uid), str(uid)


def _environment(plan: BottlePlan, directory: Path) -> dict[str, str]:
    """Return the whole environment of its commands: nothing of ours is passed on."""
    user = _own_names()[0]
    return {
        "PATH": BASE_PATH,
        "HOME": str(directory / "home"),
        "TMPDIR": str(directory / "tmp"),
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        **dict(plan.env),
    }
