"""The host's end of connections that a guest's server carries over the channel; see `relays.py`."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import socket
import struct
import threading
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.channel import frames
from pytest_bottle.errors import SandboxLostError

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS: Final = frozenset({frames.OPEN, frames.DATA, frames.TAKEN, frames.SHUT, frames.CUT})

CONNECT_TIMEOUT: Final = 30.0
"""Seconds that the listener's queue may be full."""

_COUNT: Final = struct.Struct("!I")
_PIECE: Final = 64 * 1024
_TUNNELS: Final = 512
"""That a guest may have at once; the server's own bound is lower."""


class Tunnel:
    """One connection of the guest's, and the one to the host's listener that continues it.

    Two threads pass the bytes on, one for each direction.
    """

    def __init__(
        self, number: int, address: tuple[str, int], send: Callable[[bytes, int, bytes], None]
    ) -> None:
        """Connect to nothing yet."""
        self._number = number
        self._address = address
        self._end = socket.socket()
        self._send = send
        self._incoming: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = 0
        """Bytes in `_incoming`."""
        self._credit = frames.WINDOW
        self._changed = threading.Condition()
        self._over = False

    def handle(self, kind: bytes, payload: memoryview) -> None:
        """Take a frame in the channel's reader, which must not wait.

        Raises:
            ValueError: no server of ours would send it.
        """
        if kind == frames.DATA:
            with self._changed:
                self._waiting += len(payload)
                if self._waiting > frames.WINDOW:
                    raise ValueError(self._waiting)
            self._incoming.put(bytes(payload))
        elif kind == frames.SHUT:
            self._incoming.put(b"")
        elif kind == frames.TAKEN:
            with self._changed:
                self._credit += int.from_bytes(payload, "big")
                self._changed.notify_all()
        elif kind == frames.CUT:
            self.cut()

    def run(self) -> None:
        """Connect, and pass on both ways until both have ended."""
        with self._end:
            self._guarded(self._connect)
            other = threading.Thread(target=self._guarded, args=(self._inward,), daemon=True)
            other.start()
            self._guarded(self._outward)
            other.join()

    def _connect(self) -> None:
        self._end.settimeout(CONNECT_TIMEOUT)
        self._end.connect(self._address)
        self._end.settimeout(None)
        self._end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def cut(self) -> None:
        """Wake both threads, which then end."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._incoming.put(None)
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError:
            self.cut()
            with contextlib.suppress(SandboxLostError):
                self._send(frames.CUT, self._number, b"")
        except SandboxLostError:
            self.cut()

    def _inward(self) -> None:
        """Give the listener's side what the guest wrote."""
        while data := self._incoming.get():
            self._end.sendall(data)
            with self._changed:
                self._waiting -= len(data)
            self._send(frames.TAKEN, self._number, _COUNT.pack(len(data)))
        if not self._over:
            self._end.shutdown(socket.SHUT_WR)

    def _outward(self) -> None:
        """Give the guest what the listener's side wrote."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._credit > 0 or self._over)
                room = self._credit
            data = self._end.recv(min(room, _PIECE)) if room > 0 else b""
            if self._over:
                return
            if not data:
                self._send(frames.SHUT, self._number, b"")
                return
            with self._changed:
                self._credit -= len(data)
            self._send(frames.DATA, self._number, data)


class Tunnels:
    """All that a channel carries, and the listeners that it carries them to.

    Args:
        send: sends a frame.
    """

    def __init__(self, send: Callable[[bytes, int, bytes], None]) -> None:
        """Begin with none."""
        self._send = send
        self._lock = threading.Lock()
        self._listeners: dict[int, tuple[socket.socket, socket.socket]] = {}
        """By the guest's ports: as it was given, and the copy."""
        self._tunnels: dict[int, Tunnel] = {}
        self._over = False

    def lead_to(self, port: int, listener: socket.socket) -> bool:
        """Continue the connections to a port of the guest's at a listener of the host's.

        A copy of it is kept until the channel ends, or another takes its place: no other process
        of the host may get its port.

        Returns:
            Whether they led to another one before, which has been closed.

        Raises:
            OSError: EADDRINUSE, where they lead to one that is open.
        """
        with self._lock:
            if self._over:
                return False
            given, kept = self._listeners.get(port, (None, None))
            if given is not None and given.fileno() >= 0:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            copy = socket.socket(fileno=os.dup(listener.fileno()))
            self._listeners[port] = listener, copy
        if kept is not None:
            kept.close()
        return kept is not None

    def forget(self, port: int) -> None:
        """Take back what `lead_to` began."""
        with self._lock:
            _, kept = self._listeners.pop(port, (None, None))
        if kept is not None:
            kept.close()

    def handle(self, kind: bytes, number: int, payload: memoryview) -> None:
        """Take a frame in the channel's reader.

        Raises:
            ValueError: no server of ours would send it.
        """
        with self._lock:
            tunnel = self._tunnels.get(number)
        if kind != frames.OPEN:
            if tunnel is not None:
                tunnel.handle(kind, payload)
            return
        with self._lock:
            _, listener = self._listeners.get(int.from_bytes(payload, "big"), (None, None))
            if tunnel is not None or listener is None or len(self._tunnels) >= _TUNNELS:
                raise ValueError(number)
            tunnel = self._tunnels[number] = Tunnel(number, listener.getsockname(), self._send)
        threading.Thread(target=self._run, args=(number, tunnel), daemon=True).start()

    def _run(self, number: int, tunnel: Tunnel) -> None:
        tunnel.run()
        with self._lock:
            self._tunnels.pop(number, None)

    def close(self) -> None:
        """End them all; nothing is carried any more."""
        with self._lock:
            self._over = True
            listeners, self._listeners = self._listeners, {}
            tunnels = list(self._tunnels.values())
        for _, kept in listeners.values():
            kept.close()
        for tunnel in tunnels:
            tunnel.cut()
