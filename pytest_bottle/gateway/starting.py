"""Starts a run's door when the first bottle needs it: one for all workers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_bottle.errors import DoorError
from pytest_bottle.errors import ProcessStartError
from pytest_bottle.errors import RunEndedError
from pytest_bottle.process import READY_FD
from pytest_bottle.process import start_daemon
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.publish import locked
from pytest_bottle.state.publish import publish

if TYPE_CHECKING:
    from pytest_bottle.state.run import Run

LOG_NAME = "door.log"
"""In the run's directory: what the door writes, as long as there is the directory."""

_OWNER_NAME = "door"
_READY_TIMEOUT = 20.0
_LOG_TAIL = 2000
_START = (
    "import sys; sys.path += [path for path in sys.argv[3:] if path not in sys.path]; "
    "from pytest_bottle.gateway.main import main; sys.exit(main(sys.argv[1:3]))"
)


def ensure_door(run: Run) -> Owner:
    """Return the process that is the run's door, started where none lives; cheap where one does.

    It takes connections at once, and serves them when it has loaded what it needs.

    Raises:
        DoorError: it could not be started.
        RunEndedError: the run was taken down.
    """
    door = read_door(run.directory)
    if door is not None and door.alive():
        return door
    with locked(_start_lock(run)):
        door = read_door(run.directory)
        if door is None or not door.alive():
            if run.ended:
                raise RunEndedError(str(run.directory))
            _start(run)
            door = read_door(run.directory)
    if door is None:
        raise RunEndedError(str(run.directory))
    return door


def _start_lock(run: Run) -> Path:
    """Return a lock that all processes of a run find; a few runs share each.

    Not in the run's directory: whoever takes a lock makes its directory, and that may be gone.
    """
    directory = run.directory.parent.parent / "starts"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory / f"door-{run.id[0]}"


def _start(run: Run) -> None:
    try:
        # Not `-m`: it may have to find this package where only this process was told to look.
        start_daemon(
            [
                *(sys.executable, "-P", "-W", "ignore", "-c", _START),
                *(str(run.directory), READY_FD),
                *(str(Path(path).absolute()) for path in sys.path),
            ],
            ready_timeout=_READY_TIMEOUT,
            log=run.directory / LOG_NAME,
        )
    except FileNotFoundError:
        raise RunEndedError(str(run.directory)) from None
    except ProcessStartError as error:
        raise DoorError(f"did not start: {error}") from error


def publish_door(directory: Path) -> None:
    """Say that this process is the run's door."""
    publish(directory / _OWNER_NAME, Owner.current().encode())


def read_door(directory: Path) -> Owner | None:
    """Return the last process that was a run's door, dead or alive; None where none ever was."""
    try:
        return Owner.decode((directory / _OWNER_NAME).read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def read_log(directory: Path) -> str:
    """Return the end of what the door has written; empty where there is nothing."""
    try:
        return (directory / LOG_NAME).read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]
    except OSError:
        return ""
