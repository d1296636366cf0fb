"""The guest's part in a microVM: the exec channel's server, as a daemon that outlives its clients.

It is started once by a command that ends, so that nothing of the host's holds it; further commands
connect their standard streams to it (`guest_bridge.py`). It is root's, the first process of a
process id namespace of its own: no guest can kill it, and it reaps what others leave behind.
Commands run as the bottle's user. A branch of the machine has a copy of it that goes on serving.

It is a part of the program that `channel/program.py` sends to guests: see there for its limits.
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
import socket
import struct

from pytest_bottle.backends.channel.connections import Connection  # noqa: TC001 - is stripped
from pytest_bottle.backends.channel.frames import ALONE
from pytest_bottle.backends.channel.frames import QUIT
from pytest_bottle.backends.channel.frames import STDERR
from pytest_bottle.backends.channel.frames import STDOUT
from pytest_bottle.backends.channel.frames import TAKEN
from pytest_bottle.backends.channel.server import Server
from pytest_bottle.backends.channel.server import hide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18

CGROUPS = "/sys/fs/cgroup"
OWN_GROUP = CGROUPS + "/pytest-bottle"

NOT_PASSED_ON = ("_", "OLDPWD", "PWD", "SHLVL", "SMOLVM_FORKABLE", "TERM")
"""Variables of the command that starts the server, which are not the image's."""

CREDENTIALS = struct.Struct("3i")
"""What SO_PEERCRED gives: pid, uid and gid."""

BACKLOG = 64

OUTPUT_WINDOW = 1024 * 1024
"""Bytes of output that may be on their way to a client. The engine's agent keeps what it cannot
pass on, without a bound: a command that writes without end would take the machine's memory."""


class MachineServer(Server):
    """Serves root's clients on a socket that has a name but no file; commands run as any user."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.account = find_account(settings["user"])
        inherited = {name: os.environ[name] for name in os.environ if name not in NOT_PASSED_ON}
        own = {"LANG": "C.UTF-8", **inherited, **variables_of(self.account), **settings["env"]}
        super().__init__(own, settings["workdir"], enter=become_ordinary)
        self.detached = True
        self.unacknowledged: dict[Connection, int] = {}

    def hello(self) -> dict[str, object]:
        return {
            "user": self.env["USER"],
            "uid": self.account.pw_uid,
            "home": self.env["HOME"],
            "acknowledge": True,
        }

    def account_of(
        self, user: str | None
    ) -> tuple[tuple[int, int, list[int]] | None, dict[str, str]]:
        if user is None:
            return identity_of(self.account), {}
        account = find_account(user)
        own = {} if account.pw_uid == self.account.pw_uid else variables_of(account)
        return identity_of(account), own

    def handle(self, connection: Connection, kind: bytes, number: int, payload: bytes) -> None:
        if kind == QUIT:  # Who is done with the machine deletes it.
            self.disconnect(connection)
            return
        if kind == ALONE:
            for other in self.connections - {connection}:
                self.disconnect(other)
            return
        if kind == TAKEN and number == 0:
            known = self.unacknowledged.get(connection, 0)
            self.unacknowledged[connection] = max(0, known - int.from_bytes(payload, "big"))
            self.resume(connection)
            return
        super().handle(connection, kind, number, payload)

    def send(self, connection: Connection, kind: bytes, number: int, payload: bytes) -> None:
        if kind in (STDOUT, STDERR) and connection in self.connections:
            known = self.unacknowledged.get(connection, 0)
            self.unacknowledged[connection] = known + len(payload)
        super().send(connection, kind, number, payload)

    def congested(self, connection: Connection) -> bool:
        waiting = self.unacknowledged.get(connection, 0)
        return waiting > OUTPUT_WINDOW or super().congested(connection)

    def resume(self, connection: Connection) -> None:
        if not self.congested(connection):
            super().resume(connection)

    def dropped(self, connection: Connection) -> None:
        super().dropped(connection)
        self.unacknowledged.pop(connection, None)

    def accept(self, listener: socket.socket, _mask: int) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        size = CREDENTIALS.size
        peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        if CREDENTIALS.unpack(peer)[1] != 0:
            client.close()
            return
        fd = client.detach()
        self.connect(fd, fd)


def find_account(user: str) -> pwd.struct_passwd:
    """Return a user of the guest's, by name, or by a uid that need not have a name.

    Raises:
        KeyError: there is no such user.
    """
    name, _, group = user.partition(":")
    try:
        found = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        if not name.isdigit():
            raise
        gid = int(group) if group.isdigit() else int(name)
        found = pwd.struct_passwd((name, "x", int(name), gid, "", "/", "/bin/sh"))
    if group:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        found = pwd.struct_passwd((*found[:3], gid, *found[4:]))
    return found


def identity_of(account: pwd.struct_passwd) -> tuple[int, int, list[int]]:
    """Return what `become_user` takes."""
    return account.pw_uid, account.pw_gid, os.getgrouplist(account.pw_name, account.pw_gid)


def variables_of(account: pwd.struct_passwd) -> dict[str, str]:
    """Return what a login of that user would have in its environment."""
    name = account.pw_name
    return {"HOME": account.pw_dir or "/", "USER": name, "LOGNAME": name, "SHELL": "/bin/sh"}


def separate() -> None:
    """Have the next child be the first process of a space of its own, and mounts be private."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWPID | CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), "mount /")


