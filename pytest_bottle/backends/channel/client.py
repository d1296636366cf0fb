"""The host's end of the exec channel: many commands at once over one stream.

`server.py` has the other end, and `frames.py` says what they speak.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.base import ExecResult
from pytest_bottle.backends.channel import frames
from pytest_bottle.errors import ExecTimeoutError
from pytest_bottle.errors import OutputLimitError
from pytest_bottle.errors import SandboxLostError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from pytest_bottle.backends.base import ExecRequest
    from pytest_bottle.backends.channel.stream import Stream

KILL_GRACE: Final = 5.0
"""Seconds that a guest gets to report the end of a command that was killed."""

HELLO_GRACE: Final = 30.0
"""Seconds that a guest gets to answer first."""

STDIN_CHUNK: Final = 256 * 1024

FRAME_LIMIT: Final = 1024 * 1024
"""Bytes of a frame from the guest; the server's own are smaller."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a command never started: the step, its errno, and the guest's working directory."""

    stage: str
    code: int
    workdir: str


@dataclass(slots=True)
class _Pending:
    """One command under way: what it has written, and its end."""

    output_limit: int
    truncate: bool
    ended: threading.Event = field(default_factory=threading.Event)
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    overflow: set[str] = field(default_factory=set)
    returncode: int | None = None
    failure: _Failure | None = None

    def take(self, stream: str, data: memoryview) -> bool:
        """Keep what fits; return whether the command has to be stopped."""
        kept = self.stdout if stream == "stdout" else self.stderr
        room = self.output_limit - len(kept)
        kept += data[:room]
        if len(data) > room:
            first = not self.overflow
            self.overflow.add(stream)
            return first and not self.truncate
        return False


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
        self._pending: dict[int, _Pending] = {}
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._number = 0
        self._hello: dict[str, Any] | None = None
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
                self._lost_error()
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
        pending = _Pending(request.output_limit, request.truncate)
        with self._lock:
            self._number += 1
            number = self._number
            self._pending[number] = pending
        try:
            self._spawn(number, pending, request)
            return self._finish(number, pending, request, start)
        except SandboxLostError:
            raise
        except BaseException:
            # An interrupt, or a test's own time limit: the command must not run on.
            if not pending.ended.is_set():
                self._kill(number)
            raise
        finally:
            with self._lock:
                del self._pending[number]

    def _spawn(self, number: int, pending: _Pending, request: ExecRequest) -> None:
        message = {
            "argv": list(request.argv),
            "env": dict(request.env),
            "cwd": request.cwd,
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

    def _feed(self, number: int, pending: _Pending, data: bytes) -> None:
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
        self, number: int, pending: _Pending, request: ExecRequest, start: float
    ) -> ExecResult:
        left = request.timeout - (time.monotonic() - start)
        timed_out = not pending.ended.wait(max(left, 0))
        if timed_out:
            self._kill(number)
            pending.ended.wait(KILL_GRACE)
        if pending.failure is not None:
            return _failed(pending.failure, request, time.monotonic() - start)
        if pending.returncode is None:
            if self._ended.is_set():
                raise self._lost_error()
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
        if not self._detached.wait(KILL_GRACE):
            raise self._lost_error()

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
            self._reader.join(KILL_GRACE)

    def _kill(self, number: int) -> None:
        try:
            self._send(frames.KILL, number, b"")
        except SandboxLostError:
            return

    def _lost_error(self) -> SandboxLostError:
        return SandboxLostError(self._lost())

    def _send(self, kind: bytes, number: int, payload: bytes | memoryview) -> None:
        # The reader ends only those commands that were pending when the stream ended.
        if self._ended.is_set():
            raise self._lost_error()
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
            raise self._lost_error() from problem

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
        self._ready.set()
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
            self._ready.set()
            return
        if kind == frames.DETACH:
            self._detached.set()
            return
        with self._lock:
            pending = self._pending.get(number)
        if pending is None:
            return
        if kind in {frames.STDOUT, frames.STDERR}:
            stream = "stdout" if kind == frames.STDOUT else "stderr"
            if pending.take(stream, payload):
                # Not from this thread: the guest may be waiting for it to read.
                threading.Thread(target=self._kill, args=(number,), daemon=True).start()
        elif kind == frames.DONE:
            pending.returncode = int(json.loads(bytes(payload))["returncode"])
            pending.ended.set()
        elif kind == frames.FAILED:
            failure = json.loads(bytes(payload))
            pending.failure = _Failure(
                str(failure["stage"]), int(failure["errno"]), str(failure["workdir"])
            )
            pending.ended.set()


def _failed(failure: _Failure, request: ExecRequest, duration: float) -> ExecResult:
    """Turn a command that never started into a shell's answer, or into the cwd's own error."""
    stage, code = failure.stage, failure.code
    if stage in {"cwd", "workdir"}:
        where = request.cwd if stage == "cwd" else failure.workdir
        raise OSError(code, os.strerror(code), where)
    if stage == "exec":
        returncode = 127 if code == errno.ENOENT else 126
        text = f"{request.argv[0]}: {os.strerror(code)}\n"
    elif stage == "fork":
        returncode = 126
        text = f"the sandbox cannot start another process: {os.strerror(code)}\n"
    else:
        message = f"the sandbox could not enter a command ({stage}: {os.strerror(code)})"
        raise SandboxLostError(message)
    return ExecResult(
        argv=request.argv,
        returncode=returncode,
        stdout_bytes=b"",
        stderr_bytes=text.encode(),
        duration=duration,
    )
