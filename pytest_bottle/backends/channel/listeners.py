"""Listening sockets in the guest's network namespace, and how they leave it.

It is a part of the program that `program.py` sends to guests: see there for its limits.
"""

from __future__ import annotations

import socket
import struct

HAND_OVER_TIMEOUT = 1.0
"""Seconds that the host gets to take a socket; nothing else is served meanwhile."""


def open_listener(port: int, backlog: int) -> socket.socket:
    """Listen on the loopback of whoever's network namespace this process is in."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


def carrying(fd: int) -> list[tuple[int, int, bytes]]:
    """Return the ancillary data that carries a descriptor."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))]


def hand_over(fd: int, path: str, token: bytes) -> None:
    """Send a descriptor to a datagram socket of the host, with the token that proves the sender.

    Raises:
        OSError: the host's socket is out of reach from here, or takes nothing.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as post:
        post.settimeout(HAND_OVER_TIMEOUT)
        post.connect(path)
        post.sendmsg([token], carrying(fd))
