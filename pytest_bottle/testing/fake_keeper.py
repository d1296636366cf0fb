"""The process under which a fake sandbox's commands run, and which ends them all with itself.

It is two processes. The *server* runs the commands; the *guard*, its parent, is the one that others
know. Each takes down what is left when the other one dies, by SIGKILL too: the server reads the end
of a pipe from the guard; the guard inherits the server's orphans. On hosts without /proc a process
that has left its command's group survives.

Standard library and the exec channel's server only: it is started for every sandbox.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any
from typing import Final
from typing import NoReturn

from pytest_bottle.backends.channel.server import Server

_PR_SET_CHILD_SUBREAPER: Final = 36
_END_DEADLINE: Final = 5.0
_ROUNDS: Final = 200


def main() -> None:
    """Serve the exec channel on stdin and stdout; the settings are the first argument.

    Their keys: `env`, `workdir`, and `socket`, a path to listen on for further clients or None.
    """
    settings = json.loads(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _adopt_orphans()
    guarded, guarding = os.pipe()
    server = os.fork()
    if server == 0:
        os.close(guarding)
        _serve(settings, guarded)
    os.close(guarded)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.waitpid(server, 0)
    end_descendants()


def _serve(settings: dict[str, Any], guarded: int) -> NoReturn:
    """Be the server; never returns."""
    try:
        _adopt_orphans()
        server = Server(settings["env"], settings["workdir"])

        def orphaned(_argument: object, _mask: int) -> None:
            server.running = False

        server.selector.register(guarded, 1, (orphaned, None))
        if settings["socket"] is not None:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(settings["socket"])
            Path(settings["socket"]).chmod(0o600)
            listener.listen(64)
            server.listen(listener)
        read_fd, write_fd = os.dup(0), os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        server.connect(read_fd, write_fd)
        server.serve()
        end_descendants()
    finally:
        os._exit(0)


def _adopt_orphans() -> None:
    """Become the parent of processes below this one that lose theirs, where the host can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants() -> None:
    """Kill everything below this process, and wait at most 5 seconds until it is gone."""
    stopped: set[int] = set()
    for _ in range(_ROUNDS):
        # Stopped first, so that none can start another meanwhile.
        fresh = descendants(os.getpid()) - stopped
        if not fresh:
            break
        for pid in fresh:
            _signal(pid, signal.SIGSTOP)
        stopped |= fresh
    for pid in stopped:
        _signal(pid, signal.SIGKILL)
    deadline = time.monotonic() + _END_DEADLINE
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.002)
        except ChildProcessError:
            return


def descendants(root: int) -> set[int]:
    """Return the living processes below one."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_bytes().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state not in b"ZX":
            children.setdefault(int(parent), []).append(int(path.parent.name))
    found: set[int] = set()
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting += below
    return found


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        return


if __name__ == "__main__":
    main()
