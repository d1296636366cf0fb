"""What changed in a directory between two archives of it."""

from __future__ import annotations

import difflib
import hashlib
import io
import posixpath
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from typing import Final
from typing import Literal

from pytest_bottle.errors import OutputLimitError
from pytest_bottle.unpack import broken_refused
from pytest_bottle.unpack import members

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator
    from collections.abc import Mapping

TEXT_LIMIT: Final = 64 * 1024
"""Bytes of a file up to which its text is kept for a line-by-line difference."""

_TOTAL_TEXT_LIMIT: Final = 8 * 1024 * 1024

_TOTAL_LIMIT: Final = 512 * 1024 * 1024
"""Bytes of all files together. An archive can claim far more than it is long (a sparse file)."""

_PAIRS_LIMIT: Final = 50_000_000
"""Old lines times new lines, of all files together, that are compared: seconds at the worst."""

Kind = Literal["added", "modified", "deleted"]


@dataclass(frozen=True, slots=True)
class FileState:
    """One file, link or directory at one moment."""

    identity: str
    """Type, permission bits and content, as one word to compare."""
    text: str | None
    """None where it is not text, or too large to be kept."""


Snapshot = dict[str, FileState]
"""Files by path, relative and in normal form."""


@broken_refused()
def snapshot(archive: bytes) -> Snapshot:
    """Return the state of every file in a tar archive; none for an empty one.

    Directories count only while they are empty, as a version control system would have it.

    Raises:
        UnsafePathError: it is no tar archive, or names in it leave its root.
        OutputLimitError: its files are larger than 512 MiB together.
    """
    if not archive:
        return {}
    states: Snapshot = {}
    directories: set[str] = set()
    room, left = _TOTAL_TEXT_LIMIT, _TOTAL_LIMIT
    for tar, member, name in members(io.BytesIO(archive)):
        if member.isdir():
            directories.add(name)
            continue
        left -= max(member.size, 0)
        if left < 0:
            raise OutputLimitError(
                "the workdir", limit=_TOTAL_LIMIT, remedy="Keep large files outside of it."
            )
        states[name] = _state(tar, member, states, room)
        room -= len(states[name].text or "")
    parents = {posixpath.dirname(name) for name in [*states, *directories]}
    states |= {f"{name}/": FileState("directory", None) for name in directories - parents}
    return states


def _state(
    tar: tarfile.TarFile, member: tarfile.TarInfo, known: Mapping[str, FileState], room: int
) -> FileState:
    if member.issym():
        return FileState(f"link to {member.linkname}", None)
    if member.islnk():
        target = member.linkname.removeprefix("./")
        return known.get(target, FileState(f"hard link to {target}", None))
    source = tar.extractfile(member) if member.isreg() else None
    if source is None:
        return FileState(f"special {member.type!r}", None)
    digest = hashlib.sha256()
    kept = b""
    while piece := source.read(1024 * 1024):
        digest.update(piece)
        if member.size <= min(TEXT_LIMIT, room):
            kept += piece
    text = None
    if len(kept) == member.size and b"\0" not in kept:
        try:
            text = kept.decode()
        except UnicodeDecodeError:
            text = None
    return FileState(f"file {member.mode & 0o777:o} {digest.hexdigest()}", text)


@dataclass(frozen=True, slots=True)
class Change:
    """One path that is not as it was."""

    path: str
    kind: Kind


@dataclass(frozen=True)
class Diff:
    """All changes between two moments. True if there are any; iterates over them by path."""

    before: Snapshot
    after: Snapshot

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """The changes, ordered by path."""
        found = []
        for path in sorted({*self.before, *self.after}):
            if path not in self.before:
                found.append(Change(path, "added"))
            elif path not in self.after:
                found.append(Change(path, "deleted"))
            elif self.before[path].identity != self.after[path].identity:
                found.append(Change(path, "modified"))
        return tuple(found)

    def __iter__(self) -> Iterator[Change]:
        """Iterate over the changes."""
        return iter(self.changes)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.changes)

    def _of(self, kind: Kind) -> tuple[str, ...]:
        return tuple(change.path for change in self.changes if change.kind == kind)

    @property
    def added(self) -> tuple[str, ...]:
        """Paths that were not there."""
        return self._of("added")

    @property
    def modified(self) -> tuple[str, ...]:
        """Paths whose content, type or permissions are others."""
        return self._of("modified")

    @property
    def deleted(self) -> tuple[str, ...]:
        """Paths that are gone."""
        return self._of("deleted")

    @property
    def text(self) -> str:
        """The changes as a unified diff; files that are not text, or large, in a line each."""
        return "".join(self._lines())

    def _lines(self) -> Iterator[str]:
        left = _PAIRS_LIMIT
        for change in self.changes:
            before, after = self.before.get(change.path), self.after.get(change.path)
            old = "" if before is None else before.text
            new = "" if after is None else after.text
            old_lines, new_lines = _split(old or ""), _split(new or "")
            pairs = len(old_lines) * len(new_lines)
            if old is None or new is None or old == new or pairs > left:
                yield f"{change.kind}: {change.path}\n"
                continue
            left -= pairs
            for line in difflib.unified_diff(
                old_lines,
                new_lines,
                "/dev/null" if before is None else f"a/{change.path}",
                "/dev/null" if after is None else f"b/{change.path}",
            ):
                yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _split(text: str) -> list[str]:
    """Return the lines, which end at line feeds alone; `splitlines` knows further ends."""
    return io.StringIO(text, newline="\n").readlines()
