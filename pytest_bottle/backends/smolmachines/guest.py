"""What the host runs in a guest before it has a channel: facts, the server, the way to it."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.channel.program import guest_program

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = "0"

FACTS: Final = (
    "/bin/sh",
    "-c",
    'id -u; id -g; id -un 2>/dev/null || id -u; echo "$HOME"; command -v python3 || echo',
)
"""Tells who runs commands in a machine, and where its Python is; also that it answers at all."""

_FACTS: Final = 5

_START: Final = """\
import os, sys
def take(size):
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            os._exit(1)
        data += piece
    return data
import json
settings = json.loads(take(int(take(8))).decode())
space = {"__name__": "pytest-bottle"}
exec(compile(take(int(take(8))), "pytest-bottle", "exec"), space)
space["start_server"](settings)
"""
"""Reads settings and program from stdin: as arguments they would stand in process lists."""

_BRIDGE: Final = """\
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect("\\0" + sys.argv[1])
def carry(source, target):
    try:
        while True:
            data = os.read(source, 262144)
            if not data:
                return
            while data:
                data = data[os.write(target, data):]
    except OSError:
        pass
child = os.fork()
if child == 0:
    carry(0, server.fileno())
    server.shutdown(socket.SHUT_WR)
    os._exit(0)
carry(server.fileno(), 1)
os.kill(child, 9)
os._exit(0)
"""
"""Connects a command's standard streams to the server, until either side ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a machine said of itself."""

    uid: int
    gid: int
    user: str
    home: str
    python: bool


def read_facts(stdout: bytes) -> Facts | None:
    """Return what `FACTS` printed; None where it is anything else."""
    lines = stdout.decode(errors="replace").splitlines()
    if len(lines) != _FACTS or not (lines[0].isdigit() and lines[1].isdigit()):
        return None
    uid, gid, user, home, python = lines
    return Facts(uid=int(uid), gid=int(gid), user=user, home=home or "/", python=bool(python))


def start_server_command() -> tuple[str, ...]:
    """Return the command that starts the server; it reads `server_words`."""
    return ("python3", "-IS", "-c", _START)


def bridge_command(socket: str) -> tuple[str, ...]:
    """Return the command whose standard streams are a channel to the server."""
    return ("python3", "-IS", "-c", _BRIDGE, socket)


def server_words(settings: Mapping[str, object]) -> bytes:
    """Return what the server is told before it serves: its settings, and itself."""
    text = json.dumps(settings).encode()
    program = _program()
    return b"%08d%s%08d%s" % (len(text), text, len(program), program)


@functools.cache
def _program() -> bytes:
    return guest_program(Path(__file__).with_name("guest_server.py"))
