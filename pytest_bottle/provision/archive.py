"""One tar archive of everything that is put in a guest, read from the host before anything is sent.

Owners are left out and paths are relative to the guest's root. The format is GNU's, which every tar
reads, busybox's too.
"""

from __future__ import annotations

import errno
import io
import os
import posixpath
import stat
import tarfile
import time
from typing import TYPE_CHECKING

from pytest_bottle.errors import ManifestError
from pytest_bottle.errors import UnsafePathError
from pytest_bottle.provision.steps import PutFile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_bottle.provision.steps import PutTree

_PERMISSIONS = 0o777
_CONTENT_MODE = 0o644
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # opening a FIFO must not wait


def pack(puts: Iterable[PutFile | PutTree]) -> bytes:
    """Return the archive; empty where there is nothing to put.

    Raises:
        ManifestError: a source is gone, cannot be read, or is neither a file nor a directory.
        UnsafePathError: two puts meet in one guest path, or a link in a tree leads out of it.
    """
    packer = _Packer()
    for put in puts:
        if isinstance(put, PutFile):
            packer.put_file(put)
        else:
            packer.put_tree(put)
    return packer.finish()


class _Packer:
    """Writes members one after another and knows which guest paths are taken."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 -- finish() closes it
        self._is_directory: dict[str, bool] = {}
        self._now = int(time.time())

    def put_file(self, put: PutFile) -> None:
        content, mode, mtime = put.content or b"", _CONTENT_MODE, self._now
        if put.source is not None:
            try:
                content, status = _read(put.source)
            except OSError as error:
                raise _unreadable(put.source, error) from error
            mode, mtime = status.st_mode, int(status.st_mtime)
        self._add(
            put.path, mode=mode if put.mode is None else put.mode, mtime=mtime, content=content
        )

    def put_tree(self, put: PutTree) -> None:
        try:
            root = os.open(put.source, _OPEN_FLAGS | os.O_DIRECTORY)
        except OSError as error:
            raise _unreadable(put.source, error) from error
        try:
            if put.wipe:
                self._add_directory(put.path, os.fstat(root))
            self._add_entries(put, root, "")
        finally:
            os.close(root)

    def finish(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue() if self._is_directory else b""

    def _add_entries(self, put: PutTree, directory: int, inside: str) -> None:
        """Add what is in one directory of a tree; no link is ever followed on the host."""
        source = put.source / inside
        try:
            for name in sorted(os.listdir(directory)):
                source = put.source / inside / name
                self._add_entry(put, directory, posixpath.join(inside, name))
        except OSError as error:
            raise _unreadable(source, error) from error

    def _add_entry(self, put: PutTree, directory: int, inside: str) -> None:
        path = posixpath.join(put.path, inside)
        name = posixpath.basename(inside)
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            self._add_link(path, put, inside, os.readlink(name, dir_fd=directory))
        elif stat.S_ISDIR(status.st_mode):
            flags = _OPEN_FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW
            inner = os.open(name, flags, dir_fd=directory)
            try:
                self._add_directory(path, status)
                self._add_entries(put, inner, inside)
            finally:
                os.close(inner)
        elif stat.S_ISREG(status.st_mode):
            content, status = _read(name, directory=directory)
            self._add(path, mode=status.st_mode, mtime=int(status.st_mtime), content=content)
        else:
            raise _special(put.source / inside)

    def _add_link(self, path: str, put: PutTree, inside: str, target: str) -> None:
        end = posixpath.normpath(posixpath.join(posixpath.dirname(inside), target))
        if target.startswith("/") or end.split("/", 1)[0] == "..":
            reason = f"it is a symbolic link that leads out of {put.source}, to {target!r}."
            raise UnsafePathError(str(put.source / inside), reason=reason)
        self._claim(path, directory=False)
        member = _member(path, _PERMISSIONS, self._now)
        member.type = tarfile.SYMTYPE
        member.linkname = target
        self._tar.addfile(member)

    def _add_directory(self, path: str, status: os.stat_result) -> None:
        self._claim(path, directory=True)
        # Its owner must be able to fill it, and later to remove it.
        member = _member(path, status.st_mode | stat.S_IRWXU, int(status.st_mtime))
        member.type = tarfile.DIRTYPE
        self._tar.addfile(member)

    def _add(self, path: str, *, mode: int, mtime: int, content: bytes) -> None:
        self._claim(path, directory=False)
        member = _member(path, mode, mtime)
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))

    def _claim(self, path: str, *, directory: bool) -> None:
        """Refuse a path where something else goes, or that is below a file."""
        if path in self._is_directory and not (directory and self._is_directory[path]):
            reason = "two things are to be put at this guest path."
            raise UnsafePathError(path, reason=reason)
        parent = posixpath.dirname(path)
        if parent != path:
            self._claim(parent, directory=True)
        self._is_directory[path] = directory


def _read(source: Path | str, *, directory: int | None = None) -> tuple[bytes, os.stat_result]:
    """Read a regular file; below `directory`, one that is not a link."""
    flags = _OPEN_FLAGS if directory is None else _OPEN_FLAGS | os.O_NOFOLLOW
    descriptor = os.open(source, flags, dir_fd=directory)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _special(source)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(), status
    finally:
        os.close(descriptor)


def _member(path: str, mode: int, mtime: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path.lstrip("/"))
    member.mode = mode & _PERMISSIONS
    member.mtime = max(mtime, 0)
    return member


def _special(source: Path | str) -> ManifestError:
    problem = "is neither a file nor a directory."
    return ManifestError(problem, file=str(source), remedy="Take it away.")


def _unreadable(source: Path, error: OSError) -> ManifestError:
    if error.errno == errno.ENOENT:
        problem = "vanished before it was copied."
        return ManifestError(problem, file=str(source), remedy="Put it back until the tests end.")
    problem = f"cannot be read: {error.strerror}."
    return ManifestError(problem, file=str(source), remedy="Make it readable for this user.")
