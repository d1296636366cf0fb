"""Kills a command with all that it started, as seen from inside its process id namespace.

A command's descendants are known by a mark that they cannot shed: a resource limit, of the kind
that the kernel hands on to each child and has not enforced since Linux 2.4.25 (getrlimit(2),
RLIMIT_LOCKS). Everybody may lower it, nobody without privileges may raise it.

It is a part of the program that `program.py` sends to guests: see there for its limits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

rlimits: Any = None
try:
    import resource

    rlimits = resource
except ImportError:  # Some images leave it out of their Python.
    pass

MARK_LIMIT = 10
"""RLIMIT_LOCKS on Linux, on every architecture; Python has no name for it."""
MARK_TITLE = b"Max file locks"
"""Its line in /proc/PID/limits."""
MARK_CEILING = 2**62
"""Marks are below it: every shell takes such numbers, and nobody means them."""
_RANDOM_BYTES = 5

DEAD = (b"X", b"Z")
"""States of a process that runs no more, whether or not its parent has noticed."""
DEATH_LOOKS = 500
DEATH_PAUSE = 0.002
"""Seconds."""


def new_mark() -> int:
    """Return a mark that no other command has, or 0 where none can be set."""
    if rlimits is None:
        return 0
    try:
        hard = rlimits.getrlimit(MARK_LIMIT)[1]
    except (OSError, ValueError):
        return 0
    ceiling = MARK_CEILING if hard == rlimits.RLIM_INFINITY else min(hard, MARK_CEILING)
    return max(ceiling - 1 - int.from_bytes(os.urandom(_RANDOM_BYTES), "big"), 0)


def wear_mark(mark: int) -> None:
    """Mark this process and all that it will start."""
    if mark and rlimits is not None:
        with contextlib.suppress(OSError, ValueError):
            rlimits.setrlimit(MARK_LIMIT, (mark, mark))


def kill_tree(root: int, mark: int) -> None:
    """Kill the processes of one exec, and wait until they are dead.

    They are stopped first, so that none can start another meanwhile.
    """
    stopped: set[int] = set()
    for _ in range(200):
        fresh = family(root, mark) - stopped
        if not fresh:
            break
        for pid in fresh:
            signal_quietly(pid, signal.SIGSTOP)
        stopped |= fresh
    for pid in stopped:
        signal_quietly(pid, signal.SIGKILL)
    # Dying takes a busy host a while, and until then they are seen, and hold their files and ports.
    for _ in range(DEATH_LOOKS):
        if all(stat_of(pid)[0] in DEAD for pid in stopped):
            break
        time.sleep(DEATH_PAUSE)


def signal_quietly(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def family(root: int, mark: int) -> set[int]:
    """Return the living processes that are the root, of its session, marked, or their children."""
    parents: dict[int, int] = {}
    members: set[int] = set()
    for name in os.listdir("/proc"):
        if not name.isdigit() or name == "1" or int(name) == os.getpid():
            continue
        pid = int(name)
        state, parent, _, session = stat_of(pid)
        if state in DEAD:
            continue
        parents[pid] = int(parent)
        if pid == root or int(session) == root or (mark and wears(pid, mark)):
            members.add(pid)
    grown = True
    while grown:
        fresh = {pid for pid, parent in parents.items() if parent in members} - members
        members |= fresh
        grown = bool(fresh)
    return members


def stat_of(pid: int) -> list[bytes]:
    """Return a process's state, parent, group and session; as dead where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[:4]
    except OSError:
        return [DEAD[0], b"0", b"0", b"0"]


def wears(pid: int, mark: int) -> bool:
    """Tell whether a process has a mark, or had it when it started."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as limits:
            for line in limits:
                if line.startswith(MARK_TITLE):
                    return line.split()[-2] == b"%d" % mark
    except OSError:
        pass
    return False
