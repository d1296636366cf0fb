"""Byte streams that a channel can run over."""

from __future__ import annotations

import collections
import contextlib
import os
import socket
from typing import Final
from typing import Protocol

from pytest_bottle.backends.channel.handover import ANCILLARY_SIZE
from pytest_bottle.backends.channel.handover import CLOSE_ON_EXEC
from pytest_bottle.backends.channel.handover import descriptors_in

READ_SIZE: Final = 256 * 1024

_DESCRIPTORS: Final = 16
"""That may wait to be asked for."""


class Stream(Protocol):
    """A connected, blocking byte stream; one reader, one writer at a time."""

    def take_descriptor(self) -> int | None:
        """Return the first descriptor that came along with what was read, if any did."""
        ...

    def read(self) -> bytes:
        """Return the next bytes, or none at the end."""
        ...

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it, or raise OSError."""
        ...

    def close(self) -> None:
        """Close both directions; a read that waits returns. Idempotent."""
        ...


class SocketStream:
    """A stream over a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        """Take over the socket."""
        self._socket = connection
        self._descriptors: collections.deque[int] = collections.deque()

    def read(self) -> bytes:
        """Return the next bytes, or none at the end."""
        data, ancillary, _, _ = self._socket.recvmsg(READ_SIZE, ANCILLARY_SIZE, CLOSE_ON_EXEC)
        if ancillary:
            self._descriptors += descriptors_in(ancillary)
            while len(self._descriptors) > _DESCRIPTORS:
                os.close(self._descriptors.pop())
        return data

    def take_descriptor(self) -> int | None:
        """Return the first descriptor that came along with what was read, if any did."""
        return self._descriptors.popleft() if self._descriptors else None

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it, or raise OSError."""
        self._socket.sendall(data)

    def close(self) -> None:
        """Close both directions."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())


class PipeStream:
    """A stream over two pipes of a child process."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        """Take over the two descriptors."""
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._closed = False

    def read(self) -> bytes:
        """Return the next bytes, or none at the end."""
        return os.read(self._read_fd, READ_SIZE)

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it, or raise OSError."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._write_fd, view) :]

    def take_descriptor(self) -> int | None:
        """Return none: pipes carry none."""
        return None

    def close(self) -> None:
        """Close the writing end; the reader sees the end when the child has gone."""
        if not self._closed:
            self._closed = True
            os.close(self._write_fd)
