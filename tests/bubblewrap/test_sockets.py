"""A shared sandbox is met at a socket in its directory, however long that directory's path is."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.bubblewrap import sockets
from tests.bubblewrap.conftest import make_plan

ADDRESS_BYTES = 108


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    path = tmp_path / ("d" * ADDRESS_BYTES) / ("e" * ADDRESS_BYTES)
    path.mkdir(parents=True)
    return path


def test_those_who_listen_and_connect_meet(deep):
    descriptors = open_descriptors()
    with sockets.listen(deep / "s", 1) as listener, sockets.connect(deep / "s") as ours:
        theirs, _ = listener.accept()
        with theirs:
            ours.sendall(b"met")
            assert theirs.recv(10) == b"met"
    assert open_descriptors() == descriptors
    assert stat.S_IMODE((deep / "s").stat().st_mode) == 0o600


def test_whoever_finds_nobody_is_told_so(deep):
    descriptors = open_descriptors()
    with pytest.raises(FileNotFoundError):
        sockets.connect(deep / "s")
    sockets.listen(deep / "s", 1).close()
    with pytest.raises(ConnectionRefusedError):
        sockets.connect(deep / "s")
    with pytest.raises(OSError, match="in use"):
        sockets.listen(deep / "s", 1)
    assert open_descriptors() == descriptors


@pytest.mark.bottle_requires("bubblewrap")
def test_a_shared_sandbox_can_be_attached_to(backend, deep):
    plan = make_plan(deep, shared=True)
    backend.prepare(plan)
    sandbox = backend.launch(plan)
    try:
        attached = backend.attach(plan, sandbox.reference())
        assert attached.exec(ExecRequest(argv=("echo", "hi"), timeout=10)).stdout == "hi\n"
        attached.close()
    finally:
        sandbox.stop()
