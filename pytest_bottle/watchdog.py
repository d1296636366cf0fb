"""The process that outlives a run, and takes down what its dead leave behind.

It makes the run's directory, so that there is none that nobody looks after, and watches the run's
controller and every process that keeps a journal. A worker's death takes down what that worker
owned; the end of the controller takes down the whole run.
"""

from __future__ import annotations

import functools
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_bottle.errors import RunEndedError
from pytest_bottle.process import READY_FD
from pytest_bottle.process import start_daemon
from pytest_bottle.reaper import end_workers
from pytest_bottle.reaper import open_entries
from pytest_bottle.reaper import reap_run
from pytest_bottle.reaper import remove_run
from pytest_bottle.state.journal import journals
from pytest_bottle.state.journal import read_owner
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.publish import locked
from pytest_bottle.state.run import has_ended
from pytest_bottle.state.run import make
from pytest_bottle.state.run import publish_watchdog
from pytest_bottle.state.run import read_controller
from pytest_bottle.state.run import read_watchdog
from pytest_bottle.state.slots import release_dead

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence

    from pytest_bottle.reaper import Remover
    from pytest_bottle.reaper import Report
    from pytest_bottle.state.resource import Resource
    from pytest_bottle.state.run import Run

LOOK_EVERY = 0.25
"""Seconds between two looks for new processes; a death is noticed at once where the host can."""

PASSES = (0.0, 1.0, 3.0)
"""Seconds after a death at which its remains are removed.

More than once, because an engine may still create what a client asked for just before it died.
"""

RETRY_FOR = 30.0
"""Seconds for which the removal of what resists is tried; after that it is left to a sweep."""

_READY_TIMEOUT = 20.0
_START = (
    "import sys; sys.path += [path for path in sys.argv[4:] if path not in sys.path]; "
    "from pytest_bottle.watchdog import main; sys.exit(main(sys.argv[1:4]))"
)
_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)

_known: dict[Path, Owner] = {}


def ensure_watchdog(run: Run) -> None:
    """Return once a run has its directory and a watchdog that looks after it; cheap where it has.

    Call it before the first resource is created: what is journalled is then taken down.

    Raises:
        ProcessStartError: the watchdog could not be started.
        RunEndedError: the run was taken down.
    """
    watchdog = _known.get(run.directory)
    if watchdog is not None and watchdog.alive():
        return
    with locked(_start_lock(run)):
        watchdog = read_watchdog(run.directory)
        if watchdog is None or not watchdog.alive():
            if run.ended:
                raise RunEndedError(str(run.directory))
            # Not `-m`: it may have to find this package, and third parties' backends, where only
            # this process was told to look.
            start_daemon(
                [
                    *(sys.executable, "-P", "-W", "ignore", "-c", _START),
                    *(str(run.directory), READY_FD, run.controller.encode()),
                    *(str(Path(path).absolute()) for path in sys.path),
                ],
                ready_timeout=_READY_TIMEOUT,
            )
            watchdog = read_watchdog(run.directory)
    _ = run.journal  # By which the watchdog knows this process.
    if watchdog is not None:
        _known[run.directory] = watchdog


def _start_lock(run: Run) -> Path:
    """Return a lock that all processes of a run find before it has a directory.

    A few runs share each, so that there are never more than a few files.
    """
    directory = run.directory.parent.parent / "starts"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory / run.id[0]


def main(argv: Sequence[str], remove: Remover | None = None) -> int:
    """Watch over a run until it has ended and nothing of it is left.

    Args:
        argv: the run's directory, the number of the descriptor to write `ready` to, and the
            encoded controller of a run that may have no directory yet.
        remove: for what belongs to a backend; None asks the registry of backends.

    Returns:
        0 where nothing is left, 1 where something resisted.
    """
    directory, ready = Path(argv[0]), int(argv[1])
    for number in _SIGNALS:
        # Not SIG_IGN, which the programs that a remover runs would inherit.
        signal.signal(number, lambda *_: None)
    for controller in map(Owner.decode, argv[2:]):
        if not controller.alive():
            _say(f"{directory}: the run ended before it began")
            return 0
        make(directory, controller)
    publish_watchdog(directory)
    _write_to(directory / "watchdog.log")
    with suppress(BrokenPipeError):  # Whoever started it was killed; the others are watched.
        os.write(ready, b"ready\n")
    os.close(ready)
    return _Watch(directory, remove or _remove_by_registry).watch()


