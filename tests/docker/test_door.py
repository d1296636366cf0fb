"""Listening in a container: through its first process, or from a container beside it."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_bottle.backends.docker import backend as backend_module
from pytest_bottle.backends.docker import doorway
from pytest_bottle.backends.docker.backend import DockerBackend
from pytest_bottle.errors import DoorUnreachableError
from pytest_bottle.errors import SandboxLostError
from tests.docker.conftest import make_plan
from tests.docker.conftest import run
from tests.docker.conftest import sh

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from pytest_bottle.backends.docker.sandbox import DockerSandbox

HOSTILE = """\
import os, socket, struct
own = socket.create_server(("127.0.0.1", 0))
pipe = os.pipe()
def rights(*fds):
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))]
open("/tmp/ready", "w").close()
while not os.path.exists("/tmp/over"):
    for name in os.listdir("/run/pytest-bottle"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as post:
            try:
                post.connect("/run/pytest-bottle/" + name)
                post.sendmsg([b"x" * 32], rights(own.fileno()))
                post.sendmsg([b"x" * 5000], rights(own.fileno(), *pipe))
            except OSError:
                pass
"""


@contextlib.contextmanager
def answered(listener: socket.socket) -> Iterator[int]:
    """Say hello to whoever connects; give the port."""

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.sendall(b"hello")

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    with contextlib.suppress(OSError):
        listener.shutdown(2)
    listener.close()


def hears(sandbox: DockerSandbox, port: int, **changes) -> str:
    """Return what a guest hears that may have no Python."""
    script = f"exec 3<>/dev/tcp/127.0.0.1/{port} && cat <&3"
    return run(sandbox, "bash", "-c", script, **changes).stdout


def beside(backend: DockerBackend, name: str) -> list[str]:
    return [one.id for one, _ in backend.orphans() if one.id.startswith(f"{name}-door-")]


def test_the_host_answers_whatever_the_image_has(backend, sandbox):
    with answered(sandbox.listen(8377)) as port:
        assert port == 8377
        assert hears(sandbox, port) == "hello"
        assert hears(sandbox, port, user="nobody") == "hello"
        with pytest.raises(OSError, match="in use"):
            sandbox.listen(8377)
    backend.settle(20)
    assert beside(backend, sandbox.reference()["name"]) == []


def test_an_ordinary_guest_has_a_door_too(launch):
    sandbox = launch(user="nobody")
    with answered(sandbox.listen(8377)) as port:
        assert hears(sandbox, port) == "hello"
    assert "Permission denied" in sh(sandbox, "ls /run/pytest-bottle").stderr


def test_another_process_opens_one_from_beside(backend, launch):
    """The first process is not its to talk to, and what else is there may be the guest's."""
    sandbox = launch()
    sandbox.detach()
    plan = make_plan(Path("/nowhere"), name=sandbox.reference()["name"])
    other = DockerBackend()
    attached = other.attach(plan, sandbox.reference())
    sh(sandbox, "for tool in /usr/bin/python3*; do rm $tool; cp /bin/false $tool; done").check()
    with answered(attached.listen(8377)) as port:
        assert hears(sandbox, port) == "hello"
        with pytest.raises(OSError, match="in use"):
            sandbox.listen(8377)
    attached.close()
    other.settle(20)
    assert beside(backend, plan.name) == []
    other.shutdown()


@pytest.mark.parametrize("bare", [False, True], ids=["python", "bare"])
def test_a_sandbox_that_is_gone_says_so(backend, launch, bare_image, bare):
    sandbox = launch(**({"image": bare_image} if bare else {}))
    name = sandbox.reference()["name"]
    backend._engine().api.kill(name)
    with pytest.raises(SandboxLostError, match=name):
        sandbox.listen(8377)


def test_a_hostile_guest_gets_nothing_in(launch):
    """It may see where the sockets arrive, and send what it likes, but not what is asked for."""
    sandbox = launch()
    own = psutil.Process()
    with ThreadPoolExecutor(1) as pool:
        attack = pool.submit(run, sandbox, "python3", "-c", HOSTILE, timeout=60)
        sh(sandbox, "while [ ! -e /tmp/ready ]; do sleep 0.1; done").check()
        before = own.num_fds()
        for port in range(8400, 8440):
            with sandbox.listen(port) as listener:
                assert listener.getsockname() == ("127.0.0.1", port)
        sh(sandbox, "touch /tmp/over").check()
        assert attack.result(30).success, attack.result().stderr
    assert own.num_fds() <= before


def test_the_guest_cannot_fill_what_is_shared(launch):
    sandbox = launch()
    wrote = sh(sandbox, "echo x > /run/pytest-bottle/x; chmod 777 /run/pytest-bottle")
    assert wrote.stderr.count("Read-only file system") == 2


def test_without_any_python_it_says_what_to_do(launch, bare_image, monkeypatch):
    sandbox = launch(image=bare_image)
    monkeypatch.setenv("BOTTLE_DOCKER_IMAGE", "bottle-no-such-image")
    monkeypatch.setattr(doorway, "AGENT_IMAGE", "bottle-no-such-agent")
    monkeypatch.setattr(doorway, "DEFAULT_IMAGE", "bottle-no-such-default")
    with pytest.raises(DoorUnreachableError, match=r"none of bottle-no-such.*BOTTLE_DOCKER_IMAGE"):
        sandbox.listen(8377)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A backend whose engine sees other files, as one that is reached from within a container."""
    backend = DockerBackend()
    make = doorway.make_directory
    monkeypatch.setattr(
        backend_module,
        "make_directory",
        lambda engine, plan: tmp_path / "not-there" if make(engine, plan) else None,
    )
    yield backend
    backend.settle(20)
    backend.shutdown()


def test_connections_are_carried_where_no_socket_can_cross(elsewhere, tmp_path):
    plan = make_plan(tmp_path)
    elsewhere.prepare(plan)
    sandbox = elsewhere.launch(plan)
    with answered(sandbox.listen(8377)) as port, answered(sandbox.listen(0)) as other:
        assert port == 8377
        assert hears(sandbox, port) == hears(sandbox, other) == "hello"
        assert hears(sandbox, port, user="nobody") == "hello"
    sandbox.detach()
    attached = elsewhere.attach(plan, sandbox.reference())
    with answered(attached.listen(0)) as port:
        assert hears(sandbox, port) == "hello"
    attached.close()
    sandbox.stop()


def test_so_they_are_where_the_guest_cannot_send(launch, tmp_path):
    """As where the host's mandatory access control forbids it."""
    sandbox = launch()
    (tmp_path / "other").mkdir()
    sandbox._doorway = doorway.Doorway(directory=tmp_path / "other", image=None)
    with answered(sandbox.listen(8377)) as port:
        assert hears(sandbox, port) == "hello"


def test_nobody_carries_them_without_a_python(elsewhere, tmp_path, bare_image):
    plan = make_plan(tmp_path, image=bare_image)
    elsewhere.prepare(plan)
    sandbox = elsewhere.launch(plan)
    try:
        with pytest.raises(DoorUnreachableError, match=r"no python3, and the engine at .* shares"):
            sandbox.listen(8377)
    finally:
        sandbox.stop()
