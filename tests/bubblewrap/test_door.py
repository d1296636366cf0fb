"""Listening in a bubblewrap sandbox."""

from __future__ import annotations

import socket

import psutil
import pytest

from pytest_bottle.backends.bubblewrap.backend import BubblewrapBackend
from pytest_bottle.errors import SandboxLostError
from tests.bubblewrap.conftest import eventually

HEAR = "import socket; print(socket.create_connection(('127.0.0.1', 8377)).recv(9).decode())"


def test_every_process_that_shares_it_can_open_one(launch):
    box = launch(shared=True)
    box.sandbox.detach()
    other = BubblewrapBackend()
    attached = other.attach(box.plan, box.sandbox.reference())
    try:
        with attached.listen(8377) as listener:
            with pytest.raises(OSError, match="in use"):
                box.sandbox.listen(8377)
            listener.settimeout(20)
            box.sh(f'/usr/bin/python3 -c "{HEAR}" > heard &').check()
            client, _ = listener.accept()
            with client:
                client.sendall(b"hello")
            assert box.sh("while [ ! -s heard ]; do sleep 0.1; done; cat heard").stdout == "hello\n"
    finally:
        attached.close()
        other.shutdown()


def test_nobody_keeps_it(box):
    """Neither the keeper, nor the process beside it that forks the commands."""
    keeper = psutil.Process(box.keeper)
    box.exec("true")
    family = [keeper, *keeper.children()]
    before = [process.num_fds() for process in family]
    for port in range(8400, 8420):
        box.sandbox.listen(port).close()
    assert eventually(lambda: [process.num_fds() for process in family] == before)


def test_the_hosts_network_has_no_such_port(box):
    with box.sandbox.listen(0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_killed_sandbox_says_so(box):
    keeper = psutil.Process(box.keeper)
    psutil.Process(box.init).kill()
    assert eventually(lambda: not keeper.is_running() or keeper.status() == "zombie")
    with pytest.raises(SandboxLostError, match="was killed"):
        box.sandbox.listen(0)
