"""A command in a machine, as the engine's `exec` has it: its standard streams."""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle import process
from pytest_bottle.backends.channel.shell_exec import STDERR
from pytest_bottle.backends.channel.shell_exec import STDOUT
from pytest_bottle.backends.channel.stream import READ_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAIL: Final = 4096
"""Bytes of stderr that are kept, to explain an end."""

_END_GRACE: Final = 2.0
"""Seconds that the engine's program gets to see that nobody needs it any more."""


class MachineStream:
    """The standard streams of a command, which the engine ends with them.

    One reader and one writer at a time. As a channel's stream it gives stdout alone, and keeps the
    end of stderr for explanations.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        """Start the engine's program.

        Raises:
            OSError: it could not be started.
        """
        self._process = process.start(
            argv, stdin=process.PIPE, stdout=process.PIPE, stderr=process.PIPE
        )
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._over = False
        self._closed = False
        self._words = bytearray()
        self._selector = selectors.DefaultSelector()
        for pipe, kind in ((self._process.stdout, STDOUT), (self._process.stderr, STDERR)):
            if pipe is not None:
                self._selector.register(pipe.fileno(), selectors.EVENT_READ, kind)

    def receive(self) -> tuple[int, bytes]:
        """Return the next piece of either stream, and which it is; nothing at the end of both."""
        with self._reading:
            while not self._closed and self._selector.get_map():
                for key, _ in self._selector.select():
                    data = os.read(key.fd, READ_SIZE)
                    if data:
                        return key.data, data
                    self._selector.unregister(key.fd)
        return STDOUT, b""

    def read(self) -> bytes:
        """Return the next bytes of stdout, or none at the end."""
        while True:
            kind, data = self.receive()
            if kind == STDOUT or not data:
                return data
            self._words += data
            del self._words[:-_TAIL]

    def words(self) -> str:
        """Return the end of what came on stderr."""
        return bytes(self._words).decode(errors="replace").strip()

    def take_descriptor(self) -> int | None:
        """Return none: pipes carry none."""
        return None

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it, or raise OSError."""
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            raise BrokenPipeError
        view = memoryview(data)
        while view:
            view = view[os.write(stdin.fileno(), view) :]

    def drain(self, timeout: float) -> None:
        """Read and drop all that comes; close it at the end, or after `timeout` seconds."""
        alarm = threading.Timer(timeout, self.close)
        alarm.daemon = True
        alarm.start()
        while self.receive()[1]:
            pass
        alarm.cancel()
        self.close()

    def returncode(self) -> int | None:
        """Return the engine's own return code; None where it does not end, or was killed."""
        try:
            code = self._process.wait(_END_GRACE)
        except process.WaitTimeout:
            return None
        return None if code < 0 else code

    def close(self) -> None:
        """End the engine's program, and with it the command. Idempotent."""
        with self._lock:
            if self._over:
                return
            self._over = True
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(_END_GRACE)
        except process.WaitTimeout:
            self._process.kill()
            self._process.wait()
        # Its end is what a reader waits for; only then is the descriptor nobody's.
        if self._reading.acquire(timeout=_END_GRACE):
            try:
                self._closed = True
                self._selector.close()
                for pipe in (self._process.stdout, self._process.stderr):
                    if pipe is not None:
                        pipe.close()
            finally:
                self._reading.release()
