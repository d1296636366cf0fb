"""Unpacks an archive that a guest made, so that nothing is written outside of its directory.

Everything in such an archive is hostile: names, links, sizes, types. Only directories, regular
files and links that stay inside are accepted. Symbolic links are made last, so that no file can be
written through one; what is refused is refused before it has an effect, by an error.

The archive of a whole root file system has links to anywhere, which mean something only where it is
the root, and devices and pipes, which are left out.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
import tarfile
from typing import TYPE_CHECKING
from typing import Final
from typing import Self

from pytest_bottle.errors import OutputLimitError
from pytest_bottle.errors import UnsafePathError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

MEMBER_LIMIT: Final = 200_000
"""Entries in one archive."""

DEPTH_LIMIT: Final = 200
"""Directories inside each other: whatever walks or removes a tree recurses into them."""

_MODES: Final = 0o755
"""Bits that a guest may set: none for the group or others to write by, no set-uid."""


class _Member(tarfile.TarInfo):
    """A member whose broken header is an error, and not the archive's end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.InvalidHeaderError as problem:  # type: ignore[attr-defined] # not in typeshed
            raise tarfile.ReadError(str(problem)) from problem


def members(
    archive: IO[bytes], *, count_limit: int | None = MEMBER_LIMIT
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo, str]]:
    """Yield an archive's members with their names in normal form, less the one for `.` itself.

    Args:
        archive: An uncompressed tar stream.
        count_limit: How many it may have; None sets no bound.

    Raises:
        UnsafePathError: a name leaves the archive's root, or a size is negative.
        tarfile.TarError: it is no tar archive; see `broken_refused`.
    """
    with tarfile.open(fileobj=archive, mode="r|", tarinfo=_Member) as tar:
        for count, member in enumerate(tar):
            if count_limit is not None and count >= count_limit:
                raise UnsafePathError(
                    member.name, reason=f"the archive has more than {count_limit} entries"
                )
            if member.size < 0:  # Not every Python's tarfile minds.
                raise UnsafePathError(member.name, reason="it says that it has less than nothing")
            name = _normal_name(member.name)
            if name != ".":
                yield tar, member, name


@contextlib.contextmanager
def broken_refused() -> Iterator[None]:
    """Refuse a broken archive, be it in its headers or while a file of it is read."""
    try:
        yield
    except (tarfile.TarError, ValueError) as problem:  # tarfile reads numbers by int(...)
        raise UnsafePathError("archive", reason=f"it is no tar archive ({problem})") from problem


@broken_refused()
def unpack(archive: IO[bytes], root: Path, *, limit: int) -> None:
    """Unpack into a directory that is empty and that nobody else writes to.

    Args:
        archive: An uncompressed tar stream.
        root: Where to.
        limit: Bytes that all files together may have.

    Raises:
        UnsafePathError: a member would leave the directory, or is neither file, directory nor link.
        OutputLimitError: the files are larger than `limit`.
    """
    links: list[tuple[str, str]] = []
    left = limit
    with _opened(root) as root_fd:
        for tar, member, name in members(archive):
            if member.issym():
                links.append((name, _checked_target(name, member.linkname)))
            elif member.isdir() or member.islnk() or member.isreg():
                left -= member.size if member.isreg() else 0
                if left < 0:
                    raise OutputLimitError(
                        "what is copied out", limit=limit, remedy="Copy less at once."
                    )
                _make(root_fd, tar, member, name)
            else:
                raise UnsafePathError(name, reason="it is a device or a pipe")
        for name, target in links:
            _symlink(root_fd, name, target)


