"""One pytest invocation, all its workers together, as a directory that they share.

::

    <root>/runs/<run id>/
        controller      the identity of the process whose end ends the run
        ended           is there once the run has ended, though its controller still works
        watchdog        the identity of the process that takes the run down after its controller
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
from pytest_bottle.state.tree import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

_RUN_ID = re.compile(r"[0-9a-f]{8,64}")
_WORKER_LENGTH = 20
_NAME_PREFIX = 8


class Run:
    """This process's part in a run."""

    def __init__(self, directory: Path, worker: str, controller: Owner) -> None:
        """Not for callers: `join` makes sure that the directory is there."""
        self._directory = directory
        self._worker = worker
        self._controller = controller
        self._numbers = itertools.count(1)

    @classmethod
    def join(cls, run_id: str, worker: str, controller: Owner) -> Run:
        """Join a run, and make it where this process is its first.

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
        runs = runs_directory()
        directory = runs / run_id
        if not directory.is_dir():
            # Built aside and renamed: a run without a controller is never seen.
            draft = _draft(runs)
            draft.mkdir(mode=0o700)
            try:
                publish(draft / "controller", controller.encode())
                draft.rename(directory)
            except OSError:
                remove_tree(draft)
                if not directory.is_dir():
                    raise
        name = re.sub(r"[^a-z0-9]+", "-", worker.lower()).strip("-")[:_WORKER_LENGTH]
        return cls(directory, name or "worker", controller)

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

    @functools.cached_property
    def journal(self) -> Journal:
        """This process's journal."""
        return Journal(self._directory, self._worker)

    def next_name(self) -> str:
        """Return a name for a new bottle, unique on this host, and make its directory.

        Raises:
            RunEndedError: the run was taken down.
        """
        for number in self._numbers:
            name = f"bottle-{self.id[:_NAME_PREFIX]}-{self._worker}-{number}"
            try:
                (self._directory / name).mkdir(mode=0o700)
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
