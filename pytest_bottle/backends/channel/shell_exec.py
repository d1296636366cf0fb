"""Commands that an engine itself starts, one by one: for guests without Python, for other users.

A shell in the guest reports what engines tell late, ambiguously or not at all: the command's own
return code as soon as it ends (an engine waits for whatever it left running), and what is wrong
with its directory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import threading
import time
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Final
from typing import Protocol

from pytest_bottle.backends.base import ExecResult
from pytest_bottle.backends.channel.client import KILL_GRACE
from pytest_bottle.backends.channel.client import STDIN_CHUNK
from pytest_bottle.backends.channel.killing import MARK_CEILING
from pytest_bottle.errors import ExecTimeoutError
from pytest_bottle.errors import OutputLimitError
from pytest_bottle.errors import SandboxLostError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.backends.base import ExecRequest

STDOUT: Final = 1
STDERR: Final = 2
PLAIN: Final = 0
"""What an engine says itself: why a command could not be started."""

_RUN: Final = """\
IFS= read -r bottle_mark
ulimit -x "$bottle_mark" 2>/dev/null || ulimit -w "$bottle_mark" 2>/dev/null
IFS= read -r bottle_left
echo $$
eval "$(
    while [ "$bottle_left" -gt 0 ]; do
        IFS= read -r bottle_line
        printf '%s\\n' "$bottle_line"
        bottle_left=$((bottle_left - 1))
    done
)"
exec 3>&2 2>/dev/null
if [ -n "$bottle_cwd" ] && ! CDPATH= cd -- "$bottle_cwd"; then
    bottle_code=missing
    [ ! -e "$bottle_cwd" ] || bottle_code=file
    [ ! -d "$bottle_cwd" ] || bottle_code=denied
elif [ -n "$bottle_size" ]; then
    head -c "$bottle_size" | ( exec "$@" 2>&3 3>&- )
    bottle_code=$?
else
    ( exec "$@" 2>&3 3>&- ) </dev/null
    bottle_code=$?
fi
echo "$bottle_token $bottle_code"
echo "$bottle_token $bottle_code" >&3
"""
"""Reads what to run as a number of lines, line by line to leave the command's stdin alone: as
arguments they would stand in process lists, where `pkill -f` takes the shell for the command; and
nothing is written before somebody reads. Its own complaints, such as that a command was killed, are
not the command's output. `ulimit` sets the mark of `killing.py`, by either of the letters that
shells have for it."""

_KILL: Final = """\
root=$1 mark=$2 members=" $1 " round=0
for path in $(grep -sl "^Max file locks  *$mark " /proc/[0-9]*/limits); do
    path=${path#/proc/}
    members="$members${path%/limits} "
done
while [ $round -lt 50 ]; do
    round=$((round + 1)) grown=
    for stat in /proc/[0-9]*/stat; do
        IFS= read -r line <$stat || continue
        set -- ${line##*) }
        pid=${stat#/proc/} pid=${pid%/stat}
        [ "$1" != Z ] && [ $pid != 1 ] || continue
        case $members in *" $pid "*)
            [ "$1" = T ] || { kill -STOP $pid && grown=yes; }
            continue
        esac
        case "$members" in *" $2 "*) ;; *) [ "$4" = "$root" ] || continue ;; esac
        kill -STOP $pid
        members="$members$pid " grown=yes
    done
    [ "$grown" ] || break