@broken_refused()
def unpack_root(archive: IO[bytes], root: Path, *, advance: Callable[[int], None]) -> None:
    """Unpack a whole root file system into a directory that is empty and nobody else writes to.

    All of it belongs to whoever unpacks it, and nothing is set-uid or writable by others: the host
    must not trust the users of an image.

    Args:
        archive: An uncompressed tar stream.
        root: Where to.
        advance: Gets the number of bytes in each file that was written.

    Raises:
        UnsafePathError: a member would leave the directory.
    """
    links: dict[str, str] = {}
    left_out = set()
    with _opened(root) as root_fd:
        for tar, member, name in members(archive, count_limit=None):
            source = _normal_name(member.linkname) if member.islnk() else name
            if member.issym():
                links[name] = member.linkname
            elif member.islnk() and source in links:
                links[name] = links[source]
            elif member.isdir() or member.isreg() or (member.islnk() and source not in left_out):
                _make(root_fd, tar, member, name)
                advance(member.size)
            else:
                left_out.add(name)
        for name, target in links.items():
            _symlink(root_fd, name, target)


@contextlib.contextmanager
def _opened(root: Path) -> Iterator[int]:
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _make(root_fd: int, tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
    """Make a directory, a file, or a hard link to one."""
    if member.isdir():
        _make_directory(root_fd, name, member.mode)
    elif member.islnk():
        _link(root_fd, name, _normal_name(member.linkname))
    elif (source := tar.extractfile(member)) is not None:
        _write(root_fd, name, source, member.mode)


def _normal_name(name: str) -> str:
    if name.startswith("/") or "\0" in name or ".." in name.split("/"):
        raise UnsafePathError(name, reason="it leaves the directory that it is copied to")
    if name.count("/") > DEPTH_LIMIT:
        raise UnsafePathError(
            f"{name[:100]}...", reason=f"it lies more than {DEPTH_LIMIT} directories deep"
        )
    return posixpath.normpath(name)


def _checked_target(name: str, target: str) -> str:
    """Return a link's target if it stays inside whatever other links do.

    Inside of the tree that it came in, which is below the first part of its name: that tree is
    moved on from here. Only leading `..` are accepted: behind another link, they would not mean the
    parent that they seem to mean.
    """
    parts = [part for part in target.split("/") if part not in {"", "."}]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    if target.startswith("/") or ".." in parts[climbs:] or climbs >= name.count("/"):
        raise UnsafePathError(name, reason=f"it is a link that leads out, to {target!r}")
    return target


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _open_directory(root_fd: int, name: str) -> int:
    """Open a directory below the root, made where missing, following no link."""
    current = os.dup(root_fd)
    for part in name.split("/"):
        if part in {"", "."}:
            continue
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=current)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            following = os.open(part, flags, dir_fd=current)
        except OSError as problem:
            raise UnsafePathError(name, reason=f"{part!r} is not a directory") from problem
        finally:
            os.close(current)
        current = following
    return current


def _make_directory(root_fd: int, name: str, mode: int) -> None:
    fd = _open_directory(root_fd, name)
    try:
        os.fchmod(fd, mode & _MODES | 0o700)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _parent(root_fd: int, name: str) -> Iterator[int]:
    parent = _open_directory(root_fd, posixpath.dirname(name))
    try:
        yield parent
    finally:
        os.close(parent)


def _write(root_fd: int, name: str, source: IO[bytes], mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with _parent(root_fd, name) as parent:
        try:
            fd = os.open(_last(name), flags, 0o600, dir_fd=parent)
        except OSError as problem:
            raise UnsafePathError(name, reason=problem.strerror or "it exists") from problem
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode & _MODES | 0o600)
            shutil.copyfileobj(source, file, 1024 * 1024)


def _link(root_fd: int, name: str, target: str) -> None:
    """Make a hard link to a file that was unpacked before; there is no symbolic link yet."""
    with _parent(root_fd, name) as parent:
        try:
            last = _last(name)
            os.link(target, last, src_dir_fd=root_fd, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as problem:
            reason = f"it is a hard link to {target!r}, which was not copied before"
            raise UnsafePathError(name, reason=reason) from problem


def _symlink(root_fd: int, name: str, target: str) -> None:
    with _parent(root_fd, name) as parent:
        try:
            os.symlink(target, _last(name), dir_fd=parent)
        except OSError as problem:
            raise UnsafePathError(name, reason=problem.strerror or "it exists") from problem
