"""Remove the remains of the dead: of one bottle, of a run, of all runs that nobody looks after."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pytest_bottle.errors import StateDirectoryError
from pytest_bottle.errors import TeardownError
from pytest_bottle.state.journal import Entry
from pytest_bottle.state.journal import journals
from pytest_bottle.state.journal import read_journals
from pytest_bottle.state.journal import read_owner
from pytest_bottle.state.journal import settle
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.publish import locked
from pytest_bottle.state.resource import Resource
from pytest_bottle.state.run import discard
from pytest_bottle.state.run import has_ended
from pytest_bottle.state.run import list_drafts
from pytest_bottle.state.run import list_runs
from pytest_bottle.state.run import read_controller
from pytest_bottle.state.run import read_watchdog
from pytest_bottle.state.slots import release_dead
from pytest_bottle.state.tree import remove_tree

Remover: TypeAlias = Callable[[Resource], None]
"""Removes a resource of a backend; absent already is fine. What it raises ends up in the report."""

WORKER_GRACE = 1.0
"""Seconds that a worker may go on after its controller, to take its own bottles down."""

_DEATH_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Report:
    """What was removed, and what could not be, with the reason."""

    removed: tuple[Resource, ...] = ()
    failed: tuple[tuple[Resource, str], ...] = ()

    def __add__(self, other: Report) -> Report:
        """Return both as one."""
        return Report(self.removed + other.removed, self.failed + other.failed)


def reap_entry(entry: Entry, remove: Remover, *, root: Path) -> Report:
    """Remove everything of one bottle: its processes first, its directories last.

    Args:
        entry: the bottle, as its journal has it.
        remove: for what belongs to a backend.
        root: the state directory; nothing outside is ever removed as a directory.
    """
    report = Report()
    for resource in sorted(entry.resources, key=_order):
        try:
            if resource.kind == "process":
                _end_process(resource)
            elif resource.kind == "directory":
                _remove_directory(resource, root)
            else:
                remove(resource)
        except Exception as error:  # noqa: BLE001 - one failure must not save all that follows
            report += Report(failed=((resource, f"{type(error).__name__}: {error}"),))
        else:
            report += Report(removed=(resource,))
    return report


def reap_run(
    directory: Path,
    remove: Remover,
    *,
    only_owner: Owner | None = None,
    kept: bool = False,
    final: bool = True,
) -> Report:
    """Remove what is open in a run's journals, and write down what is gone.

    Args:
        directory: of the run.
        remove: for what belongs to a backend.
        only_owner: leaves everything but the bottles that end with this process.
        kept: takes also what was kept for a person.
        final: False leaves bottles of which something may still come into being in the journals,
            for the caller comes again.
    """
    report = Report()
    for entry in open_entries(directory, only_owner=only_owner, kept=kept):
        done = reap_entry(entry, remove, root=directory.parent.parent)
        if not done.failed and (final or not _may_come(entry)):
            with suppress(FileNotFoundError):
                settle(entry)
        report += done
    return report


def open_entries(
    directory: Path, *, only_owner: Owner | None = None, kept: bool = False
) -> list[Entry]:
    """Return the bottles that `reap_run` would take."""
    return [
        entry
        for entry in read_journals(directory)
        if (kept or not entry.kept)
        and (only_owner is None or (entry.owner == only_owner and entry.scope_owner == "worker"))
    ]


def end_workers(directory: Path, *, grace: float = WORKER_GRACE) -> None:
    """Wait for the workers of a run that has ended, then kill those that are left.

    Nobody hears them any more, and what they still launch would not be taken down. The controller
    itself is left alone: a run may end before it does.

    Args:
        directory: of the run.
        grace: seconds to wait for all of them together.
    """
    controller = read_controller(directory)
    owners = {read_owner(journal) for journal in journals(directory)} - {None, controller}
    workers = [owner for owner in owners if owner is not None and owner != Owner.current()]
    deadline = time.monotonic() + grace
    for worker in workers:
        worker.wait(max(0.0, deadline - time.monotonic()))
    killed = [worker for worker in workers if worker.kill()]
    for worker in killed:
        worker.wait(_DEATH_TIMEOUT)


def remove_run(directory: Path) -> bool:
    """Remove a run's directory where nothing of the run is left or kept; whether it is gone.

    Raises:
        OSError: something in it could not be removed.
    """
    if read_journals(directory):
        return False
    discard(directory)
    return True


def sweep(root: Path, remove: Remover, *, kept: bool = False, wait: float = 0.0) -> Report:
    """Remove what is left of runs that have ended and have no watchdog that would do it.

    A run whose controller may still live is not touched. Sweeps of several processes do not meet:
    whoever finds another at work leaves it to that one.

    Args:
        root: the state directory.
        remove: for what belongs to a backend.
        kept: takes also what was kept for a person.
        wait: seconds to wait for another sweep to end.
    """
    report = Report()
    try:
        with locked(root / "sweep.lock", timeout=wait):
            release_dead(root / "slots")
            for draft, owner in list_drafts(root):
                if not owner.alive():
                    report += _attempt(draft, functools.partial(_remove_draft, draft))
            for directory in list_runs(root):
                watchdog = read_watchdog(directory)
                if not has_ended(directory) or (watchdog is not None and watchdog.alive()):
                    continue
                report += _attempt(
                    directory, functools.partial(_sweep_run, directory, remove, kept=kept)
                )
    except TimeoutError:
        return report
    return report


def reap_bottle(directory: Path, entry: Entry, remove: Remover, *, wait: float = 0.0) -> Report:
    """Remove one bottle that was kept or left behind, and its run where that was the last of it.

    Args:
        directory: of its run.
        entry: the bottle, as its journal has it.
        remove: for what belongs to a backend.
        wait: seconds to wait for a sweep to end.

    Raises:
        TimeoutError: it did not.
    """
    root = directory.parent.parent
    with locked(root / "sweep.lock", timeout=wait):
        report = reap_entry(entry, remove, root=root)
        if not report.failed:
            with suppress(FileNotFoundError):
                settle(entry)
        watchdog = read_watchdog(directory)
        if has_ended(directory) and (watchdog is None or not watchdog.alive()):
            report += _attempt(directory, functools.partial(_remove_ended, directory))
    return report


def _remove_ended(directory: Path) -> Report:
    remove_run(directory)
    return Report()


def _attempt(directory: Path, act: Callable[[], Report]) -> Report:
    """Act on one directory; its failure is reported, and does not stop the sweep."""
    try:
        return act()
    except OSError as error:
        if not directory.exists():
            return Report()
        left = Resource(kind="directory", id=str(directory))
        return Report(failed=((left, f"{type(error).__name__}: {error}"),))


def sweep_labelled(
    found: Iterable[tuple[Resource, str]], remove: Remover, *, spared: Collection[str] = ()
) -> Report:
    """Remove what an engine still has of owners that are proven dead, whatever became of journals.

    Args:
        found: resources with their owners, encoded, as a backend's `orphans` returns them.
        remove: for what belongs to a backend.
        spared: names of bottles that were kept for a person.
    """
    report = Report()
    for resource, owner in found:
        try:
            if resource.id in spared or Owner.decode(owner).alive():
                continue
            remove(resource)
        except (TeardownError, ValueError) as problem:
            report += Report(failed=((resource, str(problem)),))
        else:
            report += Report(removed=(resource,))
    return report


def _sweep_run(directory: Path, remove: Remover, *, kept: bool) -> Report:
    end_workers(directory, grace=0.0)
    report = reap_run(directory, remove, kept=kept)
    remove_run(directory)
    return report


def _remove_draft(draft: Path) -> Report:
    remove_tree(draft)
    return Report()


def _may_come(entry: Entry) -> bool:
    return any(
        resource.late and resource.kind not in {"process", "directory"}
        for resource in entry.resources
    )


def _order(resource: Resource) -> int:
    return {"process": 0, "directory": 2}.get(resource.kind, 1)


def _end_process(resource: Resource) -> None:
    owner = Owner.decode(resource.id)
    owner.kill()
    if not owner.wait(_DEATH_TIMEOUT):
        message = f"process {owner.pid} still runs {_DEATH_TIMEOUT:g} s after SIGKILL"
        raise TeardownError(message)


def _remove_directory(resource: Resource, root: Path) -> None:
    path = Path(resource.id)
    # The last component stays as it is: a symbolic link there is not followed.
    real = path.parent.resolve() / path.name
    if path.name in {"", ".."} or root.resolve() not in real.parents:
        raise StateDirectoryError(resource.id, reason=f"it is not below {root}.")
    remove_tree(real)
