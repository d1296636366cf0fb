"""Streams of a container or of an exec, over the connection that the engine hands over.

The engine multiplexes stdout and stderr in frames: a kind (1 byte), three zero bytes, a big-endian
length (4 bytes), the payload.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Any
from typing import Final

from pytest_bottle.backends.channel.shell_exec import PLAIN
from pytest_bottle.backends.channel.shell_exec import STDERR
from pytest_bottle.backends.channel.shell_exec import STDOUT

_HEADER: Final = struct.Struct("!B3xI")
_READ_SIZE: Final = 256 * 1024
_TAIL: Final = 4096


def _read_ahead(connection: Any, plain_socket: Any) -> bytes:  # noqa: ANN401
    """Return what the HTTP client read beyond the response's head: the SDK drops it.

    That is an engine's quick refusal; a command of ours writes nothing before it has read.
    """
    plain_socket.settimeout(0)
    # A paramiko channel has no such buffer; an empty one tries the socket, which has nothing yet.
    with contextlib.suppress(OSError, AttributeError):
        return bytes(connection._response.raw._fp.fp.peek())  # noqa: SLF001
    return b""


class AttachedStream:
    """A hijacked connection; one reader and one writer at a time.

    As a channel's stream it gives stdout alone, and keeps the end of stderr for explanations.

    Args:
        connection: what the SDK returned: a socket, a raw file over one, a paramiko channel, or a
            named pipe.
        id: the exec's id, where it belongs to one.
    """

    def __init__(self, connection: Any, *, id: str | None = None) -> None:  # noqa: A002, ANN401
        """Take the connection over."""
        self.id = id
        self.stderr = bytearray()
        # The SDK keeps TLS and SSH connections alive by a reference that the wrapper holds.
        self._wrapper = connection
        self._socket = getattr(connection, "_sock", connection)
        self._incoming = bytearray(_read_ahead(connection, self._socket))
        self._returned = bytearray()
        self._plain = False
        self._socket.settimeout(None)

    def read(self) -> bytes:
        """Return the next bytes of stdout, or none at the end."""
        if self._returned:
            data, self._returned = bytes(self._returned), bytearray()
            return data
        while True:
            kind, data = self.receive()
            if kind == STDOUT or not data:
                return data
            self.stderr += data
            del self.stderr[:-_TAIL]

    def take_descriptor(self) -> int | None:
        """Return none: the engine passes on bytes alone."""
        return None

    def unread(self, data: bytes) -> None:
        """Give bytes back for the next `read`."""
        self._returned += data

    def receive(self) -> tuple[int, bytes]:
        """Return the next piece of any stream, and which it is; nothing at the end.

        Raises:
            OSError: the connection broke.
        """
        while (piece := self._take()) is None:
            data = self._socket.recv(_READ_SIZE)
            if not data:
                return STDOUT, b""
            self._incoming += data
        return piece

    def _take(self) -> tuple[int, bytes] | None:
        """Return the first complete piece that has arrived."""
        if not self._incoming:
            return None
        if self._plain or self._incoming[0] not in {0, STDOUT, STDERR}:
            self._plain = True
            data = bytes(self._incoming)
            self._incoming.clear()
            return PLAIN, data
        if len(self._incoming) < _HEADER.size:
            return None
        kind, length = _HEADER.unpack_from(self._incoming)
        end = _HEADER.size + length
        if length == 0:
            del self._incoming[:end]
            return self._take()
        if len(self._incoming) < end:
            return None
        data = bytes(memoryview(self._incoming)[_HEADER.size : end])
        del self._incoming[:end]
        return kind, data

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it to stdin, or raise OSError."""
        self._socket.sendall(data)

    def drain(self, timeout: float) -> None:
        """Read and drop all that comes; close it at the end, or after `timeout` seconds."""
        alarm = threading.Timer(timeout, self.close)
        alarm.daemon = True
        alarm.start()
        with contextlib.suppress(OSError):
            while self.receive()[1]:
                pass
        alarm.cancel()
        self.close()

    def close(self) -> None:
        """Close both directions; a read that waits returns. Idempotent."""
        with contextlib.suppress(OSError, AttributeError):
            # Paramiko's channels take the same two; named pipes know no shutdown.
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._wrapper.close()
            self._socket.close()
