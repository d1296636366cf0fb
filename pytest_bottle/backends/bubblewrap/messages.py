"""Messages between the broker's processes: JSON of a known length, with file descriptors."""

from __future__ import annotations

import json
import os
import socket
from typing import Any
from typing import Final

MAX_FDS: Final = 64
_HEADER: Final = 4
"""Bytes of a message's length."""


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Read one message and its descriptors, which no program started later inherits.

    None at the end of the stream.
    """
    header, fds, _, _ = socket.recv_fds(connection, _HEADER, MAX_FDS, socket.MSG_WAITALL)
    for fd in fds:
        os.set_inheritable(fd, False)
    if len(header) < _HEADER:
        return None
    length = int.from_bytes(header, "big")
    data = bytearray()
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            return None
        data += piece
    return json.loads(data.decode()), list(fds)


def send(connection: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    """Write one message and its descriptors."""
    data = json.dumps(message).encode()
    socket.send_fds(connection, [len(data).to_bytes(_HEADER, "big")], fds or [])
    connection.sendall(data)
