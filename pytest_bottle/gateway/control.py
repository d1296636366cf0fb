"""How test processes and the door talk: JSON of a known length over a unix socket, with files.

A test process asks with `{"call": NUMBER, "do": OPERATION, ...}` and gets `{"reply": NUMBER, ...}`,
with `error` and `kind` where it failed. The door asks with `{"ask": NUMBER, ...}` and gets
`{"answer": NUMBER, ...}`. What begins with `event` wants no answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping
    from collections.abc import Sequence

SOCKET_NAME: Final = "door.sock"
"""In the run's directory."""

MAX_FDS: Final = 16
"""Descriptors in one message."""

_HEADER: Final = 4
_MAX_ADDRESS: Final = 100
"""Bytes that a unix socket's address may have on every host, and a few less."""
_BACKLOG: Final = 128


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as it goes over the wire."""
    return frame(json.dumps(message).encode())


def frame(text: bytes) -> bytes:
    """Return JSON that is there already as it goes over the wire."""
    return len(text).to_bytes(_HEADER, "big") + text


def send(connection: socket.socket, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
    """Write a message over a blocking socket, with descriptors.

    Raises:
        OSError: it could not be written.
    """
    data = encode({**message, "fds": len(fds)} if fds else message)
    if fds:
        sent = socket.send_fds(connection, [data], list(fds))
        data = data[sent:]
    connection.sendall(data)


class Inbox:
    """Puts messages together from what a socket gives."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._data = bytearray()
        self._fds: deque[int] = deque()

    def feed(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Take in what was received."""
        for descriptor in fds:
            os.set_inheritable(descriptor, False)
        self._data += data
        self._fds.extend(fds)

    def messages(self) -> Iterator[tuple[dict[str, Any], list[int]]]:
        """Yield the messages that are whole, each with its descriptors, which are the caller's.

        Raises:
            ValueError: the other side speaks something else.
        """
        while len(self._data) >= _HEADER:
            end = _HEADER + int.from_bytes(self._data[:_HEADER], "big")
            if len(self._data) < end:
                return
            message = json.loads(self._data[_HEADER:end])
            del self._data[:end]
            fds = [self._fds.popleft() for _ in range(int(message.get("fds", 0)))]
            yield message, fds

    def close(self) -> None:
        """Close the descriptors that nobody took."""
        while self._fds:
            os.close(self._fds.popleft())


def listen(directory: Path) -> socket.socket:
    """Return a socket on which the door of a run takes connections; only this user's reach it.

    Raises:
        OSError: it could not be made.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        (directory / SOCKET_NAME).unlink(missing_ok=True)
        with _address(directory) as address:
            listener.bind(address)
        (directory / SOCKET_NAME).chmod(0o600)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def connect(directory: Path) -> socket.socket:
    """Return a connection to the door of a run.

    Raises:
        OSError: there is none.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        with _address(directory) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _address(directory: Path) -> Iterator[str]:
    """Yield an address of the socket that is short enough, wherever the directory lies."""
    path = directory / SOCKET_NAME
    if len(os.fsencode(path)) <= _MAX_ADDRESS:
        yield str(path)
    elif sys.platform == "linux":
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryDirectory(prefix="door-") as short:
            link = Path(short) / "run"
            link.symlink_to(directory, target_is_directory=True)
            yield str(link / SOCKET_NAME)