class _Watch:
    """The watch over one run."""

    def __init__(self, directory: Path, remove: Remover) -> None:
        self._directory = directory
        self._slots = directory.parent.parent / "slots"
        self._remove = remove
        self._controller = read_controller(directory)
        self._journals: set[Path] = set()
        self._workers: dict[Owner, int | None] = {}
        self._due: list[tuple[float, Callable[[], Report]]] = []
        self._controller_handle = self._controller.handle()

    def watch(self) -> int:
        while not has_ended(self._directory):
            self._meet_new_workers()
            for worker in [one for one in self._workers if not one.alive()]:
                self._part_from(worker)
            self._reap_what_is_due()
            self._sleep()
        return self._take_down()

    def _meet_new_workers(self) -> None:
        for journal in journals(self._directory):
            if journal in self._journals:
                continue
            owner = read_owner(journal)
            if owner is None:
                continue
            self._journals.add(journal)
            if owner != self._controller:
                self._workers[owner] = owner.handle()

    def _part_from(self, worker: Owner) -> None:
        """Plan the removal of what a dead worker owned."""
        release_dead(self._slots)
        handle = self._workers.pop(worker)
        if handle is not None:
            os.close(handle)
        now = time.monotonic()
        for delay in PASSES:
            reap = functools.partial(
                reap_run,
                self._directory,
                self._remove,
                only_owner=worker,
                final=delay == PASSES[-1],
            )
            self._due.append((now + delay, reap))

    def _reap_what_is_due(self) -> None:
        now = time.monotonic()
        due = [reap for at, reap in self._due if at <= now]
        self._due = [(at, reap) for at, reap in self._due if at > now]
        for reap in due:
            _log(reap())

    def _sleep(self) -> None:
        """Wait for a death, or until it is time to look for other changes."""
        poll = select.poll()
        for handle in (self._controller_handle, *self._workers.values()):
            if handle is not None:
                poll.register(handle, select.POLLIN)
        if poll.poll(LOOK_EVERY * 1000):
            # The handle of a process whose threads are still ending is ready too early.
            time.sleep(0.001)

    def _take_down(self) -> int:
        """Remove everything of the run that has ended."""
        with suppress(FileNotFoundError):
            end_workers(self._directory)
        release_dead(self._slots)
        began = time.monotonic()
        for delay in PASSES:
            if not open_entries(self._directory):
                break
            time.sleep(max(0.0, began + delay - time.monotonic()))
            report = reap_run(self._directory, self._remove, final=delay == PASSES[-1])
            _log(report)
        while open_entries(self._directory) and time.monotonic() < began + RETRY_FOR:
            time.sleep(1)
            _log(reap_run(self._directory, self._remove))
        try:
            remove_run(self._directory)
        except OSError as error:
            _say(f"{self._directory}: {error}")
            return 1
        return 1 if open_entries(self._directory) else 0


def _remove_by_registry(resource: Resource) -> None:
    # Backends, and the clients of their engines, are only loaded where one left something.
    from pytest_bottle.backends.registry import remove_resource  # noqa: PLC0415

    remove_resource(resource)


def _write_to(log: Path) -> None:
    """Have a file take what this process writes from now on."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.close(descriptor)


def _log(report: Report) -> None:
    for resource, reason in report.failed:
        _say(f"{resource.kind} {resource.id}: {reason}")


def _say(line: str) -> None:
    """Write a line to the watchdog's log."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
