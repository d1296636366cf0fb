"""Runs host programs whose pipes the event loop reads and writes."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import IO
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle import process
from pytest_bottle.gateway.git.minding import MINDER
from pytest_bottle.process import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

READ: Final = 2**17
"""Bytes at a time."""

_STDERR_LIMIT: Final = 2**16
_LONGEST_PAUSE: Final = 0.05
_TERMINATION: Final = 1.0


class Program:
    """A program that runs in a session of its own."""

    def __init__(
        self,
        running: process.Process,
        stdin: asyncio.StreamWriter,
        stdout: asyncio.StreamReader,
        stderr: asyncio.Task[bytes],
    ) -> None:
        """Not for callers: `start` makes them."""
        self._running = running
        self._stdin = stdin
        self.stdout: Final = stdout
        self._stderr = stderr

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | str = "/",
        pass_fds: Sequence[int] = (),
    ) -> Program:
        """Start it.

        Raises:
            OSError: it could not be started.
        """
        running = process.start(
            argv,
            stdin=process.PIPE,
            stdout=process.PIPE,
            stderr=process.PIPE,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
        )
        try:
            MINDER.mind(running.pid)
        except OSError:
            running.kill()
            running.wait()
            raise
        stdin, stdout, stderr = running.stdin, running.stdout, running.stderr
        assert stdin is not None  # noqa: S101 - for mypy; all three are pipes
        assert stdout is not None  # noqa: S101
        assert stderr is not None  # noqa: S101
        error = asyncio.create_task(_keep_first(await open_reader(stderr)))
        return cls(running, await open_writer(stdin), await open_reader(stdout), error)

    async def feed(self, data: bytes) -> None:
        """Write to its standard input; what it no longer reads is dropped."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._stdin.write(data)
            await self._stdin.drain()

    def end_input(self) -> None:
        """Close its standard input."""
        self._stdin.close()

    async def end(self) -> tuple[int, bytes]:
        """Wait until it has ended, after the end of its output; return its code and its stderr."""
        self.end_input()
        stderr = await self._stderr
        pause = 0.001
        while (code := self._running.poll()) is None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        MINDER.release(self._running.pid)
        return code, stderr

    async def finish(self, data: bytes) -> Completed:
        """Give it all of its standard input, and wait for its end."""
        feeding = asyncio.create_task(self._feed_all(data))
        try:
            stdout = await self.stdout.read()
            code, stderr = await self.end()
        finally:
            feeding.cancel()
        return Completed(code, stdout, stderr)

    async def _feed_all(self, data: bytes) -> None:
        await self.feed(data)
        self.end_input()

    def terminate(self) -> None:
        """Ask it to end, with what it started: git then removes what it had begun to write."""
        if self._running.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGTERM)

    async def give_up(self) -> None:
        """Have it end, in a moment by itself or else by force. Idempotent."""
        self.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_TERMINATION):
                await self.end()
        self.kill()

    def kill(self) -> None:
        """Kill it, and what it started, if it still runs. Idempotent."""
        if self._running.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()
        MINDER.release(self._running.pid)
        self._stdin.close()


async def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    timeout: float,  # noqa: ASYNC109 - it is the program's, as everywhere
    cwd: Path | str = "/",
    input: bytes = b"",  # noqa: A002 - as `process.run`
) -> Completed:
    """Run a program to its end and return its output; a failure is a result.

    Raises:
        TimeoutError: it did not end in `timeout` seconds, and was killed.
        OSError: it could not be started.
    """
    program = await Program.start(argv, env=env, cwd=cwd)
    try:
        async with asyncio.timeout(timeout):
            return await program.finish(input)
    finally:
        program.kill()


async def open_reader(pipe: IO[bytes]) -> asyncio.StreamReader:
    """Return a stream that reads a pipe, which is closed with it."""
    reader = asyncio.StreamReader(limit=READ)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


async def open_writer(pipe: IO[bytes]) -> asyncio.StreamWriter:
    """Return a stream that writes to a pipe, which is closed with it."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), pipe
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


async def _keep_first(reader: asyncio.StreamReader) -> bytes:
    kept = b""
    while part := await reader.read(READ):
        kept = (kept + part)[:_STDERR_LIMIT]
    return kept
