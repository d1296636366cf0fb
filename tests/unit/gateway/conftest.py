"""What tests of the door share: a scripted model that the official clients can talk to."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.gateway.client import Connection
from pytest_bottle.gateway.client import DoorClient
from pytest_bottle.gateway.starting import read_door
from tests.unit.gateway.doors import LocalDoor
from tests.unit.gateway.scripted_server import scripted_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_bottle.state.run import Run
    from tests.unit.gateway.scripted_server import ScriptedServer


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ScriptedServer]]:
    """Serve a script until the test ends."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ExitStack() as servers:
        yield lambda *values: servers.enter_context(scripted_server(*values))


@pytest.fixture
def run(run: Run) -> Iterator[Run]:
    """A run that ends with the test, and its door with it."""
    _ = run.journal
    yield run
    door = read_door(run.directory)
    run.end()
    assert door is None or door.wait(2)


@pytest.fixture
def client(run: Run) -> Iterator[DoorClient]:
    """This process's way to the door of the run."""
    client = DoorClient(run)
    yield client
    client.close()


@pytest.fixture
def local_door(tmp_path: Path) -> Iterator[Callable[..., Connection]]:
    """Connect to a door whose bottles have the sources that a test gives."""
    with ExitStack() as ends:

        def connect(source: object) -> Connection:
            directory = tmp_path / "run"
            directory.mkdir()
            ends.enter_context(LocalDoor(directory, lambda _opening, _ask: source))
            connection = Connection(directory)
            ends.callback(connection.close)
            return connection

        yield connect
