"""Servers of the exec channel in processes of their own, over pipes and over a socket."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from typing import Any

import psutil
import pytest

from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.base import ExecResult
from pytest_bottle.backends.channel import command
from pytest_bottle.backends.channel.client import Channel
from pytest_bottle.backends.channel.program import guest_program
from pytest_bottle.backends.channel.stream import PipeStream
from pytest_bottle.backends.channel.stream import SocketStream

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024
SOURCE = guest_program().decode()
ON_A_SOCKET = f"""{SOURCE.rpartition("if __name__")[0]}
served = Server({{"PATH": BASE_PATH}}, sys.argv[1])
os.set_inheritable(int(sys.argv[2]), False)
served.connect(int(sys.argv[2]), int(sys.argv[2]))
served.serve()
for command in list(served.execs.values()):
    served.kill(command)
"""
LOST = "the guest of this test went away"


class Guest:
    """A server's process and the channel to it."""

    def __init__(self, process: subprocess.Popen[bytes], channel: Channel, workdir: Path) -> None:
        self.process = process
        self.channel = channel
        self.workdir = workdir

    def exec(self, *argv: str, **fields: Any) -> ExecResult:
        return self.channel.exec(ExecRequest(argv=argv, **{"timeout": 20, **fields}))

    def sh(self, script: str, **fields: Any) -> ExecResult:
        return self.exec("/bin/sh", "-c", script, **fields)

    def living(self) -> list[psutil.Process]:
        """Return the processes that call this guest's workdir their own and are no zombies."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(self.workdir) and process.status() != "zombie":
                    found.append(process)
        return found


def eventually(true: Callable[[], object], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def start_on_pipes(workdir: Path) -> tuple[subprocess.Popen[bytes], Channel]:
    """As in a container: the program is sent as text, the stream is its stdin and stdout."""
    settings = json.dumps({"env": {"PATH": command.BASE_PATH}, "workdir": str(workdir)})
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", SOURCE, settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"LANG": "C.UTF-8"},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stream = PipeStream(os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno()))
    process.stdin.close()
    process.stdout.close()
    return process, Channel(stream, lost=lambda: LOST)


def start_on_socket(workdir: Path) -> tuple[subprocess.Popen[bytes], Channel]:
    """As for bubblewrap: one descriptor for both directions."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", ON_A_SOCKET, workdir, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={"LANG": "C.UTF-8"},
            start_new_session=True,
        )
    return process, Channel(SocketStream(ours), lost=lambda: LOST)


@pytest.fixture(params=[start_on_pipes, start_on_socket], ids=["pipes", "socket"])
def guest(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guest]:
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    process, channel = request.param(workdir)
    guest = Guest(process, channel, workdir)
    channel.wait_ready()
    yield guest
    channel.quit()
    try:
        process.wait(10)
    finally:
        process.kill()
        process.wait()
        channel.close()
        for left in guest.living():
            left.kill()
