"""Unix sockets in directories of any depth.

A socket's address has room for about a hundred bytes. A directory of a longer path is opened, and
named by its descriptor.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def listen(path: Path, backlog: int) -> socket.socket:
    """Return a new socket (mode 0600) that listens at a path.

    Raises:
        OSError: there is something already, or it cannot be made.
    """
    with contextlib.ExitStack() as undo:
        listener = undo.enter_context(socket.socket(socket.AF_UNIX))
        with _address(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(backlog)
        undo.pop_all()
        return listener


def connect(path: Path) -> socket.socket:
    """Return a connection to the socket at a path.

    Raises:
        OSError: nobody listens there.
    """
    with contextlib.ExitStack() as undo:
        connection = undo.enter_context(socket.socket(socket.AF_UNIX))
        with _address(path) as address:
            connection.connect(address)
        undo.pop_all()
        return connection


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """Return a short name of a path, for as long as the block lasts."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
