"""A process that waits inside a sandbox's control groups, for commands to be forked from it.

Moving a process into a control group makes the kernel wait for every CPU to have been idle or in
user mode once: 8 ms and more where nothing else was moved lately, for each command. The zygote is
moved once, while bwrap starts, and what it forks is in the groups from its first instruction.

Its children are the keeper's (CLONE_PARENT), so it only forks. It shares the keeper's namespaces:
the guest can neither see nor signal it. Where it cannot fork, since the groups are full, or where
the kernel killed it for their memory, the keeper forks the command itself and moves it.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING
from typing import Any
from typing import NoReturn

from pytest_bottle.backends.bubblewrap import namespaces
from pytest_bottle.backends.bubblewrap.messages import receive
from pytest_bottle.backends.bubblewrap.messages import send
from pytest_bottle.backends.channel.command import become_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence


class Zygote:
    """The keeper's end."""

    def __init__(
        self,
        cgroup_fds: Sequence[int],
        workdir: str,
        enter: Callable[[], None],
    ) -> None:
        """Fork it and have it move into the groups.

        Args:
            cgroup_fds: Open `cgroup.procs` files.
            workdir: The guest's working directory.
            enter: Drops, in a command, what a guest must not have.
        """
        keeper = os.getpid()
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _serve(keeper, theirs, cgroup_fds, workdir, enter)
        theirs.close()
        self._control = ours

    def join(self, pidfd: int) -> None:
        """Have it join the sandbox's namespaces; it does so before it forks."""
        send(self._control, {}, [pidfd])

    def fork(self, request: dict[str, Any], report: int, streams: tuple[int, int, int]) -> int:
        """Have it fork a command; return the command's pid.

        Raises:
            OSError: it cannot.
        """
        send(self._control, request, [report, *streams])
        answer = receive(self._control)
        if answer is None:
            raise BrokenPipeError
        reply, _ = answer
        if reply["errno"]:
            raise OSError(reply["errno"], os.strerror(reply["errno"]))
        return int(reply["pid"])


def _serve(
    keeper: int,
    control: socket.socket,
    cgroup_fds: Sequence[int],
    workdir: str,
    enter: Callable[[], None],
) -> NoReturn:
    try:
        namespaces.die_with_parent(keeper)
        for fd in cgroup_fds:
            os.write(fd, b"0")
        first = receive(control)
        if first is None:
            os._exit(0)
        namespaces.join(first[1][0])
        namespaces.die_with_parent(keeper)
        namespaces.hide()
        while (received := receive(control)) is not None:
            request, fds = received
            _fork(control, request, fds, workdir, enter)
            for fd in fds:
                os.close(fd)
    finally:
        os._exit(0)


def _fork(
    control: socket.socket,
    request: dict[str, Any],
    fds: list[int],
    workdir: str,
    enter: Callable[[], None],
) -> None:
    try:
        pid = namespaces.fork_sibling()
    except OSError as problem:
        send(control, {"pid": 0, "errno": problem.errno})
        return
    if pid == 0:
        become_command(request, workdir, enter, fds[0], (fds[1], fds[2], fds[3]))
    send(control, {"pid": pid, "errno": 0})
