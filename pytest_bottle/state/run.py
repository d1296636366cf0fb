"""One pytest invocation, all its workers together, as a directory that they share.

::

    <root>/runs/<run id>/
        controller      the identity of the process whose end ends the run
        ended           is there once the run has ended, though its controller still works
        watchdog        the identity of the process that takes the run down after its controller
        names/          one empty file for each name that a bottle has had
        journal/        what exists, one file a process
        once/           what was made once for all workers
        shared/         bottles that all workers share
        <bottle>/       one directory a bottle
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_bottle.errors import RunEndedError
from pytest_bottle.state.directory import runs_directory
from pytest_bottle.state.journal import Journal
from pytest_bottle.state.journal import read_journals
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.publish import publish
from pytest_bottle.state.resource import Resource
from pytest_bottle.state.tree import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

_RUN_ID = re.compile(r"[0-9a-f]{8,64}")
_WORKER_LENGTH = 20
_NAME_PREFIX = 8


class Run:
    """This process's part in a run."""

    def __init__(self, directory: Path, worker: str, controller: Owner) -> None:
        """Not for callers: `of` and `join` return them."""
        self._directory = directory
        self._worker = worker
        self._controller = controller
        self._numbers = itertools.count(1)
        self._begun = False

    @classmethod
    def of(cls, run_id: str, worker: str, controller: Owner) -> Run:
        """Return this process's part in a run whose directory is made when it is first needed.

        That is the watchdog's to do, so that there is no directory that nobody looks after: ask
        `watchdog.ensure_watchdog` for both.

        Args:
            run_id: 8 to 64 lower-case hexadecimal digits, the same in all processes of the run.
            worker: `main`, or the xdist worker's id.
            controller: the process whose end ends the run.

        Raises:
            StateDirectoryError: the state directory is not safe to use.
        """
        if not _RUN_ID.fullmatch(run_id):
            message = f"a run id has 8 to 64 lower-case hexadecimal digits: {run_id!r}"
            raise ValueError(message)
        name = re.sub(r"[^a-z0-9]+", "-", worker.lower()).strip("-")[:_WORKER_LENGTH]
        return cls(runs_directory() / run_id, name or "worker", controller)

    @classmethod
    def join(cls, run_id: str, worker: str, controller: Owner) -> Run:
        """Return this process's part in a run, with the directory made where there is none.

        Without a watchdog only the next run's sweep would remove it; see `of` for the rest.
        """
        run = cls.of(run_id, worker, controller)
        run.begin()
        return run

    def begin(self) -> None:
        """Make the directory where there is none."""
        make(self._directory, self._controller)
        self._begun = True

    @property
    def id(self) -> str:
        """The run's id."""
        return self._directory.name

    @property
    def worker(self) -> str:
        """This process's name in the run, fit for file, host and container names."""
        return self._worker

    @property
    def directory(self) -> Path:
        """The directory that all processes of the run share."""
        return self._directory

    @property
    def controller(self) -> Owner:
        """The process whose end ends the run."""
        return self._controller

    @property
    def ended(self) -> bool:
        """Whether it has ended, rather than not begun: as far as this process can know."""
        if self._directory.is_dir():
            self._begun = True
            return has_ended(self._directory)
        return self._begun or not self._controller.alive()

    @functools.cached_property
    def journal(self) -> Journal:
        """This process's journal."""
        journal = Journal(self._directory, self._worker)
        self._begun = True
        return journal

    def next_name(self) -> str:
        """Return a name for a new bottle, unique on this host, and make its directory.

        The directory is in the journal before: it goes with this process, should that die.

        Raises:
            RunEndedError: the run was taken down.
        """
        name = self._reserve_name()
        directory = self._directory / name
        self.journal.add(name, [Resource(kind="directory", id=str(directory))])
        try:
            directory.mkdir(mode=0o700)
        except FileNotFoundError:
            raise RunEndedError(str(self._directory)) from None
        return name

    def _reserve_name(self) -> str:
        for number in self._numbers:
            name = f"bottle-{self.id[:_NAME_PREFIX]}-{self._worker}-{number}"
            try:
                (self._directory / "names" / name).touch(mode=0o600, exist_ok=False)
            except FileExistsError:
                continue
            except FileNotFoundError:
                break
            return name
        raise RunEndedError(str(self._directory))

    def bottle_directory(self, name: str) -> Path:
        """Return a bottle's own directory (mode 0700), made where it is missing."""
        directory = self._directory / name
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        return directory

    def end(self) -> None:
        """Say that the run has ended, although its controller goes on.

        Its watchdog then takes down what is left, and the directory; where there is no watchdog
        and nothing is left, the directory goes at once.
        """
        with suppress(FileNotFoundError):
            publish(self._directory / "ended", "")
            watchdog = read_watchdog(self._directory)
            if (watchdog is None or not watchdog.alive()) and not read_journals(self._directory):
                discard(self._directory)


def make(directory: Path, controller: Owner) -> None:
    """Make a run's directory where there is none; one without a controller is never seen."""
    if directory.is_dir():
        return
    draft = _draft(directory.parent)
    draft.mkdir(mode=0o700)
    try:
        (draft / "names").mkdir(mode=0o700)
        publish(draft / "controller", controller.encode())
        draft.rename(directory)
    except OSError:
        remove_tree(draft)
        if not directory.is_dir():
            raise


def list_runs(root: Path) -> list[Path]:
    """Return the directories of the runs below a state directory."""
    return sorted(
        path for path in (root / "runs").glob("*") if _RUN_ID.fullmatch(path.name) and path.is_dir()
    )


def read_controller(directory: Path) -> Owner:
    """Return the process whose end ends a run.

    Raises:
        FileNotFoundError: the run was taken down.
    """
    return Owner.decode((directory / "controller").read_text(encoding="ascii"))


def read_watchdog(directory: Path) -> Owner | None:
    """Return the last process that watched over a run, dead or alive; None where none ever did."""
    try:
        return Owner.decode((directory / "watchdog").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def publish_watchdog(directory: Path) -> None:
    """Say that this process watches over a run."""
    publish(directory / "watchdog", Owner.current().encode())


def discard(directory: Path) -> None:
    """Remove a run's directory; it disappears in one step, before it is emptied.

    Raises:
        OSError: something in it could not be removed.
    """
    draft = _draft(directory.parent)
    with suppress(FileNotFoundError):
        directory.rename(draft)
        remove_tree(draft)


def list_drafts(root: Path) -> list[tuple[Path, Owner]]:
    """Return directories of runs that were being made or removed, each with who was at it."""
    drafts = []
    for path in (root / "runs").glob(".*"):
        with suppress(ValueError):
            drafts.append((path, Owner.decode(path.name[1:].rpartition(".")[0])))
    return drafts


def has_ended(directory: Path) -> bool:
    """Whether a run's controller said that it has ended, or is proven dead, or all is gone."""
    if (directory / "ended").exists():
        return True
    try:
        return not read_controller(directory).alive()
    except FileNotFoundError:
        return not directory.exists()


def _draft(runs: Path) -> Path:
    """Return a name for a directory that is no run yet, or no longer."""
    return runs / f".{Owner.current().encode()}.{os.urandom(4).hex()}"
