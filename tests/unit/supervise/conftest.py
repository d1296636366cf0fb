"""A real door in this process with a supervisor, beside gates that only remember what they do."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from pytest_bottle.door_plan import DoorPlan
from pytest_bottle.door_plan import EgressPlan
from pytest_bottle.door_plan import GitGatePlan
from pytest_bottle.door_plan import RemotePlan
from pytest_bottle.door_plan import SupervisePlan
from pytest_bottle.errors import LaunchError
from pytest_bottle.gateway import gates
from pytest_bottle.gateway.client import Connection
from pytest_bottle.gateway.gate_opening import GateOpening
from pytest_bottle.gateway.model import new_token
from pytest_bottle.gateway.open_gates import OpenGates
from pytest_bottle.gateway.supervise.handle import Supervise
from pytest_bottle.guest_door import PORTS
from tests.unit.gateway.doors import LocalDoor

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

EVERYTHING = {
    "egress": EgressPlan(),
    "git": GitGatePlan(remotes=(RemotePlan(name="origin"),)),
}


class RememberingGate:
    """A gate that remembers what was granted, and grants nothing at `broken.example`."""

    granted: list[tuple[str, dict[str, Any]]]

    def __init__(self, context: gates.GateContext) -> None:
        self.context = context

    async def listen(self, listener: socket.socket) -> None:
        listener.close()

    async def do(self, verb: str, fields: Any) -> dict[str, Any]:
        hosts = [rule["host"] for rule in fields.get("rules", ())]
        if "broken.example" in hosts:
            raise LaunchError("the proxy does not answer")
        await asyncio.sleep(0.05)
        self.granted.append((verb, dict(fields)))
        return {}

    async def settle(self) -> None:
        pass

    async def close(self) -> None:
        pass


class SupervisedGuest:
    """A bottle with a supervisor, and the agent in it."""

    def __init__(self, connection: Connection, evidence: Path, plan: DoorPlan) -> None:
        self.opening = GateOpening(
            bottle="bottle-1",
            token=new_token(),
            plan=plan,
            evidence=evidence,
            state=evidence,
            secrets={"API_KEY": "opensesame-4711"},
            credentials={},
        )
        self.gates = OpenGates(connection, self.opening)
        self.supervise = Supervise(self.gates.clients["supervise"])
        self.file = evidence / "bottle-1.supervise.jsonl"
        self.gates.listen(self._listen)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0))
        if port == PORTS["supervise"]:
            self.port = listener.getsockname()[1]
        return listener

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.opening.token}"}

    @property
    def written(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def with_client(self, use: Callable[[Client], Any], **options: Any) -> Any:
        """Return what a coroutine function makes of a real client."""

        async def run() -> Any:
            async with (
                httpx2.AsyncClient(headers=self.headers, timeout=30, trust_env=False) as http,
                Client(streamable_http_client(self.url, http_client=http), **options) as client,
            ):
                return await use(client)

        return asyncio.run(run())

    def ask(self, tool: str, **arguments: Any) -> tuple[bool, str]:
        """Return whether a call of a tool failed, and its text."""
        result = self.with_client(lambda client: client.call_tool(tool, arguments))
        return result.is_error, "".join(part.text for part in result.content)


@pytest.fixture
def granted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the other gates were told to allow."""
    granted: list[tuple[str, dict[str, Any]]] = []
    real = gates._gate_class
    remembering = type("Gate", (RememberingGate,), {"granted": granted})
    monkeypatch.setattr(
        gates, "_gate_class", lambda kind: real(kind) if kind == "supervise" else remembering
    )
    return granted


@pytest.fixture
def supervised(
    tmp_path: Path,
    granted: list[Any],  # noqa: ARG001 - which stands in for the other gates
) -> Iterator[Callable[..., SupervisedGuest]]:
    """Open a door: `supervised(timeout=1)`, or `supervised(egress=None)`."""
    with ExitStack() as ends:

        def start(*, timeout: float = 20, on_timeout: Any = "reject", **parts: Any) -> Any:
            directory = tmp_path / "run"
            directory.mkdir()
            supervise = SupervisePlan(timeout=timeout, on_timeout=on_timeout)
            plan = DoorPlan(**{**EVERYTHING, **parts}, supervise=supervise)
            ends.enter_context(LocalDoor(directory, None))
            connection = Connection(directory)
            ends.callback(connection.close)
            guest = SupervisedGuest(connection, tmp_path / "evidence", plan)
            ends.callback(guest.gates.close)
            return guest

        yield start


@pytest.fixture
def guest(supervised: Callable[..., SupervisedGuest]) -> SupervisedGuest:
    """A bottle with everything."""
    return supervised()
