"""The program that makes bubblewrap sandboxes and enters them, one small process for each.

A pytest worker starts one broker and asks it, over a unix socket, for sandboxes. For each the
broker forks a keeper. The keeper gives up root, starts bwrap, joins the new namespaces (but for the
pid namespace, into which only its children are born: the guest can neither see nor signal it), and
serves the exec channel. Forking from this small single-threaded process, and not from the worker,
is what makes a command quick, and what lets `PR_SET_PDEATHSIG` follow a process and not a thread.

Whichever dies, everything under it dies: worker, broker, keeper, bwrap, guest. A keeper that was
told to detach is tied to no parent any more.

Nothing here may be imported late: see `namespaces`.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any
from typing import Final
from typing import NoReturn

from pytest_bottle.backends.bubblewrap import namespaces
from pytest_bottle.backends.bubblewrap import staging
from pytest_bottle.backends.bubblewrap.carrying import Carrier
from pytest_bottle.backends.bubblewrap.carrying import CarryError
from pytest_bottle.backends.bubblewrap.messages import receive
from pytest_bottle.backends.bubblewrap.messages import send
from pytest_bottle.backends.bubblewrap.zygote import Zygote
from pytest_bottle.backends.channel.server import Server

READY_TIMEOUT: Final = 20.0
"""Seconds from bwrap's start until the guest's first process runs."""

INIT_SCRIPT: Final = (
    "echo ready; read go || exit; exec >/dev/null 2>&1 </dev/null; trap 'exec sleep 2147483' EXIT; "
    "while :; do sleep 2147483 & wait; done"
)
"""The guest's first process. Where its keeper died before bwrap had tied it to it, which bwrap does
last, nobody says go and it ends. It reaps orphans while it waits, also after a guest has killed its
child. Where a full pids limit refuses it a new one, it turns into a sleep, which needs no fork."""


def serve(control: socket.socket) -> None:
    """Take launch requests until the worker has gone; every keeper dies with this process."""
    keepers: set[int] = set()
    broker = os.getpid()
    # The socket alone would not tell: children of the worker may have inherited its other end.
    worker = os.pidfd_open(os.getppid())
    while True:
        ready, _, _ = select.select([control.fileno(), worker], [], [])
        if worker in ready:
            break
        request = receive(control)
        _reap(keepers)
        if request is None:
            break
        message, fds = request
        pid = os.fork()
        if pid == 0:
            control.close()
            _keep(broker, message, fds)
        keepers.add(pid)
        for fd in fds:
            os.close(fd)
        if message["stage"] is not None and message["uid"] is not None:
            staging.foresee(message["stage"], (message["uid"] + 1, message["gid"] + 1))


def _reap(keepers: set[int]) -> None:
    for pid in list(keepers):
        if os.waitpid(pid, os.WNOHANG)[0]:
            keepers.discard(pid)


def _keep(broker: int, message: dict[str, Any], fds: list[int]) -> NoReturn:
    """Be the keeper of one sandbox; never returns."""
    code = 1
    try:
        # The answer goes over the sandbox's own channel, which ends where the keeper is killed.
        channel = socket.socket(fileno=os.dup(fds[0]))
        keeper = Keeper(message, fds)
        try:
            init = keeper.launch(broker)
        except (OSError, LaunchFailureError, CarryError) as problem:
            send(channel, {"error": str(problem)})
        else:
            send(channel, {"keeper": os.getpid(), "init": init, "outer": keeper.outer})
            channel.close()
            keeper.serve()
            code = 0
    finally:
        os._exit(code)


class LaunchFailureError(Exception):
    """The sandbox did not come up; the message is bwrap's own."""


