"""The guest's end of the exec channel: runs commands and streams what they write.

One program serves every backend that can place a Python interpreter at the guest's door: a
container runs it as its first process, a bubblewrap broker runs it after joining the namespaces.
`frames.py` says what it speaks, and `client.py` has the other end.

It is a part of the program that `program.py` sends to guests: see there for its limits.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import selectors
import signal
import sys

from pytest_bottle.backends.channel.command import IGNORED_SIGNALS
from pytest_bottle.backends.channel.command import become_command
from pytest_bottle.backends.channel.connections import CHUNK
from pytest_bottle.backends.channel.connections import HIGH_WATER
from pytest_bottle.backends.channel.connections import Connection
from pytest_bottle.backends.channel.connections import Connections
from pytest_bottle.backends.channel.frames import DETACH
from pytest_bottle.backends.channel.frames import DONE
from pytest_bottle.backends.channel.frames import FAILED
from pytest_bottle.backends.channel.frames import HELLO
from pytest_bottle.backends.channel.frames import KILL
from pytest_bottle.backends.channel.frames import QUIT
from pytest_bottle.backends.channel.frames import SPAWN
from pytest_bottle.backends.channel.frames import STDERR
from pytest_bottle.backends.channel.frames import STDIN
from pytest_bottle.backends.channel.frames import STDIN_END
from pytest_bottle.backends.channel.frames import STDOUT
from pytest_bottle.backends.channel.killing import TAG
from pytest_bottle.backends.channel.killing import kill_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PIPE_LIMIT = 1024 * 1024  # The kernel's default for fs.pipe-max-size.


class Exec:
    """One running command, with the pipes to it."""

    def __init__(
        self, connection: Connection, number: int, pid: int, guest_pid: int, tag: str
    ) -> None:
        self.connection = connection
        self.number = number
        self.pid = pid
        self.guest_pid = guest_pid
        self.tag = tag
        self.stdin_fd: int | None = None
        self.stdin = bytearray()
        self.stdin_ended = False
        self.outputs: dict[int, bytes] = {}
        self.status: int | None = None


class Server(Connections):
    """Serves connections until it is told to quit, or until the last one ends.

    Args:
        enter: called in the child just before the command replaces it: drops what a guest must
            not have.
        fork: asked first to fork a command, from its request, the descriptor to report to and its
            standard streams; it returns None where it does not.
        kill_here: whether this process shares the guest's process ids; where not, killing is done
            by a short-lived child that does.
        detached: called when a client asks that the sandbox outlive it.
        lives: asked when a command was killed, whether the sandbox still lives; where not, the
            command has no end to report, and the server ends.
        left: called in this process when a child that is no exec of its own has ended, with its
            pid and wait status; returning True ends the server.
    """

    def __init__(
        self,
        env: dict[str, str],
        workdir: str,
        *,
        enter: Callable[[], None] = lambda: None,
        fork: Callable[[dict[str, Any], int, tuple[int, int, int]], int | None] = lambda *_: None,
        kill_here: bool = True,
        detached: Callable[[], None] | None = None,
        lives: Callable[[], bool] = lambda: True,
        left: Callable[[int, int], bool] | None = None,
    ) -> None:
        super().__init__()
        self.env = env
        self.workdir = workdir
        self.enter = enter
        self.fork = fork
        self.kill_here = kill_here
        self.on_detached = detached
        self.lives = lives
        self.left = left
        self.detached = False
        self.running = True
        self.identity = os.urandom(6).hex()
        self.execs: dict[tuple[Connection, int], Exec] = {}
        self.wakeup, wakeup_write = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(wakeup_write, False)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self.selector.register(self.wakeup, selectors.EVENT_READ, (self.reap, None))

    def hello(self) -> dict[str, object]:
        """Return the facts that a client wants first."""
        try:
            entry = pwd.getpwuid(os.getuid())
            name, home = entry.pw_name, entry.pw_dir
        except KeyError:
            name, home = str(os.getuid()), "/"
        home = self.env.get("HOME") or home
        return {"user": self.env.get("USER") or name, "uid": os.getuid(), "home": home}

    def serve(self) -> None:
        """Run until told to quit, or until no client is left that holds the sandbox."""
        while self.running and (self.connections or self.detached):
            for key, mask in self.selector.select():
                call, argument = key.data
                if argument is None or self.registered(key):
                    call(argument, mask)

    def greet(self, connection: Connection) -> None:
        self.send(connection, HELLO, 0, json.dumps(self.hello()).encode())

    def dropped(self, connection: Connection) -> None:
        for command in [c for (owner, _), c in self.execs.items() if owner is connection]:
            self.kill(command)

    def handle(self, connection: Connection, kind: bytes, number: int, payload: bytes) -> None:
        command = self.execs.get((connection, number))
        if kind == SPAWN:
            self.spawn(connection, number, json.loads(payload.decode()))
        elif kind == DETACH:
            self.detached = True
            if self.on_detached is not None:
                self.on_detached()
            self.send(connection, DETACH, number, b"")
        elif kind == QUIT:
            self.running = False
        elif command is None:
            return
        elif kind == STDIN:
            command.stdin += payload
            self.feed(command, 0)
        elif kind == STDIN_END:
            command.stdin_ended = True
            self.feed(command, 0)
        elif kind == KILL:
            self.kill(command)

    def spawn(self, connection: Connection, number: int, request: dict[str, Any]) -> None:
        """Start a command; its first words on the report pipe are its pid or why it failed."""
        tag = f"{self.identity}-{connection.read_fd}-{number}"
        env = dict(self.env)
        env.update(request["env"])
        env[TAG] = tag
        command_line = {"argv": request["argv"], "env": env, "cwd": request["cwd"]}
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
        command = Exec(connection, number, pid, int(guest_pid), tag)
        self.execs[connection, number] = command
        for fd, kind in zip(ours, (STDOUT, STDERR)):  # noqa: B905 - not in Python 3.7
            command.outputs[fd] = kind
            self.selector.register(fd, selectors.EVENT_READ, (self.output, (command, fd)))
        if request["stdin"]:
            command.stdin_fd = ours[2]
        for fd in ours:
            os.set_blocking(fd, False)

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
            if len(connection.outgoing) > HIGH_WATER and fd in self.selector.get_map():
                self.selector.unregister(fd)

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

    def reap(self, _argument: object, _mask: int) -> None:
        """Collect the dead: commands, and orphans where this is the guest's first process."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.wakeup, 512):
                continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for command in list(self.execs.values()):
                if command.pid == pid:
                    if is_kill(status) and not self.lives():
                        self.running = False
                        return
                    self.finish(command, status)
                    break
            else:
                if self.left is not None and self.left(pid, status):
                    self.running = False

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

    # Killing

    def kill(self, command: Exec) -> None:
        """Kill a command and everything that it started."""
        if self.kill_here:
            kill_tree(command.guest_pid, command.tag)
            return
        pid = os.fork()
        if pid == 0:
            try:
                kill_tree(command.guest_pid, command.tag)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)


def is_kill(status: int) -> bool:
    """Tell whether a wait status is of a death by SIGKILL."""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def hide() -> None:
    """Keep this process from being traced or read through /proc by the guest's other processes."""
    try:
        import ctypes  # noqa: PLC0415 - a guest's Python may lack it

        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    except (ImportError, OSError, AttributeError):
        pass


def main() -> None:
    """Serve on standard input and output."""
    settings = json.loads(sys.argv[1])
    hide()
    env = dict(os.environ)
    env.update(settings["env"])
    with contextlib.suppress(OSError):
        os.makedirs(settings["workdir"], exist_ok=True)
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    server = Server(env, settings["workdir"])
    server.connect(read_fd, write_fd)
    server.serve()
    for command in list(server.execs.values()):
        server.kill(command)


if __name__ == "__main__":
    main()
