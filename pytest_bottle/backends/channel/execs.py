"""Commands of the exec channel: started, fed, read, killed, and reported as ended.

It is a part of the program that `program.py` sends to guests: see there for its limits.
"""

from __future__ import annotations

import errno
import json
import os
import selectors

from pytest_bottle.backends.channel.command import become_command
from pytest_bottle.backends.channel.connections import CHUNK
from pytest_bottle.backends.channel.connections import HIGH_WATER
from pytest_bottle.backends.channel.connections import Connection
from pytest_bottle.backends.channel.connections import Connections
from pytest_bottle.backends.channel.frames import DONE
from pytest_bottle.backends.channel.frames import FAILED
from pytest_bottle.backends.channel.frames import STDERR
from pytest_bottle.backends.channel.frames import STDOUT
from pytest_bottle.backends.channel.killing import kill_tree
from pytest_bottle.backends.channel.killing import new_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PIPE_LIMIT = 1024 * 1024  # The kernel's default for fs.pipe-max-size.


class Exec:
    """One running command, with the pipes to it."""

    def __init__(
        self, connection: Connection, number: int, pid: int, guest_pid: int, mark: int
    ) -> None:
        self.connection = connection
        self.number = number
        self.pid = pid
        self.guest_pid = guest_pid
        self.mark = mark
        self.stdin_fd: int | None = None
        self.stdin = bytearray()
        self.stdin_ended = False
        self.outputs: dict[int, bytes] = {}
        self.status: int | None = None