class Keeper:
    """One sandbox: started, joined, served, ended.

    The request's keys: `bwrap` (path), `library_path`, `arguments` (bwrap's, in which `{fd:N}`
    stands for the Nth of `files`), `files` (texts), `stage` (what `staging` makes, or None),
    `source` (the sandbox to branch, as `Carrier` reads it, or None), `uid` and `gid` to become or
    None, `seccomp` (latin-1 text of the BPF program), `rlimits`, `env`,
    `workdir`, `listens` (whether the second descriptor is a listening socket). Descriptors: the
    channel, the listener if any, then the cgroups' `cgroup.procs`.
    """

    def __init__(self, request: dict[str, Any], fds: list[int]) -> None:
        """Sort the request's parts."""
        self._request = request
        self._channel = fds.pop(0)
        self._listener = fds.pop(0) if request["listens"] else None
        self._confinement = namespaces.Confinement(
            request["seccomp"].encode("latin-1"),
            [(int(kind), int(limit)) for kind, limit in request["rlimits"]],
            fds,
        )
        self._zygote: Zygote | None = None
        self._carrier = Carrier(request["source"]) if request["source"] else None
        self._bwrap = 0
        self._init_pidfd = -1

    @property
    def outer(self) -> int:
        """The pid of bwrap's outer process, which sees the stage."""
        return self._bwrap

    def launch(self, broker: int) -> int:
        """Bring the sandbox up and join it; return its first process's pid on the host."""
        os.setsid()
        keeper = os.getpid()
        gate, go = os.pipe()
        info, info_write = os.pipe()
        out, out_write = os.pipe()
        err, err_write = os.pipe()
        self._bwrap = os.fork()
        if self._bwrap == 0:
            self._become_bwrap(keeper, gate, info_write, out_write, err_write)
        if self._carrier is not None:
            self._carrier.waiting()
        self._give_up_root()
        for fd in (gate, info_write, out_write, err_write):
            os.close(fd)
        if self._confinement.cgroup_fds:  # Meanwhile, as bwrap takes its time.
            self._zygote = Zygote(
                self._confinement.cgroup_fds, self._request["workdir"], self._confinement.enter
            )
        self._wait_ready(out, err)
        if self._carrier is not None:
            self._carrier.step()
        os.write(go, b"go\n")
        init = int(json.loads(os.read(info, 4096).decode())["child-pid"])
        self._init_pidfd = os.pidfd_open(init)
        for fd in (go, info, out, err):
            os.close(fd)
        if self._zygote is not None:
            self._zygote.join(self._init_pidfd)
        namespaces.join(self._init_pidfd)
        # Only now: a bwrap that dies while it starts its child may leave that waiting for ever. And
        # joining a user namespace changes credentials, which clears both of these.
        namespaces.die_with_parent(broker)
        namespaces.hide()
        os.chdir("/")
        return init

    def _give_up_root(self) -> None:
        if self._request["uid"] is not None:
            try:
                namespaces.become(self._request["uid"], self._request["gid"])
            except OSError as problem:
                message = f"root cannot become another user here: {problem}"
                raise LaunchFailureError(message) from problem

    def _mount_and_give_up_root(self, stage: dict[str, Any]) -> set[int]:
        """Mount the stage as root, who can give files away, or else as an ordinary user does."""
        uid, gid = self._request["uid"], self._request["gid"]
        if uid is not None:
            try:
                given = staging.mount(stage, (uid, gid))
            except staging.StagingError:
                self._give_up_root()
            else:
                if self._carrier is not None:
                    self._carrier.look()
                    self._carrier.start(stage["trees"], (uid, gid))
                self._give_up_root()
                return given
        if self._carrier is not None:
            self._carrier.look()  # Which the namespaces that follow would keep it from.
        given = staging.mount(stage, None)
        if self._carrier is not None:
            self._carrier.start(stage["trees"], (os.getuid(), os.getgid()))
        return given

    def _become_bwrap(self, keeper: int, gate: int, info: int, out: int, err: int) -> NoReturn:
        stage = self._request["stage"]
        try:
            os.dup2(gate, 0)
            os.dup2(out, 1)
            os.dup2(err, 2)
            given: set[int] = set()
            if stage is None:
                self._give_up_root()
            else:
                given = self._mount_and_give_up_root(stage)
            # As bwrap itself does, but only when it has been at work for a while. Becoming another
            # user would clear it.
            namespaces.die_with_parent(keeper)
            if stage is not None:
                staging.fill(stage, given)
            if self._carrier is not None:
                self._carrier.step()
            files = [_memory_file(text.encode()) for text in self._request["files"]]
            os.set_inheritable(info, True)
            arguments = ["--info-fd", str(info)]
            if self._request["seccomp"]:
                program = _memory_file(self._request["seccomp"].encode("latin-1"))
                arguments += ["--seccomp", str(program)]
            for argument in self._request["arguments"]:
                if argument.startswith("{fd:"):
                    arguments.append(str(files[int(argument[4:-1])]))
                else:
                    arguments.append(argument)
            # By descriptor, so that the guest's /proc/1/cmdline shows no path of the host.
            listed = _memory_file(b"\0".join(os.fsencode(a) for a in arguments) + b"\0")
            argv = ["bwrap", "--args", str(listed), "--", "/bin/sh", "-c", INIT_SCRIPT]
            env = {"PATH": self._request["env"]["PATH"]}
            if self._request["library_path"]:
                env["LD_LIBRARY_PATH"] = self._request["library_path"]
            os.execve(self._request["bwrap"], argv, env)
        except (LaunchFailureError, staging.StagingError, CarryError) as problem:
            os.write(2, str(problem).encode())
        except OSError as problem:
            os.write(2, f"{self._request['bwrap']}: {problem}\n".encode())
        finally:
            os._exit(127)

    def _wait_ready(self, out: int, err: int) -> None:
        ready, _, _ = select.select([out], [], [], READY_TIMEOUT)
        if ready and os.read(out, 64):
            return
        if not ready:
            os.kill(self._bwrap, signal.SIGKILL)
        os.waitpid(self._bwrap, 0)
        os.set_blocking(err, False)
        try:
            words = os.read(err, 8192).decode(errors="replace").strip()
        except BlockingIOError:
            words = ""
        if not ready:
            words = f"no first process after {READY_TIMEOUT:g} s. {words}"
        raise LaunchFailureError(words or "bwrap ended without a word")

    def serve(self) -> None:
        """Serve the channel until told to quit or left alone; then end the sandbox."""
        server = Server(
            self._request["env"],
            self._request["workdir"],
            enter=self._move_and_enter,
            fork=self._fork,
            kill_here=False,
            detached=namespaces.outlive_parent,
            lives=_can_fork,
            left=lambda pid, _status: pid == self._bwrap,
        )
        server.connect(self._channel, self._channel)
        if self._listener is not None:
            server.listen(socket.socket(fileno=self._listener))
        server.reap(None, 0)  # Of a death before this, the server was not told.
        try:
            server.serve()
        finally:
            self.end()

    def _fork(
        self, request: dict[str, Any], report: int, streams: tuple[int, int, int]
    ) -> int | None:
        """Fork a command where it is in the control groups already; None where that fails."""
        if self._zygote is None:
            return None
        try:
            return self._zygote.fork(request, report, streams)
        except OSError:
            return None

    def _move_and_enter(self) -> None:
        """Move into the control groups, and put on the rest."""
        for fd in self._confinement.cgroup_fds:
            os.write(fd, b"0")
        self._confinement.enter()

    def end(self) -> None:
        """Kill the guest's first process, and wait until the kernel has ended all others."""
        try:
            signal.pidfd_send_signal(self._init_pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return
        # Its end waits until running commands are reaped, which are children of this process.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            pass
        select.select([self._init_pidfd], [], [], 10)


def _can_fork() -> bool:
    """Tell whether the pid namespace that children are born in still has its first process."""
    try:
        pid = os.fork()
    except OSError as problem:
        return problem.errno != errno.ENOMEM
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


def _memory_file(data: bytes) -> int:
    """Return an inheritable descriptor from which the data can be read."""
    fd = os.memfd_create("bottle", 0)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def main() -> None:
    """Serve on the socket whose descriptor is the first argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Every keeper and command is forked from here: unmoved memory stays shared and quick to fork.
    gc.collect()
    gc.freeze()
    gc.disable()
    serve(control)
