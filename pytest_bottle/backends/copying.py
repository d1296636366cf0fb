"""Copies a tree of files as it is: owners, modes, times, links, holes, and special files.

Standard library only: it also runs where nothing may be imported late. What is copied may be a
guest's: no link in it is followed, and no name in it is resolved more than one step at a time.
"""

# No Path: directories are descriptors here, and this runs right after a fork.

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Mapping

DEEPEST: Final = 300
"""Directories below each other that are copied; each takes two descriptors meanwhile."""

_PIECE: Final = 1024 * 1024
_READ_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ACCESS_LISTS: Final = frozenset({"system.posix_acl_access", "system.posix_acl_default"})


def copy_tree(
    source: int,
    target: int,
    *,
    owners: Mapping[tuple[int, int], tuple[int, int]] | None = None,
    spared: Collection[str] = (),
) -> None:
    """Make a directory's content that of another, which nobody changes meanwhile.

    A socket is copied as one that nobody listens on any more.

    Args:
        source: A descriptor of the directory to read.
        target: A descriptor of the directory to change; what it has more than the other goes.
        owners: Whose files become whose, each a uid and a gid; others keep theirs.
        spared: Paths below the target that stay as they are.

    Raises:
        OSError: something could not be read or written; the target is then half of both.
    """
    _Copy(target, dict(owners or {}), frozenset(spared)).directory(source, target, "")


class _Copy:
    def __init__(
        self, root: int, owners: dict[tuple[int, int], tuple[int, int]], spared: frozenset[str]
    ) -> None:
        self._root = root
        self._owners = owners
        self._spared = spared
        self._linked: dict[tuple[int, int], str] = {}
        """Of each file that has several names, the first path that it got."""

    def directory(self, source: int, target: int, path: str) -> None:
        """Copy what is in a directory, and then what it is itself."""
        if path.count("/") >= DEEPEST:
            raise OSError(errno.ENAMETOOLONG, f"more than {DEEPEST} directories below each other")
        with os.scandir(source) as entries:
            wanted = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
        with os.scandir(target) as entries:
            there = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        for name, is_directory in there.items():
            stays = is_directory and name in wanted and stat.S_ISDIR(wanted[name].st_mode)
            if not stays and f"{path}{name}" not in self._spared:
                _remove(target, name, is_directory=is_directory)
                there[name] = False
        for name, status in wanted.items():
            below = f"{path}{name}"
            if below in self._spared:
                continue
            if stat.S_ISDIR(status.st_mode):
                if not there.get(name):
                    os.mkdir(name, 0o700, dir_fd=target)
                self._subdirectory(source, target, name, below, status)
            else:
                self._other(source, target, name, below, status)
        self._finish_open(source, target, os.fstat(source))
        _keep_times(target, os.fstat(source))

    def _subdirectory(
        self, source: int, target: int, name: str, path: str, status: os.stat_result
    ) -> None:
        read = _open_readable(source, name, _READ_DIRECTORY, status, 0o500)
        try:
            write = os.open(name, _READ_DIRECTORY, dir_fd=target)
            try:
                self.directory(read, write, f"{path}/")
            finally:
                os.close(write)
        finally:
            os.close(read)

    def _other(
        self, source: int, target: int, name: str, path: str, status: os.stat_result
    ) -> None:
        identity = (status.st_dev, status.st_ino)
        if status.st_nlink > 1:
            if identity in self._linked:
                first = self._linked[identity]
                os.link(
                    first, name, src_dir_fd=self._root, dst_dir_fd=target, follow_symlinks=False
                )
                return
            self._linked[identity] = path
        if stat.S_ISREG(status.st_mode):
            self._file(source, target, name, status)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            # An overlay's mark of a deletion is a device with the number 0, which anybody may make.
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        uid, gid = self._owner(status)
        os.chown(name, uid, gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)

    def _file(self, source: int, target: int, name: str, status: os.stat_result) -> None:
        read = _open_readable(source, name, _READ, status, 0o400)
        try:
            write = os.open(name, _MAKE, 0o600, dir_fd=target)
            try:
                _copy_data(read, write, status)
                self._finish_open(read, write, status)
                _keep_times(write, status)
            finally:
                os.close(write)
        finally:
            os.close(read)

    def _finish_open(self, read: int, write: int, status: os.stat_result) -> None:
        """Give a file or directory its owner, attributes and mode, in the order that keeps them."""
        _copy_attributes(read, write)
        os.fchown(write, *self._owner(status))
        os.fchmod(write, stat.S_IMODE(status.st_mode))

    def _owner(self, status: os.stat_result) -> tuple[int, int]:
        owner = (status.st_uid, status.st_gid)
        return self._owners.get(owner, owner)


def _open_readable(directory: int, name: str, flags: int, status: os.stat_result, bits: int) -> int:
    """Open what may be closed to its own owner, who then opens it for a moment."""
    try:
        return os.open(name, flags, dir_fd=directory)
    except PermissionError:
        if status.st_uid != os.geteuid():
            raise
    mode = stat.S_IMODE(status.st_mode)
    os.chmod(name, mode | bits, dir_fd=directory)
    try:
        return os.open(name, flags, dir_fd=directory)
    finally:
        os.chmod(name, mode, dir_fd=directory)


def _copy_data(read: int, write: int, status: os.stat_result) -> None:
    """Copy a file's bytes, and no holes."""
    size = status.st_size
    if status.st_blocks * 512 >= size:
        _copy_bytes(read, write, size)
        return
    os.ftruncate(write, size)
    end = 0
    while end < size:
        try:
            start = os.lseek(read, end, os.SEEK_DATA)
        except OSError as problem:
            if problem.errno == errno.ENXIO:  # Nothing but a hole follows.
                return
            raise
        end = os.lseek(read, start, os.SEEK_HOLE)
        os.lseek(read, start, os.SEEK_SET)
        os.lseek(write, start, os.SEEK_SET)
        _copy_bytes(read, write, end - start)


def _copy_bytes(read: int, write: int, count: int) -> None:
    while count > 0:
        data = memoryview(os.read(read, min(count, _PIECE)))
        if not data:
            return
        count -= len(data)
        while data:
            data = data[os.write(write, data) :]


def _copy_attributes(read: int, write: int) -> None:
    """Copy the attributes that users set, and overlays: what an opaque directory is known by."""
    if sys.platform != "linux":
        return
    try:
        names = os.listxattr(read)
    except OSError as problem:
        if problem.errno == errno.ENOTSUP:
            return
        raise
    for name in names:
        if name.startswith("user.") or name in _ACCESS_LISTS:
            os.setxattr(write, name, os.getxattr(read, name))


def _keep_times(write: int, status: os.stat_result) -> None:
    os.utime(write, ns=(status.st_atime_ns, status.st_mtime_ns))


def _remove(directory: int, name: str, *, is_directory: bool) -> None:
    if not is_directory:
        os.unlink(name, dir_fd=directory)
        return
    below = os.open(name, _READ_DIRECTORY, dir_fd=directory)
    try:
        with os.scandir(below) as entries:
            listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for each, each_is_directory in listed:
            _remove(below, each, is_directory=each_is_directory)
    finally:
        os.close(below)
    os.rmdir(name, dir_fd=directory)
