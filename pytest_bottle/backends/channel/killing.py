"""Kills a command with all that it started, as seen from inside its process id namespace.

It is a part of the program that `program.py` sends to guests: see there for its limits.
"""

from __future__ import annotations

import contextlib
import os
import signal

TAG = "PYTEST_BOTTLE_EXEC"
"""The environment variable by which a command's descendants are known, wherever they went."""


def kill_tree(root: int, tag: str) -> None:
    """Kill the processes of one exec: stopped first, so that none can start another meanwhile."""
    stopped: set[int] = set()
    for _ in range(200):
        fresh = family(root, tag) - stopped
        if not fresh:
            break
        for pid in fresh:
            signal_quietly(pid, signal.SIGSTOP)
        stopped |= fresh
    for pid in stopped:
        signal_quietly(pid, signal.SIGKILL)


def signal_quietly(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def family(root: int, tag: str) -> set[int]:
    """Return the living processes that are the root, of its session, tagged, or their children."""
    parents: dict[int, int] = {}
    members: set[int] = set()
    marker = f"{TAG}={tag}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or name == "1" or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                state, parent, _, session = stat.read().rpartition(b")")[2].split()[:4]
        except OSError:
            continue
        if state in (b"Z", b"X"):
            continue
        pid = int(name)
        parents[pid] = int(parent)
        if pid == root or int(session) == root:
            members.add(pid)
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as environ:
                if marker in environ.read().split(b"\0"):
                    members.add(pid)
        except OSError:
            continue
    grown = True
    while grown:
        fresh = {pid for pid, parent in parents.items() if parent in members} - members
        members |= fresh
        grown = bool(fresh)
    return members