class Execs(Connections):
    """Runs what clients ask for; when it looks for the dead is for a subclass to say.

    Args:
        enter: called in the child just before the command replaces it: drops what a guest must
            not have.
        fork: asked first to fork a command, from its request, the descriptor to report to and its
            standard streams; it returns None where it does not.
        kill_here: whether this process shares the guest's process ids; where not, killing is done
            by a short-lived child that does.
    """

    def __init__(
        self,
        env: dict[str, str],
        workdir: str,
        *,
        enter: Callable[[], None],
        fork: Callable[[dict[str, Any], int, tuple[int, int, int]], int | None],
        kill_here: bool,
    ) -> None:
        super().__init__()
        self.env = env
        self.workdir = workdir
        self.enter = enter
        self.fork = fork
        self.kill_here = kill_here
        self.execs: dict[tuple[Connection, int], Exec] = {}

    def dropped(self, connection: Connection) -> None:
        for command in [c for (owner, _), c in self.execs.items() if owner is connection]:
            self.kill(command)

    def spawn(self, connection: Connection, number: int, request: dict[str, Any]) -> None:
        """Start a command; its first words on the report pipe are its pid or why it failed."""
        mark = new_mark()
        env = dict(self.env)
        try:
            account, own = self.account_of(request["user"])
        except KeyError:
            self.fail(connection, number, "user", errno.EINVAL)
            return
        env.update(own)
        env.update(request["env"])
        command_line = dict(request, env=env, mark=mark, account=account)
        ours: list[int] = []
        theirs: list[int] = []
        try:
            self.open_streams(ours, theirs, stdin=request["stdin"])
            streams = (theirs[3], theirs[1], theirs[2])
            pid = self.fork(command_line, theirs[0], streams) or self.fork_here(
                command_line, theirs[0], streams
            )
        except OSError as problem:
            for fd in ours + theirs:
                os.close(fd)
            self.fail(connection, number, "fork", problem.errno or 0)
            return
        for fd in theirs:
            os.close(fd)
        words = self.read_report(ours[0])
        os.close(ours.pop(0))
        guest_pid, _, failure = words.partition(b"\n")
        if failure or not guest_pid:
            for fd in ours:
                os.close(fd)
            os.waitpid(pid, 0)
            stage, code = failure.decode().split() if failure else ("start", "0")
            self.fail(connection, number, stage, int(code))
            return
        command = Exec(connection, number, pid, int(guest_pid), mark)
        self.execs[connection, number] = command
        for fd, kind in zip(ours, (STDOUT, STDERR)):  # noqa: B905 - not in Python 3.7
            command.outputs[fd] = kind
            self.selector.register(fd, selectors.EVENT_READ, (self.output, (command, fd)))
        if request["stdin"]:
            command.stdin_fd = ours[2]
        for fd in ours:
            os.set_blocking(fd, False)

    def account_of(
        self, _user: str | None
    ) -> tuple[tuple[int, int, list[int]] | None, dict[str, str]]:
        """Return what `become_user` takes for a user, and that one's variables.

        None is the sandbox's own user, and here the only one: the one that this process is.

        Raises:
            KeyError: there is no such user.
        """
        return None, {}

    @staticmethod
    def open_streams(ours: list[int], theirs: list[int], *, stdin: bool) -> None:
        """Append both ends of report, stdout, stderr and stdin; the last is /dev/null if not asked.

        What was opened before one fails is in the lists.
        """
        for _ in range(3):
            read_fd, write_fd = os.pipe()
            ours.append(read_fd)
            theirs.append(write_fd)
        if stdin:
            read_fd, write_fd = os.pipe()
            ours.append(write_fd)
            theirs.append(read_fd)
        else:
            theirs.append(os.open(os.devnull, os.O_RDONLY))

    def fork_here(self, request: dict[str, Any], report: int, streams: tuple[int, int, int]) -> int:
        """Fork a child of this process that becomes the command; return its pid."""
        pid = os.fork()
        if pid == 0:
            become_command(request, self.workdir, self.enter, report, streams)
        return pid

    @staticmethod
    def read_report(fd: int) -> bytes:
        """Read the child's report, which ends when the command has replaced the child."""
        words = b""
        while True:
            data = os.read(fd, 256)
            if not data:
                return words
            words += data

    def fail(self, connection: Connection, number: int, stage: str, code: int) -> None:
        payload = {"stage": stage, "errno": code, "workdir": self.workdir}
        self.send(connection, FAILED, number, json.dumps(payload).encode())

    def feed(self, command: Exec, _mask: int) -> None:
        """Write what the command's stdin takes now; watch it while more is to come."""
        fd = command.stdin_fd
        if fd is None:
            command.stdin.clear()
            return
        try:
            while command.stdin:
                done = os.write(fd, memoryview(command.stdin)[:CHUNK])
                del command.stdin[:done]
            waiting = False
        except BlockingIOError:
            waiting = True
        except OSError:  # The command has closed its stdin, which is its right.
            command.stdin.clear()
            command.stdin_ended = True
            waiting = False
        registered = fd in self.selector.get_map()
        if waiting and not registered:
            self.selector.register(fd, selectors.EVENT_WRITE, (self.feed, command))
        elif not waiting:
            if registered:
                self.selector.unregister(fd)
            if command.stdin_ended:
                os.close(fd)
                command.stdin_fd = None

    def output(self, where: tuple[Exec, int], _mask: int) -> None:
        """Pass on what a command wrote; drop it once its exec is over."""
        command, fd = where
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        if not data:
            self.close_output(command, fd)
        elif command.status is None:
            connection = command.connection
            self.send(connection, command.outputs[fd], command.number, data)
            if self.congested(connection) and fd in self.selector.get_map():
                self.selector.unregister(fd)

    def congested(self, connection: Connection) -> bool:
        """Tell whether a client has to take some of what was sent before it is sent more."""
        return len(connection.outgoing) > HIGH_WATER

    def resume(self, connection: Connection) -> None:
        """Read again from the commands that a slow client had stopped."""
        for (owner, _), command in self.execs.items():
            if owner is connection:
                for fd in command.outputs:
                    if fd not in self.selector.get_map():
                        entry = (self.output, (command, fd))
                        self.selector.register(fd, selectors.EVENT_READ, entry)

    def close_output(self, command: Exec, fd: int) -> None:
        if fd in self.selector.get_map():
            self.selector.unregister(fd)
        command.outputs.pop(fd, None)
        os.close(fd)

    def finish(self, command: Exec, status: int) -> None:
        """Report a command's end after the last of what it wrote itself.

        What its children write later is read and dropped, so that a daemon started by a command
        neither keeps the command from ending nor dies of a closed pipe.
        """
        for fd in list(command.outputs):
            try:
                # Not without end, as its children may write on: no pipe holds more than this.
                for _ in range(PIPE_LIMIT // CHUNK):
                    data = os.read(fd, CHUNK)
                    if not data:
                        self.close_output(command, fd)
                        break
                    self.send(command.connection, command.outputs[fd], command.number, data)
            except BlockingIOError:
                pass
        code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        command.status = code
        for fd in command.outputs:
            if fd not in self.selector.get_map():
                entry = (self.output, (command, fd))
                self.selector.register(fd, selectors.EVENT_READ, entry)
        if command.stdin_fd is not None:
            command.stdin_ended = True
            command.stdin.clear()
            self.feed(command, 0)
        self.execs.pop((command.connection, command.number), None)
        payload = json.dumps({"returncode": code}).encode()
        self.send(command.connection, DONE, command.number, payload)

    def kill(self, command: Exec) -> None:
        """Kill a command and everything that it started."""
        if self.kill_here:
            kill_tree(command.guest_pid, command.mark)
            return
        pid = os.fork()
        if pid == 0:
            try:
                kill_tree(command.guest_pid, command.mark)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
