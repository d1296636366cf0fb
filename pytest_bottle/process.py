"""The only place that starts host processes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO
from typing import TYPE_CHECKING
from typing import TypeAlias

from pytest_bottle.errors import ProcessStartError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

DEVNULL = subprocess.DEVNULL
PIPE = subprocess.PIPE
STDOUT = subprocess.STDOUT

Process: TypeAlias = subprocess.Popen[bytes]
"""A started process; its `wait` and `communicate` raise `WaitTimeout`."""

WaitTimeout = subprocess.TimeoutExpired

READY_FD = "{ready-fd}"
"""The argument of a daemon that is replaced by the number of its ready pipe."""

_LOG_TAIL = 2000


@dataclass(frozen=True, slots=True)
class Completed:
    """What a process that ran to its end wrote and returned."""

    returncode: int
    """Negative where a signal ended it."""
    stdout: bytes
    stderr: bytes


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    input: bytes | None = None,  # noqa: A002 - the name that subprocess gave it
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
) -> Completed:
    """Run a process to its end and return its output; a failure is a result.

    Args:
        argv: program and arguments.
        timeout: seconds after which it is killed, together with its children.
        input: its standard input; None is /dev/null.
        env: its whole environment; None inherits ours.
        cwd: its working directory; None inherits ours.

    Raises:
        TimeoutError: it did not end in time.
        OSError: it could not be started, `FileNotFoundError` where there is no such program.
    """
    process = start(
        argv,
        stdin=DEVNULL if input is None else PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=env,
        cwd=cwd,
    )
    with process:
        try:
            stdout, stderr = process.communicate(input, timeout)
        except WaitTimeout:
            _kill_group(process)
            message = f"no end after {timeout:g} s: {' '.join(argv)[:200]}"
            raise TimeoutError(message) from None
        except BaseException:
            _kill_group(process)
            raise
    return Completed(process.returncode, stdout, stderr)


def start(
    argv: Sequence[str],
    *,
    stdin: int | IO[bytes] | None = DEVNULL,
    stdout: int | IO[bytes] | None = DEVNULL,
    stderr: int | IO[bytes] | None = DEVNULL,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    new_session: bool = True,
) -> Process:
    """Start a process and return at once; whoever asked has to end it and wait for it.

    A new session keeps it out of reach of the signals that a terminal, or a test of process
    groups, sends to ours.

    Raises:
        OSError: it could not be started, `FileNotFoundError` where there is no such program.
    """
    return subprocess.Popen(
        argv,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        env=env,
        cwd=cwd,
        start_new_session=new_session,
    )


def start_daemon(argv: Sequence[str], *, ready_timeout: float, log: Path | None = None) -> None:
    """Start a process that outlives this one, and return once it says that it is ready.

    It gets a session of its own, `/` as working directory, /dev/null as standard input, and a file
    for what it writes. It is not our child: nobody has to wait for it, and what kills our process
    tree passes it by. The argument `READY_FD` is replaced by the number of a pipe, on which it has
    to write the line `ready`.

    Args:
        argv: program and arguments, with `READY_FD` among them.
        ready_timeout: seconds until it must have been ready.
        log: the file that its output is appended to, mode 0600 where it is new; None takes one
            without a name, which only a failure to start quotes.

    Raises:
        ProcessStartError: it ended, or stayed silent, before it was ready; nothing of it remains.
        OSError: no process could be started.
    """
    with contextlib.ExitStack() as opened:
        reader, writer = os.pipe()
        opened.callback(os.close, reader)
        with contextlib.ExitStack() as handed_over:
            handed_over.callback(os.close, writer)
            output = opened.enter_context(_open_log(log))
            # The shell starts it in the background and ends, which hands it over to init.
            shell = start(
                [
                    "/bin/sh",
                    "-c",
                    '"$@" &',
                    "sh",
                    *(str(writer) if argument == READY_FD else argument for argument in argv),
                ],
                stdout=output,
                stderr=output,
                pass_fds=(writer,),
                cwd="/",
            )
        try:
            line = _read_line(reader, time.monotonic() + ready_timeout)
        except BaseException:
            _end_group(shell)
            raise
        if line == b"ready\n":
            shell.wait()
            return
        _end_group(shell)
        reason = "ended before it was ready" if line is not None else "was not ready in time"
        raise ProcessStartError(argv, reason=reason, log=_tail(output))


def _open_log(path: Path | None) -> IO[bytes]:
    if path is None:
        return tempfile.TemporaryFile()
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    return open(os.open(path, flags, 0o600), "r+b", buffering=0)  # noqa: PTH123 - a descriptor


def _read_line(descriptor: int, deadline: float) -> bytes | None:
    """Read up to a newline or the end; None where the deadline passes first."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return None
        chunk = os.read(descriptor, 100)
        if not chunk:
            break
        line += chunk
    return line


def _kill_group(process: Process) -> None:
    """Kill a process that leads its group, and its children; it must not have been waited for."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _end_group(process: Process) -> None:
    _kill_group(process)
    process.wait()


def _tail(log: IO[bytes]) -> str:
    start = max(0, os.fstat(log.fileno()).st_size - _LOG_TAIL)
    return os.pread(log.fileno(), _LOG_TAIL, start).decode(errors="replace")
