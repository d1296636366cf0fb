"""Carries a running sandbox's files over into one that is being made, in a process beside bwrap.

In two steps, around bwrap's own work. What the overlays wrote comes first, since an overlay must
not change below its mount. The root directory comes last, when bwrap has mounted all it has to: a
guest can have put links anywhere in it, which bwrap would follow out of the sandbox.

The source's processes are stopped meanwhile, so that it is one moment that is carried over.

Nothing here may be imported late: see `namespaces`.
"""

# Every object that is made right after a fork is paid for with copied pages: no Path.
# ruff: noqa: PTH208

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import signal
import socket
import time
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import NoReturn

from pytest_bottle.backends.bubblewrap import staging
from pytest_bottle.backends.copying import copy_tree

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping

STOP_DEADLINE: Final = 5.0
"""Seconds until every process of the source has to have stopped."""

_CALM: Final = 2
"""Looks in a row at which all has to stand still: a look takes a while, and one thread of a process
may start another process while the rest of it stops."""

_OWN: Final = ("etc/hostname", "etc/hosts")
"""What bwrap wrote into the sandbox's root that names this sandbox."""

_DONE: Final = b"done"
_GO: Final = b"go"
_WORDS: Final = 4096
_STOPPED: Final = frozenset("TtZX")


class CarryError(Exception):
    """The files could not be carried over; the message says why."""


class Carrier:
    """The process that carries files over, seen from those that wait for it.

    It is forked by the process that becomes bwrap, when that has mounted the stage and may still
    read and write everything; the keeper asks it for the second step.
    """

    def __init__(self, source: Mapping[str, Any]) -> None:
        """Prepare for a source.

        Args:
            source: `outer`, the pid of its bwrap; `init` and `keeper`, pids; `still`, whether
                nothing runs in it; `trees`, where its overlays are; `owner`, its uid and gid.
        """
        self._source = source
        self._ours, self._theirs = socket.socketpair()
        self._stage = -1

    def look(self) -> None:
        """Open the source's stage, which takes the user who made it, outside of any namespace.

        Raises:
            CarryError: it is gone, or somebody else's.
        """
        path = f"/proc/{self._source['outer']}/root{staging.PLACE}"
        try:
            self._stage = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as problem:
            message = f"the files of the sandbox to branch cannot be reached: {problem}"
            raise CarryError(message) from problem

    def start(self, trees: Iterable[Mapping[str, Any]], owner: tuple[int, int]) -> None:
        """Fork the process, in the mount namespace with the new stage.

        Args:
            trees: The new sandbox's, each with its `target`.
            owner: The uid and gid of the new sandbox's user.
        """
        place = os.open(staging.PLACE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if os.fork() == 0:
            _carry(self._source, self._stage, place, self._theirs, trees, owner)
        os.close(place)
        os.close(self._stage)
        self._theirs.close()

    def waiting(self) -> None:
        """Say that another process forks it, so that this one sees its end."""
        self._theirs.close()

    def step(self) -> None:
        """Have it take its next step, and wait for that.

        Raises:
            CarryError: it could not.
        """
        try:
            self._ours.sendall(_GO)
            words = self._ours.recv(_WORDS)
        except OSError as problem:
            words = str(problem).encode()
        if words != _DONE:
            reason = words.decode(errors="replace") or "the process that copies them was killed"
            message = f"files could not be carried over: {reason}"
            raise CarryError(message)


def _carry(
    source: Mapping[str, Any],
    stage: int,
    place: int,
    control: socket.socket,
    trees: Iterable[Mapping[str, Any]],
    owner: tuple[int, int],
) -> NoReturn:
    """Be that process; never returns."""
    kept = sorted({stage, place, control.fileno()})
    stopped: list[int] = []
    try:
        # Others wait for the ends of the pipes that it was forked with.
        for low, high in zip([-1, *kept], [*kept, 65_536], strict=True):
            os.closerange(low + 1, high)
        uid, gid = source["owner"]
        owners = {(uid, gid): owner}
        numbers = {target: number for number, target in enumerate(source["trees"])}
        if control.recv(_WORDS) == _GO:
            if not source["still"]:
                fcntl.flock(stage, fcntl.LOCK_EX)  # Let go of with this process.
                _stop(source, stopped)
            for number, tree in enumerate(trees):
                if tree["target"] in numbers:
                    _copy(
                        stage, f"{numbers[tree['target']]}-upper", place, f"{number}-upper", owners
                    )
            control.sendall(_DONE)
            if control.recv(_WORDS) == _GO:
                _copy(stage, "root", place, "root", owners, _OWN)
                _continue(stopped)
                control.sendall(_DONE)
    except OSError as problem:
        _continue(stopped)
        control.send(str(problem).encode())
    finally:
        _continue(stopped)
        os._exit(0)


def _copy(
    stage: int,
    source: str,
    place: int,
    target: str,
    owners: Mapping[tuple[int, int], tuple[int, int]],
    spared: tuple[str, ...] = (),
) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    read = os.open(source, flags, dir_fd=stage)
    write = os.open(target, flags, dir_fd=place)
    copy_tree(read, write, owners=owners, spared=spared)
    os.close(read)
    os.close(write)


def _stop(source: Mapping[str, Any], stopped: list[int]) -> None:
    """Stop everything in the source, and its keeper, which would start more.

    Args:
        source: See `Carrier`.
        stopped: Gets the pids of what ran until now, before they are told to stop.

    Raises:
        TimeoutError: something did not stop.
    """
    deadline = time.monotonic() + STOP_DEADLINE
    known: set[int] = set()
    calm = 0
    while calm < _CALM:
        found = _processes(source["keeper"], source["init"])
        found.pop(source["init"], None)  # It only waits, and its end would be the sandbox's.
        running = [pid for pid, state in found.items() if state not in _STOPPED]
        for pid in running:
            if pid not in known:
                known.add(pid)
                stopped.append(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)  # Again, where another of them made it go on.
        calm = 0 if running else calm + 1
        if running and time.monotonic() > deadline:
            message = f"process {running[0]} of the sandbox does not stop"
            raise TimeoutError(message)


def _continue(stopped: list[int]) -> None:
    while stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped.pop(), signal.SIGCONT)


def _processes(keeper: int, init: int) -> dict[int, str]:
    """Return the keeper and all that runs in the sandbox, with its states.

    All that is below the keeper, but for those of its helpers that are in the host's own
    namespace of processes.
    """
    parents: dict[int, tuple[int, str]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with pathlib.Path(f"/proc/{name}/stat").open("rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except OSError:
                continue
            parents[int(name)] = (int(parent), state.decode())
    below = {keeper}
    for pid in parents:
        line = []
        above = pid
        while above in parents and above not in below:
            line.append(above)
            above = parents[above][0]
        if above in below:
            below.update(line)
    depth = _depth(init)
    inside = [pid for pid in below if pid == keeper or (pid in parents and _depth(pid) == depth)]
    return {pid: parents[pid][1] for pid in inside if pid in parents}


def _depth(pid: int) -> int:
    """Return in how many namespaces of processes one is, as seen from here; 0 where it is gone."""
    try:
        with pathlib.Path(f"/proc/{pid}/status").open("rb") as file:
            for line in file:
                if line.startswith(b"NSpid:"):
                    return len(line.split()) - 1
    except OSError:
        return 0
    return 0
