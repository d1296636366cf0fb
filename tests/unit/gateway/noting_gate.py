"""A gate that writes down what its test tells it to, for what all gates have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.errors import DoorError
from pytest_bottle.errors import LaunchError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from pytest_bottle.gateway.gates import GateContext


class NotingGate:
    """One part of a bottle's door."""

    made: list[NotingGate]

    def __init__(self, context: GateContext) -> None:
        self.context = context
        self.listener: socket.socket | None = None
        self.late: list[dict[str, Any]] = []
        """What is noted when somebody settles."""
        self.closed = 0
        NotingGate.made.append(self)

    async def listen(self, listener: socket.socket) -> None:
        self.listener = listener

    async def do(self, verb: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        match verb:
            case "note":
                for number in range(fields.get("times", 1)):
                    self.context.records.add({"number": number, "text": fields.get("text", "")})
            case "note late":
                self.late.append({"text": fields["text"]})
            case "tell":
                self.context.tell(fields)
            case "ask":
                return await self.context.ask(fields["number"], {"what": fields["what"]})
            case "sibling":
                found = self.context.sibling(fields["kind"])
                return {"found": found is not None}
            case "fail to launch":
                raise LaunchError("it did not come up")
            case "fail":
                raise ZeroDivisionError("nobody expected that")
            case _:
                raise DoorError(f"knows no {verb!r}")
        return {}

    async def settle(self) -> None:
        while self.late:
            self.context.records.add(self.late.pop(0))

    async def close(self) -> None:
        self.closed += 1
        if self.listener is not None:
            self.listener.close()


class FailingGate:
    """Another, which cannot be opened."""

    def __init__(self, context: GateContext) -> None:
        raise LaunchError(f"no room for {context.opening.bottle}")
