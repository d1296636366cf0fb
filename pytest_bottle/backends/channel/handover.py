"""Takes listening sockets over from a guest's end, and believes nothing that is said about them."""

from __future__ import annotations

import array
import contextlib
import hmac
import os
import secrets
import socket
import threading
from typing import TYPE_CHECKING
from typing import Final
from typing import Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LOOPBACK: Final = "127.0.0.1"

BACKLOG: Final = 1024
"""Connections that may wait to be accepted; the kernel has a bound of its own."""

CLOSE_ON_EXEC: Final = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
"""A flag of recvmsg, where the host has it."""

_TOKEN_SIZE: Final = 32
_DESCRIPTOR_SIZE: Final = array.array("i").itemsize

ANCILLARY_SIZE: Final = socket.CMSG_SPACE(_DESCRIPTOR_SIZE)
"""Bytes of ancillary data that one descriptor comes in; the kernel drops what does not fit."""


class NoListenerError(Exception):
    """What came is not the listening socket that was asked for; the message says what it is."""


class HandOverError(Exception):
    """The server listened, but could not send the socket to this host; the message says why."""


def listening_socket(descriptor: int, port: int) -> socket.socket:
    """Return the descriptor as the listening socket that it has to be; close it where it is not.

    Args:
        descriptor: Taken over.
        port: That it is bound to, or 0 for any.

    Raises:
        NoListenerError: it is anything but a TCP socket that listens on that port of 127.0.0.1.
    """
    try:
        found = socket.socket(fileno=descriptor)
    except OSError as problem:
        os.close(descriptor)
        raise NoListenerError(f"no socket ({problem})") from problem
    try:
        _check(found, port)
    except OSError as problem:
        found.close()
        raise NoListenerError(f"a socket that does not tell what it is ({problem})") from problem
    except NoListenerError:
        found.close()
        raise
    found.set_inheritable(False)
    found.setblocking(True)
    return found


def _check(found: socket.socket, port: int) -> None:
    kind = (found.family, found.type, found.proto)
    if kind != (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP):
        raise NoListenerError(f"a socket of another kind: {kind}")
    if not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise NoListenerError("a socket that does not listen")
    host, bound = found.getsockname()
    if host != LOOPBACK or port not in {0, bound}:
        raise NoListenerError(f"a socket that listens on {host}:{bound}")


def descriptors_in(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that came with a message."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % _DESCRIPTOR_SIZE])
    return found.tolist()


class Landing:
    """Where one listening socket arrives, for guests that share a directory with this host.

    While it is open, there is a socket in the directory that everybody who reaches it may send to.
    What comes without the token, which only the asked server knows, is closed unseen, as is all
    but the one listening socket. That happens in a thread of its own, since the last reference to
    what a hostile guest sends may take its time to close.

    Args:
        directory: On the host; its path may be of any length.
        guest_directory: The same, where the server sees it.
        port: That the socket must be bound to, or 0 for any.
    """

    def __init__(self, directory: Path, guest_directory: str, port: int) -> None:
        """Make nothing yet."""
        self._directory = directory
        self._name = secrets.token_hex(8)
        self._port = port
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._leaving = threading.Event()
        self._over = False
        self._found: socket.socket | None = None
        self.path = f"{guest_directory}/{self._name}"
        """The server's way to it."""
        self.token = secrets.token_hex(_TOKEN_SIZE // 2)

    def __enter__(self) -> Self:
        """Open it.

        Raises:
            OSError: the directory takes no socket.
        """
        with contextlib.ExitStack() as undo:
            self._folder = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            undo.callback(os.close, self._folder)
            self._post = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            # An address has room for 107 bytes, whatever the directory's path has.
            self._post.bind(f"/proc/self/fd/{self._folder}/{self._name}")
            undo.callback(self._unlink)
            os.chmod(self._name, 0o666, dir_fd=self._folder)  # noqa: S103 - the token protects it
            threading.Thread(target=self._receive, name="bottle-landing", daemon=True).start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away; nobody can send any more."""
        with self._lock:
            self._over = True
            found, self._found = self._found, None
        if found is not None:
            found.close()
        self._unlink()
        os.close(self._folder)
        with contextlib.suppress(OSError):
            self._post.shutdown(socket.SHUT_RDWR)
        self._leaving.set()  # Only now may the thread close it.

    def take(self, timeout: float) -> socket.socket | None:
        """Return the socket; None where it did not come within `timeout` seconds."""
        self._changed.wait(timeout)
        with self._lock:
            found, self._found = self._found, None
        return found

    def _unlink(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._folder)

    def _receive(self) -> None:
        with self._post as post:
            while not self._over and self._found is None:
                try:
                    message = post.recvmsg(_TOKEN_SIZE, ANCILLARY_SIZE, CLOSE_ON_EXEC)
                except OSError:
                    break
                self._judge(*message[:3])
            self._leaving.wait()

    def _judge(self, token: bytes, ancillary: list[tuple[int, int, bytes]], flags: int) -> None:
        """Keep what comes from the server, and close all else."""
        descriptors = descriptors_in(ancillary)
        whole = not flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC) and len(descriptors) == 1
        if not whole or not hmac.compare_digest(token, self.token.encode()):
            for descriptor in descriptors:
                os.close(descriptor)
            return
        try:
            found = listening_socket(descriptors[0], self._port)
        except NoListenerError:
            return
        with self._lock:
            if self._over:
                found.close()
            else:
                self._found = found
                self._changed.set()
