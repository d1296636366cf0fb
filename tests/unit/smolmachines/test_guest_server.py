"""The server that runs in a microVM, here as a process of this host's, on a socket."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.channel import frames
from pytest_bottle.backends.channel.client import Channel
from pytest_bottle.backends.channel.program import guest_program
from pytest_bottle.backends.channel.stream import SocketStream
from pytest_bottle.backends.smolmachines import guest_server
from pytest_bottle.errors import UserUnsupportedError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it becomes other users")

SERVE = """\
import json, sys
program, settings, fd = sys.argv[1:]
space = {"__name__": "guest"}
exec(open(program).read(), space)
server = space["MachineServer"](json.loads(settings))
server.connect(int(fd), int(fd))
server.detached = False
server.serve()
"""


@pytest.fixture
def connection(tmp_path):
    """This side of a socket to a server whose bottle's user is nobody."""
    program = tmp_path / "program"
    program.write_bytes(guest_program(Path(guest_server.__file__)))
    settings = {"user": "nobody", "env": {"OWN": "x"}, "workdir": "/"}
    ours, theirs = socket.socketpair()
    with theirs:
        argv = [sys.executable, "-I", "-c", SERVE, str(program), json.dumps(settings)]
        argv.append(str(theirs.fileno()))
        process = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
    yield ours
    ours.close()
    process.kill()
    process.wait()


@pytest.fixture
def channel(connection):
    channel = Channel(SocketStream(connection), lost=lambda: "it is gone")
    yield channel
    channel.close()


def run(channel: Channel, *argv: str, **fields: object) -> str:
    request = ExecRequest(argv=argv, timeout=20, **fields)  # type: ignore[arg-type]
    return channel.exec(request).check().stdout


def test_it_says_whose_bottle_it_is(channel):
    facts = channel.wait_ready()
    assert facts == {"user": "nobody", "uid": 65534, "home": "/nonexistent"}


def test_commands_are_the_bottles_users(channel):
    assert run(channel, "id", "-un") == "nobody\n"
    assert run(channel, "sh", "-c", 'echo "$USER $OWN"') == "nobody x\n"


def test_another_user_is_named(channel):
    assert run(channel, "id", "-u", user="root") == "0\n"
    assert run(channel, "sh", "-c", 'id -u; echo "$HOME"', user="0") == "0\n/root\n"
    assert run(channel, "id", "-u", user="4711") == "4711\n"


def test_an_unknown_user_is_refused(channel):
    with pytest.raises(UserUnsupportedError, match="nobody-of-this-name"):
        run(channel, "id", user="nobody-of-this-name")


def test_much_output_arrives_by_and_by(channel):
    """The client tells of what it took."""
    channel.wait_ready()
    size = 8 * guest_server.OUTPUT_WINDOW
    assert len(run(channel, "head", "-c", str(size), "/dev/zero", output_limit=size)) == size


def test_who_takes_nothing_is_sent_a_window_of_it(connection):
    """So that the engine never has to keep more."""
    command: dict[str, Any] = {"argv": ["yes"], "env": {}, "cwd": None, "user": None}
    command["stdin"] = False
    payload = json.dumps(command).encode()
    connection.sendall(frames.HEADER.pack(len(payload), frames.SPAWN, 1) + payload)
    received = 0
    while select.select([connection], [], [], 2)[0]:
        received += len(connection.recv(1 << 20))
        assert received < 4 * guest_server.OUTPUT_WINDOW
    assert received > guest_server.OUTPUT_WINDOW
