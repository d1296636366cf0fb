"""The host's end of the exec channel: many commands at once over one stream.

`server.py` has the other end, and `frames.py` says what they speak.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
import threading
import time
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.base import ExecResult
from pytest_bottle.backends.channel import frames
from pytest_bottle.backends.channel.pending import Failure
from pytest_bottle.backends.channel.pending import Pending
from pytest_bottle.backends.channel.pending import result_of_failure
from pytest_bottle.backends.channel.tunnels import KINDS
from pytest_bottle.backends.channel.tunnels import Tunnels
from pytest_bottle.errors import ExecTimeoutError
from pytest_bottle.errors import OutputLimitError
from pytest_bottle.errors import SandboxLostError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from pytest_bottle.backends.base import ExecRequest
    from pytest_bottle.backends.channel.stream import Stream

KILL_GRACE: Final = 30.0
"""Seconds that a guest gets to report the end of a command that was killed."""

_CLOSE_GRACE: Final = 5.0
"""Seconds that a guest gets to let this end go, and the reader to see that it is closed."""

HELLO_GRACE: Final = 30.0
"""Seconds that a guest gets to answer first."""

STDIN_CHUNK: Final = 256 * 1024

LISTEN_GRACE: Final = 10.0
"""Seconds that a guest gets to listen on a port."""

_ACKNOWLEDGED: Final = 128 * 1024
"""Bytes of output after which a server that asked for it is told that they were taken."""

FRAME_LIMIT: Final = 1024 * 1024
"""Bytes of a frame from the guest; the server's own are smaller."""


