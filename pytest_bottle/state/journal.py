"""The record, one file a process, of what exists on the host and has to be removed.

A resource is written down before it is created. A file is only ever appended to, one record a
write, so that a process may die at any moment: what it wrote is there, and at most its last record
is torn, of something that it had not created yet.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal
from typing import TypeAlias

from pytest_bottle.errors import RunEndedError
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.resource import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence
    from pathlib import Path

ScopeOwner: TypeAlias = Literal["worker", "run"]
"""Whose end ends a bottle: the process that launched it, or the whole run."""

DIRECTORY_NAME = "journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A bottle of which something may still exist."""

    bottle: str
    owner: Owner
    resources: tuple[Resource, ...]
    scope_owner: ScopeOwner
    kept: bool
    """Whether a person wants to look at it after the run."""
    journal: Path


class Journal:
    """What one process has to write down; its methods may be called from several threads."""

    def __init__(self, run_directory: Path, worker: str) -> None:
        """Open this process's journal of a run; `worker` must be fit for a file name.

        Raises:
            RunEndedError: the run was taken down.
            OSError: it could not be written.
        """
        owner = Owner.current()
        directory = run_directory / DIRECTORY_NAME
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:
            raise RunEndedError(str(run_directory)) from None
        self._path = directory / f"{worker}-{owner.pid}-{owner.start}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            self._descriptor = os.open(self._path, flags)
        else:
            try:
                _write(self._descriptor, json.dumps({"owner": owner.encode()}).encode())
            except OSError:
                # Without its first line nobody would read the others.
                self._path.unlink()
                self.close()
                raise

    def add(
        self, bottle: str, resources: Sequence[Resource], *, scope_owner: ScopeOwner = "worker"
    ) -> None:
        """Write down what is about to be created for a bottle, in addition to what it has.

        Raises:
            RunEndedError: nobody would ever read it.
            OSError: it could not be written; do not create them.
        """
        described = [
            {**dataclasses.asdict(resource), "data": dict(resource.data)} for resource in resources
        ]
        self._append({"add": bottle, "resources": described, "scope_owner": scope_owner})

    def settled(self, bottle: str) -> None:
        """Write down that nothing of a bottle, of this or of another process, is left."""
        self._append({"settled": bottle})

    def keep(self, bottle: str) -> None:
        """Write down that a bottle stays for a person to look at."""
        self._append({"keep": bottle})

    def close(self) -> None:
        """Close the file; it stays, with what is open in it. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, record: dict[str, Any]) -> None:
        if not os.fstat(self._descriptor).st_nlink:
            raise RunEndedError(str(self._path.parent.parent))
        _append(self._descriptor, record)


def settle(entry: Entry) -> None:
    """Write down, on behalf of a process that cannot any more, that nothing of a bottle is left."""
    descriptor = os.open(entry.journal, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        _append(descriptor, {"settled": entry.bottle})
    finally:
        os.close(descriptor)


def journals(run_directory: Path) -> list[Path]:
    """Return the journals of a run."""
    return sorted((run_directory / DIRECTORY_NAME).glob("*.jsonl"))


def read_owner(journal: Path) -> Owner | None:
    """Return the process that a journal belongs to; None where it is just being made."""
    try:
        with journal.open("rb") as file:
            return Owner.decode(json.loads(file.readline())["owner"])
    except (FileNotFoundError, ValueError):
        return None


def read_journals(run_directory: Path) -> list[Entry]:
    """Return the bottles of a run of which something may still exist, the oldest first."""
    found: dict[str, _Draft] = {}
    kept: set[str] = set()
    settled: set[str] = set()
    for path in journals(run_directory):
        owner = read_owner(path)
        if owner is None:
            continue
        own: dict[str, _Draft] = {}
        own_settled: set[str] = set()
        for record in _records(path):
            if "add" in record:
                own.setdefault(record["add"], _Draft(owner, path)).add(record)
                own_settled.discard(record["add"])
            elif "settled" in record:
                own.pop(record["settled"], None)
                own_settled.add(record["settled"])
            elif "keep" in record:
                kept.add(record["keep"])
        for bottle, draft in own.items():
            found.setdefault(bottle, draft).merge(draft)
        settled |= own_settled
    return [
        Entry(
            bottle=bottle,
            owner=draft.owner,
            resources=tuple(draft.resources),
            scope_owner=draft.scope_owner,
            kept=bottle in kept,
            journal=draft.journal,
        )
        for bottle, draft in found.items()
        if bottle not in settled
    ]


@dataclass(slots=True)
class _Draft:
    """An entry while its records are being read."""

    owner: Owner
    journal: Path
    resources: list[Resource] = field(default_factory=list)
    scope_owner: ScopeOwner = "worker"

    def add(self, record: dict[str, Any]) -> None:
        if record["scope_owner"] == "run":
            self.scope_owner = "run"
        for described in record["resources"]:
            resource = Resource(**described)
            if resource not in self.resources:
                self.resources.append(resource)

    def merge(self, other: _Draft) -> None:
        if other is self:
            return
        if other.scope_owner == "run":
            self.scope_owner = "run"
        self.resources += [one for one in other.resources if one not in self.resources]


def _append(descriptor: int, record: dict[str, Any]) -> None:
    # The line break comes first: it also ends a record that a full disk has torn.
    _write(descriptor, b"\n" + json.dumps(record).encode())


def _write(descriptor: int, text: bytes) -> None:
    if os.write(descriptor, text) != len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Read a journal's records, passing over torn ones."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record