done
for pid in $members; do kill -KILL $pid; done
round=0
while [ $round -lt 100 ]; do
    round=$((round + 1)) left=
    for pid in $members; do
        IFS= read -r line </proc/$pid/stat || continue
        set -- ${line##*) }
        [ "$1" = Z ] || left=yes
    done
    [ "$left" ] || break
    sleep 0.01
done
"""
"""The channel server's `kill_tree`, for a shell: all are stopped before the first is killed."""

_CWD_ERRORS: Final = {
    "missing": errno.ENOENT,
    "file": errno.ENOTDIR,
    "denied": errno.EACCES,
}

_END_NOTICE: Final = 0.5
"""Seconds that an engine gets to notice a guest's end after that of a command in it."""


class ShellStream(Protocol):
    """The standard streams of a shell in a guest."""

    def receive(self) -> tuple[int, bytes]:
        """Return the next piece of any stream, and which it is; nothing at the end of all.

        Raises:
            OSError: the connection broke.
        """
        ...

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it to stdin, or raise OSError."""
        ...

    def drain(self, timeout: float) -> None:
        """Read and drop all that comes; close it at the end, or after `timeout` seconds."""
        ...

    def close(self) -> None:
        """Close all; a read that waits returns. Idempotent."""
        ...


class NotStartedError(Exception):
    """The engine started no shell; the message is in its own words."""


class Shells(Protocol):
    """What starts shells in one guest."""

    def start(
        self, argv: Sequence[str], *, user: str | None, env: Mapping[str, str]
    ) -> ShellStream:
        """Start one.

        Raises:
            NotStartedError
        """
        ...

    def returncode(self, stream: ShellStream) -> int | None:
        """Return what a shell that has ended returned; None where nobody knows."""
        ...

    def running(self) -> bool:
        """Tell whether the guest still runs."""
        ...

    def lost(self) -> str:
        """Return a sentence on what happened to the guest."""
        ...

    def refusal(self, words: str, user: str | None) -> Exception:
        """Return what it means that the engine said this instead of starting a command."""
        ...


@dataclass(slots=True)
class _Output:
    """One stream: what the command wrote, and the report behind it."""

    token: bytes
    limit: int
    kept: bytearray = field(default_factory=bytearray)
    overflow: bool = False
    report: bytes | None = None
    """What followed the token; None until it came."""
    _held: bytes = b""

    def take(self, data: bytes) -> None:
        """Keep what fits, but for the token and what may be its beginning."""
        if self.report is not None:
            self.report += data
            return
        data = self._held + data
        body, found, rest = data.partition(self.token)
        self._held = b""
        if found:
            self.report = rest
        else:
            border = max(len(data) - len(self.token) + 1, 0)
            body, self._held = data[:border], data[border:]
        self._keep(body)

    def _keep(self, data: bytes) -> None:
        room = self.limit - len(self.kept)
        self.kept += data[:room]
        self.overflow |= len(data) > room

    def end(self) -> None:
        """Keep what was held back."""
        self._keep(self._held)
        self._held = b""

    @property
    def ended(self) -> bool:
        return self.report is not None and self.report.endswith(b"\n")


class ShellExec:
    """One command, in a shell of its own; see `Sandbox.exec`."""

    def __init__(self, shells: Shells, request: ExecRequest) -> None:
        """Prepare it; `run` runs it."""
        self._shells = shells
        self._request = request
        self._token = secrets.token_hex(16)
        self._mark = secrets.randbelow(MARK_CEILING)
        end = f"{self._token} ".encode()
        self._stdout = _Output(end, request.output_limit)
        self._stderr = _Output(end, request.output_limit)
        self._plain = bytearray()
        """What the engine said instead of running it."""
        self._root: bytes | None = None
        """Pid of the shell around it, once that has said so."""
        self._over = threading.Event()
        self._wake = threading.Event()
        """Set when it is over, or has to be stopped."""

    def run(self) -> ExecResult:
        """Run the command to its end; see `Sandbox.exec`."""
        start = time.monotonic()
        stream = self._start()
        try:
            for work in (self._read, self._write):
                threading.Thread(target=work, args=(stream,), daemon=True).start()
            if self._request.on_start is not None:
                self._request.on_start(self._kill)
            self._wake.wait(self._request.timeout)
            timed_out = not self._wake.is_set()
            if not self._over.is_set():
                self._kill()
        except BaseException:
            # An interrupt, or a test's own time limit: the command must not run on.
            if not self._over.is_set():
                self._kill()
            raise
        finally:
            stream.close()
        return self._result(stream, time.monotonic() - start, timed_out=timed_out)

    def _start(self) -> ShellStream:
        request = self._request
        env = request.env
        if request.user is not None and not request.user.isdigit():
            env = {"USER": request.user, "LOGNAME": request.user, **env}
        try:
            return self._shells.start(("/bin/sh", "-c", _RUN), user=request.user, env=env)
        except NotStartedError as problem:
            raise self._shells.refusal(str(problem), request.user) from problem

    def _read(self, stream: ShellStream) -> None:
        first = bytearray()
        try:
            while not (self._stdout.ended and self._stderr.ended):
                kind, data = stream.receive()
                if not data:
                    break
                if kind == PLAIN:
                    self._plain += data
                elif kind == STDERR:
                    self._stderr.take(data)
                elif self._root is not None:
                    self._stdout.take(data)
                else:
                    first += data
                    line, newline, rest = bytes(first).partition(b"\n")
                    if newline and line.isdigit():
                        self._root = line
                        self._stdout.take(rest)
                    elif newline:
                        self._plain += line
                if not self._request.truncate and self._overflowed():
                    self._wake.set()
        except OSError:
            pass
        self._stdout.end()
        self._stderr.end()
        self._over.set()
        self._wake.set()

    def _write(self, stream: ShellStream) -> None:
        view = memoryview(self._script() + (self._request.input or b""))
        with contextlib.suppress(OSError):  # It ended first, as it may.
            for offset in range(0, len(view), STDIN_CHUNK):
                stream.write(view[offset : offset + STDIN_CHUNK])

    def _script(self) -> bytes:
        """Return what `_RUN` reads: the command's mark, the number of lines, and the lines."""
        request = self._request
        size = "" if request.input is None else len(request.input)
        script = (
            f"bottle_token={self._token} bottle_size={size}\n"
            f"bottle_cwd={shlex.quote(request.cwd or '')}\n"
            f"set -- {shlex.join(request.argv)}\n"
        )
        lines = script.count("\n")
        return f"{self._mark}\n{lines}\n{script}".encode(errors="surrogateescape")

    def _overflowed(self) -> list[str]:
        outputs = {"stderr": self._stderr, "stdout": self._stdout}
        return [name for name, output in outputs.items() if output.overflow]

    def _kill(self) -> None:
        """Kill all of it, from a shell beside it and as the same user; wait for its end."""
        root = (self._root or b"0").decode(errors="replace")
        script = ("/bin/sh", "-c", _KILL, "sh", root, str(self._mark))
        try:
            stream = self._shells.start(script, user=self._request.user, env={})
        except NotStartedError:
            return
        stream.drain(KILL_GRACE)
        self._over.wait(KILL_GRACE)

    def _result(self, stream: ShellStream, duration: float, *, timed_out: bool) -> ExecResult:
        request = self._request
        stdout, stderr = bytes(self._stdout.kept), bytes(self._stderr.kept)
        if not self._over.is_set():
            raise SandboxLostError(f"a killed command was not seen to end within {KILL_GRACE:g} s")
        refused = self._plain or (stderr if self._root is None and not timed_out else b"")
        if refused:
            words = refused.decode(errors="replace").strip()
            raise self._shells.refusal(words, request.user)
        overflow = self._overflowed()
        if overflow and not request.truncate:
            raise OutputLimitError(
                f"the {' and '.join(overflow)} of {' '.join(request.argv)[:200]!r}",
                limit=request.output_limit,
                remedy="It was stopped. Pass output_limit= for more, or truncate=True to keep "
                "the beginning.",
            )
        if timed_out:
            raise ExecTimeoutError(
                request.argv, timeout=request.timeout, stdout=stdout, stderr=stderr
            )
        return ExecResult(
            argv=request.argv,
            returncode=self._returncode(stream),
            stdout_bytes=stdout,
            stderr_bytes=stderr,
            duration=duration,
            stdout_truncated="stdout" in overflow,
            stderr_truncated="stderr" in overflow,
        )

    def _returncode(self, stream: ShellStream) -> int:
        """Return what the shell reported; where it was killed, what the engine knows."""
        report = (self._stdout.report or self._stderr.report or b"").decode().strip()
        if report in _CWD_ERRORS:
            code = _CWD_ERRORS[report]
            raise OSError(code, os.strerror(code), self._request.cwd)
        if report:
            return int(report)
        returncode = self._shells.returncode(stream)
        if returncode is None or self._guest_ends():
            raise SandboxLostError(self._shells.lost())
        return returncode

    def _guest_ends(self) -> bool:
        """Whether the shell was killed because all of its guest was."""
        until = time.monotonic() + _END_NOTICE
        while time.monotonic() < until:
            if not self._shells.running():
                return True
            time.sleep(_END_NOTICE / 10)
        return False