class Channel:
    """A connected exec channel.

    Args:
        stream: connected to a server that has been started.
        lost: asked, when the stream ends, for a sentence on what happened to the sandbox.
    """

    def __init__(self, stream: Stream, *, lost: Callable[[], str]) -> None:
        """Start reading; `wait_ready` waits for the guest's first words."""
        self._stream = stream
        self._lost = lost
        self._pending: dict[int, Pending] = {}
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._number = 0
        self.tunnels = Tunnels(self._send)
        self._hello: dict[str, Any] | None = None
        self._acknowledges = False
        self._taken = 0
        self._receipts: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._detached = threading.Event()
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, name="bottle-channel", daemon=True)
        self._reader.start()

    def wait_ready(self, timeout: float = HELLO_GRACE) -> dict[str, Any]:
        """Return the guest's facts: `user`, `uid` and `home`.

        Raises:
            SandboxLostError: it did not answer within `timeout` seconds, or went away.
        """
        self._ready.wait(timeout)
        if self._hello is None:
            raise (
                self.lost_error()
                if self._ended.is_set()
                else SandboxLostError(f"the guest did not answer within {timeout:g} s")
            )
        return self._hello

    def wait_ended(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the stream's end; return whether it came."""
        return self._ended.wait(timeout)

    def exec(self, request: ExecRequest) -> ExecResult:
        """Run one command to its end; see `Sandbox.exec`."""
        start = time.monotonic()
        pending = Pending(request.output_limit, request.truncate)
        with self._numbered(pending) as number:
            try:
                self._spawn(number, pending, request)
                if request.on_start is not None:
                    request.on_start(functools.partial(self._kill, number))
                return self._finish(number, pending, request, start)
            except SandboxLostError:
                raise
            except BaseException:
                # An interrupt, or a test's own time limit: the command must not run on.
                if not pending.ended.is_set():
                    self._kill(number)
                raise

    def ask_to_listen(self, **message: object) -> Pending:
        """Ask the server for a listening socket; return its answer, if one came."""
        pending = Pending(0, truncate=True)
        with self._numbered(pending) as number:
            self._send(frames.LISTEN, number, json.dumps(message).encode())
            pending.ended.wait(LISTEN_GRACE)
        return pending

    @contextlib.contextmanager
    def _numbered(self, pending: Pending) -> Iterator[int]:
        """Give it a number, by which the reader knows it meanwhile."""
        with self._lock:
            self._number += 1
            number = self._number
            self._pending[number] = pending
        try:
            yield number
        finally:
            with self._lock:
                del self._pending[number]

    def _spawn(self, number: int, pending: Pending, request: ExecRequest) -> None:
        message = {
            "argv": list(request.argv),
            "env": dict(request.env),
            "cwd": request.cwd,
            "user": request.user,
            "stdin": request.input is not None,
        }
        self._send(frames.SPAWN, number, json.dumps(message).encode())
        if request.input is None:
            return
        if len(request.input) <= STDIN_CHUNK:
            self._feed(number, pending, request.input)
            return
        # From a thread, so that neither a timeout nor an interrupt waits for it to be taken, or
        # leaves half a frame behind.
        arguments = (number, pending, request.input)
        threading.Thread(
            target=self._feed, args=arguments, name="bottle-stdin", daemon=True
        ).start()

    def _feed(self, number: int, pending: Pending, data: bytes) -> None:
        """Send a command its input, until it has all of it or has ended."""
        view = memoryview(data)
        try:
            for offset in range(0, len(view), STDIN_CHUNK):
                if pending.ended.is_set():
                    return
                self._send(frames.STDIN, number, view[offset : offset + STDIN_CHUNK])
            self._send(frames.STDIN_END, number, b"")
        except SandboxLostError:
            return  # Whoever waits for the command is told.

    def _finish(
        self, number: int, pending: Pending, request: ExecRequest, start: float
    ) -> ExecResult:
        left = request.timeout - (time.monotonic() - start)
        timed_out = not pending.ended.wait(max(left, 0))
        if timed_out:
            self._kill(number)
            pending.ended.wait(KILL_GRACE)
        if pending.failure is not None:
            return result_of_failure(pending.failure, request, time.monotonic() - start)
        if pending.returncode is None:
            if self._ended.is_set():
                raise self.lost_error()
            message = f"a killed command was not reported as ended within {KILL_GRACE:g} s"
            raise SandboxLostError(message)
        stdout, stderr = bytes(pending.stdout), bytes(pending.stderr)
        if timed_out:
            raise ExecTimeoutError(
                request.argv, timeout=request.timeout, stdout=stdout, stderr=stderr
            )
        if pending.overflow and not request.truncate:
            command = " ".join(request.argv)[:200]
            raise OutputLimitError(
                f"the {' and '.join(sorted(pending.overflow))} of {command!r}",
                limit=request.output_limit,
                remedy="It was stopped. Pass output_limit= for more, or truncate=True to keep "
                "the beginning.",
            )
        return ExecResult(
            argv=request.argv,
            returncode=pending.returncode,
            stdout_bytes=stdout,
            stderr_bytes=stderr,
            duration=time.monotonic() - start,
            stdout_truncated="stdout" in pending.overflow,
            stderr_truncated="stderr" in pending.overflow,
        )

    def detach(self) -> None:
        """Let the sandbox outlive this channel.

        Raises:
            SandboxLostError: it did not confirm.
        """
        self._send(frames.DETACH, 0, b"")
        if not self._detached.wait(_CLOSE_GRACE):
            raise self.lost_error()

    def claim(self) -> None:
        """Have the server drop all its other clients, with the commands that they wait for.

        Raises:
            SandboxLostError: it is gone.
        """
        self._send(frames.ALONE, 0, b"")

    def quit(self) -> None:
        """End the server and with it the sandbox; quiet where it is gone already."""
        try:
            self._send(frames.QUIT, 0, b"")
        except SandboxLostError:
            return

    def close(self) -> None:
        """Close the stream, and wait until the reader has seen that."""
        self._stream.close()
        if threading.current_thread() is not self._reader:
            self._reader.join(_CLOSE_GRACE)

    def _kill(self, number: int) -> None:
        try:
            self._send(frames.KILL, number, b"")
        except SandboxLostError:
            return

    def lost_error(self) -> SandboxLostError:
        """Return what is to be raised once the stream has ended."""
        return SandboxLostError(self._lost())

    def _send(self, kind: bytes, number: int, payload: bytes | memoryview) -> None:
        # The reader ends only those commands that were pending when the stream ended.
        if self._ended.is_set():
            raise self.lost_error()
        header = frames.HEADER.pack(len(payload), kind, number)
        try:
            with self._write_lock, self._whole_frames():
                if len(payload) <= STDIN_CHUNK:
                    self._stream.write(header + bytes(payload))
                else:
                    self._stream.write(header)
                    self._stream.write(payload)
        except OSError as problem:
            self._ended.wait(1)
            raise self.lost_error() from problem

    @contextlib.contextmanager
    def _whole_frames(self) -> Iterator[None]:
        """Close the stream where a write is interrupted: after half a frame none is understood."""
        try:
            yield
        except OSError:
            raise
        except BaseException:
            self._stream.close()
            raise

    def _read(self) -> None:
        buffer = bytearray()
        try:
            while data := self._stream.read():
                buffer += data
                self._take_frames(buffer)
        except OSError:
            pass
        except (ValueError, LookupError, TypeError):
            self._stream.close()  # No server of ours writes such frames.
        self._ended.set()
        self._receipts.put(0)
        self._ready.set()
        self.tunnels.close()
        with self._lock:
            for pending in self._pending.values():
                pending.ended.set()

    def _take_frames(self, buffer: bytearray) -> None:
        offset = 0
        with memoryview(buffer) as view:
            while len(view) - offset >= frames.HEADER.size:
                length, kind, number = frames.HEADER.unpack_from(view, offset)
                if length > FRAME_LIMIT:
                    raise ValueError(length)
                end = offset + frames.HEADER.size + length
                if len(view) < end:
                    break
                with view[offset + frames.HEADER.size : end] as payload:
                    self._handle(kind, number, payload)
                offset = end
        del buffer[:offset]

    def _handle(self, kind: bytes, number: int, payload: memoryview) -> None:
        if kind == frames.HELLO:
            self._hello = json.loads(bytes(payload))
            if self._hello.pop("acknowledge", False) is True and not self._acknowledges:
                self._acknowledges = True
                threading.Thread(
                    target=self._send_receipts, name="bottle-receipts", daemon=True
                ).start()
            self._ready.set()
            return
        if kind == frames.DETACH:
            self._detached.set()
            return
        if kind in KINDS:
            self.tunnels.handle(kind, number, payload)
            return
        if kind in {frames.STDOUT, frames.STDERR}:
            self._acknowledge(len(payload))
        descriptor = self._stream.take_descriptor() if kind == frames.LISTEN else None
        with self._lock:
            pending = self._pending.get(number)
            if pending is not None:
                pending.descriptor = descriptor
        if pending is None:
            if descriptor is not None:
                os.close(descriptor)
            return
        self._answer(pending, kind, number, payload)

    def _acknowledge(self, size: int) -> None:
        """Have the server told of output that was taken, by a thread that may wait for it."""
        self._taken += size
        if self._acknowledges and self._taken >= _ACKNOWLEDGED:
            self._receipts.put(self._taken)
            self._taken = 0

    def _send_receipts(self) -> None:
        with contextlib.suppress(SandboxLostError):
            while taken := self._receipts.get():
                self._send(frames.TAKEN, 0, taken.to_bytes(4, "big"))

    def _answer(self, pending: Pending, kind: bytes, number: int, payload: memoryview) -> None:
        if kind in {frames.STDOUT, frames.STDERR}:
            stream = "stdout" if kind == frames.STDOUT else "stderr"
            if pending.take(stream, payload):
                # Not from this thread: the guest may be waiting for it to read.
                threading.Thread(target=self._kill, args=(number,), daemon=True).start()
        elif kind == frames.LISTEN:
            pending.returncode = 0
            pending.ended.set()
        elif kind == frames.DONE:
            pending.returncode = int(json.loads(bytes(payload))["returncode"])
            pending.ended.set()
        elif kind == frames.FAILED:
            failure = json.loads(bytes(payload))
            pending.failure = Failure(
                str(failure["stage"]), int(failure["errno"]), str(failure["workdir"])
            )
            pending.ended.set()
