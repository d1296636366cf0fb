"""The identity of a process, good enough to prove that it is dead."""

from __future__ import annotations

import calendar
import functools
import os
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_bottle import process

_LINUX = sys.platform == "linux"
_PARTS = 4
_POLL = 0.01
_COMMAND_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Owner:
    """One process of one boot of this host, never to be confused with a later one of its number."""

    pid: int
    start: int
    """Start time: clock ticks since boot on Linux, seconds since 1970 elsewhere."""
    boot: str
    """Names the boot of the host; empty where the host does not tell."""
    namespace: str
    """Names the space that `pid` counts in: containers share the boot, but not the numbers."""

    @classmethod
    def current(cls) -> Owner:
        """Return the identity of this process."""
        return _current(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Owner:
        """Return the identity of a running process.

        Raises:
            ProcessLookupError: there is none, or it is a zombie.
        """
        start = _start_time(pid)
        if start is None:
            message = f"no process {pid}"
            raise ProcessLookupError(message)
        return cls(pid, start, _boot(), _namespace())

    @classmethod
    def decode(cls, text: str) -> Owner:
        """Read what `encode` wrote.

        Raises:
            ValueError: it is something else.
        """
        parts = text.split(":")
        if len(parts) != _PARTS:
            message = f"not an owner: {text[:100]!r}"
            raise ValueError(message)
        pid, start, boot, namespace = parts
        return cls(int(pid), int(start), boot, namespace)

    def encode(self) -> str:
        """Return it as one short word, fit for a file or a container's label."""
        return f"{self.pid}:{self.start}:{self.boot}:{self.namespace}"

    def alive(self) -> bool:
        """Whether it may still run: False only where its death is proven. A zombie is dead."""
        if self.boot != _boot() and self.boot and _boot():
            return False
        if self.namespace != _namespace():
            return True
        try:
            return _start_time(self.pid) == self.start
        except OSError:
            return True

    def kill(self) -> bool:
        """Send SIGKILL, and never to a later process of its number; whether there was one to kill.

        Raises:
            PermissionError: it runs as somebody else.
        """
        handle = self.handle()
        try:
            # Checked with the handle open: the handle cannot come to mean another process.
            if not self._proven():
                return False
            if handle is not None and sys.platform == "linux":
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        finally:
            if handle is not None:
                os.close(handle)
        return True

    def _proven(self) -> bool:
        """Whether it certainly runs: what `alive` only does not rule out is not enough to kill."""
        if (self.boot, self.namespace) != (_boot(), _namespace()):
            return False
        try:
            return _start_time(self.pid) == self.start
        except OSError:
            return False

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for its death; whether it is dead."""
        deadline = time.monotonic() + timeout
        handle = self.handle()
        try:
            while self.alive():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if handle is None:
                    time.sleep(min(_POLL, left))
                else:
                    poll = select.poll()
                    poll.register(handle, select.POLLIN)
                    # A handle tells of a zombie leader with living threads too early: look again.
                    if poll.poll(left * 1000):
                        time.sleep(0.001)
        finally:
            if handle is not None:
                os.close(handle)
        return True

    def handle(self) -> int | None:
        """Open a descriptor that can be read from once the process has ended.

        The caller closes it. The number may have a new bearer by now: ask `alive` after this.

        Returns:
            None where this host has no such thing, or the process is gone.
        """
        if sys.platform != "linux" or self.namespace != _namespace():
            return None
        with suppress(OSError):
            return os.pidfd_open(self.pid)
        return None


@functools.cache
def _current(pid: int) -> Owner:
    return Owner.of(pid)


def _start_time(pid: int) -> int | None:
    """Return a running process's start time; None where it is proven that there is none.

    Raises:
        OSError: there may be one, but this host does not show it.
    """
    if _LINUX:
        return _linux_start_time(pid)
    return _posix_start_time(pid)


def _linux_start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except ProcessLookupError:
        return None
    except FileNotFoundError:
        # /proc may be mounted so that it hides other users' processes.
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        raise
    # The second field is the program's name, which may hold spaces and brackets of its own.
    fields = stat[stat.rindex(b")") + 2 :].split()
    state, threads, start = fields[0], int(fields[17]), int(fields[19])
    # A process whose first thread alone has ended looks like a zombie, but works.
    if state in b"ZXx" and threads <= 1:
        return None
    return start


def _posix_start_time(pid: int) -> int | None:
    shown = process.run(
        ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)],
        timeout=_COMMAND_TIMEOUT,
        env={"LC_ALL": "C", "TZ": "UTC", "PATH": "/bin:/usr/bin"},
    )
    state, _, start = shown.stdout.decode().strip().partition(" ")
    if not state:
        if _exists(pid):
            message = f"ps does not show process {pid}"
            raise PermissionError(message)
        return None
    if state.startswith("Z"):
        return None
    return calendar.timegm(time.strptime(start.strip(), "%a %b %d %H:%M:%S %Y"))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@functools.cache
def _boot() -> str:
    try:
        if _LINUX:
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        shown = process.run(["sysctl", "-n", "kern.bootsessionuuid"], timeout=_COMMAND_TIMEOUT)
        return shown.stdout.decode().strip()
    except (OSError, TimeoutError):
        return ""


@functools.cache
def _namespace() -> str:
    if not _LINUX:
        return ""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""
