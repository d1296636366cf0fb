"""Remove a directory tree that a hostile guest may have shaped."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OWN = 0o700
_NOFOLLOW = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: Path) -> None:
    """Remove a directory and everything below it; absent already is fine.

    Symbolic links are removed, never followed. Directories without permissions, and trees deeper
    than any path or recursion limit, are no obstacle: each subdirectory moves up to the top before
    it is emptied. Two processes may remove the same tree.

    Raises:
        OSError: something could not be removed.
    """
    try:
        parent = os.open(path.parent, _NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        with _opened(path.name, parent) as top:
            if top is None:
                return
            waiting = _empty(top, top)
            while waiting:
                name = waiting.pop()
                with _opened(name, top) as inner:
                    if inner is not None:
                        waiting += _empty(inner, top)
                with suppress(FileNotFoundError):
                    os.rmdir(name, dir_fd=top)
        with suppress(FileNotFoundError):
            os.rmdir(path.name, dir_fd=parent)
    finally:
        os.close(parent)


def _empty(directory: int, top: int) -> list[str]:
    """Remove a directory's files, move its subdirectories to the top, and return their names."""
    subdirectories: list[str] = []
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        with suppress(FileNotFoundError):
            if not is_directory:
                os.unlink(name, dir_fd=directory)
            elif directory == top:
                subdirectories.append(name)
            else:
                # Moving a directory rewrites its "..", for which it has to be writable itself.
                _open_up(name, directory)
                unique = f".removed-{os.urandom(8).hex()}"
                os.rename(name, unique, src_dir_fd=directory, dst_dir_fd=top)
                subdirectories.append(unique)
    return subdirectories


@contextmanager
def _opened(name: str, parent: int) -> Iterator[int | None]:
    """Open a subdirectory; None where it is gone."""
    try:
        _open_up(name, parent)
        descriptor = os.open(name, _NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_up(name: str, parent: int) -> None:
    """Make a subdirectory readable and writable for its owner."""
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode) and mode & _OWN != _OWN:
        os.chmod(name, _OWN, dir_fd=parent)
