"""The guest's end of the exec channel: runs commands and streams what they write.

One program serves every backend that can place a Python interpreter at the guest's door: a
container runs it as its first process, a bubblewrap broker runs it after joining the namespaces.
`frames.py` says what it speaks, and `client.py` has the other end.

It is a part of the program that `program.py` sends to guests: see there for its limits.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import selectors
import signal
import sys

from pytest_bottle.backends.channel.command import IGNORED_SIGNALS
from pytest_bottle.backends.channel.connections import Connection  # noqa: TC001 - is stripped
from pytest_bottle.backends.channel.execs import Exec
from pytest_bottle.backends.channel.execs import Execs
from pytest_bottle.backends.channel.frames import DETACH
from pytest_bottle.backends.channel.frames import HELLO
from pytest_bottle.backends.channel.frames import KILL
from pytest_bottle.backends.channel.frames import LISTEN
from pytest_bottle.backends.channel.frames import QUIT
from pytest_bottle.backends.channel.frames import SPAWN
from pytest_bottle.backends.channel.frames import STDIN
from pytest_bottle.backends.channel.frames import STDIN_END
from pytest_bottle.backends.channel.listeners import hand_over
from pytest_bottle.backends.channel.listeners import open_listener
from pytest_bottle.backends.channel.relays import Relays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Server(Execs):
    """Serves connections until it is told to quit, or until the last one ends.

    Args:
        enter, fork, kill_here: see `Execs`.
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
        super().__init__(env, workdir, enter=enter, fork=fork, kill_here=kill_here)
        self.relays = Relays(self)
        self.on_detached = detached
        self.lives = lives
        self.left = left
        self.detached = False
        self.running = True
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

    def handle(self, connection: Connection, kind: bytes, number: int, payload: bytes) -> None:
        if kind == SPAWN:
            self.spawn(connection, number, json.loads(payload.decode()))
        elif kind == LISTEN:
            self.open_door(connection, number, json.loads(payload.decode()))
        elif kind == DETACH:
            self.detached = True
            if self.on_detached is not None:
                self.on_detached()
            self.send(connection, DETACH, number, b"")
        elif kind == QUIT:
            self.running = False
        elif (connection, number) in self.execs and kind in (STDIN, STDIN_END, KILL):
            self.steer(self.execs[connection, number], kind, payload)
        else:
            self.relays.handle(connection, kind, number, payload)

    def steer(self, command: Exec, kind: bytes, payload: bytes) -> None:
        """Do what a frame about a running command says."""
        if kind == STDIN:
            command.stdin += payload
            self.feed(command, 0)
        elif kind == STDIN_END:
            command.stdin_ended = True
            self.feed(command, 0)
        elif kind == KILL:
            self.kill(command)

    def open_door(self, connection: Connection, number: int, request: dict[str, Any]) -> None:
        """Listen, and hand the listening socket over or carry what connects to it."""
        port, backlog = request["port"], request["backlog"]
        stage = "bind"
        try:
            if request["relay"]:
                self.relays.listen(connection, port, backlog)
            else:
                with open_listener(port, backlog) as listener:
                    stage = "hand over"
                    if request["path"] is None:
                        connection.carry(listener.fileno())
                    else:
                        hand_over(listener.fileno(), request["path"], request["token"].encode())
        except OSError as problem:
            self.fail(connection, number, stage, problem.errno or errno.EAGAIN)
        else:
            self.send(connection, LISTEN, number, b"{}")

    def resume(self, connection: Connection) -> None:
        super().resume(connection)
        self.relays.resume(connection)

    def dropped(self, connection: Connection) -> None:
        super().dropped(connection)
        self.relays.dropped(connection)

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