def mount_proc() -> None:
    """Show the processes of this space."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    if libc.mount(b"proc", b"/proc", b"proc", flags, None) != 0:
        raise OSError(ctypes.get_errno(), "mount /proc")


def bound_shared_memory(limits: dict[str, str]) -> None:
    """Let files in /dev/shm take half of the memory, in this process's own mounts.

    They are nobody's that could be killed: with all of it in files, not even the server goes on.
    """
    limit = limits.get("memory.max", "")
    if limit.isdigit():
        libc = ctypes.CDLL(None, use_errno=True)
        options = b"mode=1777,size=%d" % (int(limit) // 2)
        libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", MS_NOSUID | MS_NODEV, options)


def confine(limits: dict[str, str]) -> None:
    """Put this process, and all that it will start, into a control group with these limits.

    The engine's own agent stays outside: what a bottle takes too much of does not end it.
    """
    for controller in ("memory", "pids", "cpu"):
        with contextlib.suppress(OSError):
            write(CGROUPS + "/cgroup.subtree_control", "+" + controller)
    with contextlib.suppress(FileExistsError):
        os.mkdir(OWN_GROUP)
    for name, value in limits.items():
        with contextlib.suppress(OSError):  # Not every kernel has every controller.
            write(f"{OWN_GROUP}/{name}", value)
    write(OWN_GROUP + "/cgroup.procs", "0")


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def become_ordinary() -> None:
    """Let a command be killed where memory is short, unlike the server."""
    write("/proc/self/oom_score_adj", "0")


def make_workdir(path: str, account: pwd.struct_passwd) -> None:
    os.makedirs(path, exist_ok=True)
    os.chown(path, account.pw_uid, account.pw_gid)
    os.chmod(path, 0o755)  # noqa: S103 - as directories are


def serve(settings: dict[str, Any], report: int) -> None:
    """Serve as the first process; `report` gets the word `ready`, or what went wrong."""
    try:
        mount_proc()
        hide()
        write("/proc/self/oom_score_adj", "-1000")
        bound_shared_memory(settings["limits"])
        with contextlib.suppress(OSError):  # A kernel without control groups bounds nothing.
            confine(settings["limits"])
        server = MachineServer(settings)
        make_workdir(settings["workdir"], server.account)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind("\0" + settings["socket"])
        listener.listen(BACKLOG)
        server.listen(listener)
    except KeyError:
        os.write(report, f"no user {settings['user']!r}\n".encode())
        return
    except OSError as problem:
        os.write(report, f"{problem}\n".encode())
        return
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.write(report, b"ready\n")
    os.close(report)
    server.serve()


def start_server(settings: dict[str, Any]) -> None:
    """Start the server, and end once it has said how that went."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        os.setsid()
        separate()
        if os.fork() == 0:
            serve(settings, writer)
        os._exit(0)
    os.close(writer)
    words = b""
    while True:
        data = os.read(reader, 4096)
        if not data:
            break
        words += data
    os.write(1, words or b"it ended without a word\n")
    os._exit(0)
