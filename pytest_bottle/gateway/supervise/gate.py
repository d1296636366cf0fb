"""The supervisor of one bottle, in the door process."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.door_plan import SupervisePlan
from pytest_bottle.errors import DoorError
from pytest_bottle.gateway.supervise.desk import Desk
from pytest_bottle.gateway.supervise.tools import Tools

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from pytest_bottle.gateway.gates import GateContext
    from pytest_bottle.gateway.supervise.serving import McpServing

_SERVING: Final = "pytest_bottle.gateway.supervise.serving"
"""Loaded when a bottle is served: it brings the MCP SDK."""


class SuperviseGate:
    """Serves the guest's agent, and answers the test and the people who supervise it."""

    def __init__(self, context: GateContext) -> None:
        """Serve nothing yet."""
        plan = context.opening.plan
        self._desk = Desk(context, plan.supervise or SupervisePlan())
        remotes = {remote.name for remote in plan.git.remotes} if plan.git else set()
        self._token = context.opening.token
        self._tools = Tools(
            self._desk,
            egress=context.sibling("egress") is not None,
            remotes=remotes if context.sibling("git") is not None else (),
        )
        self._serving: McpServing | None = None
        self._closed = False
        # In a thread: it takes a while, in which the sandbox is launched and others are served.
        self._loading = asyncio.ensure_future(asyncio.to_thread(importlib.import_module, _SERVING))

    async def listen(self, listener: socket.socket) -> None:
        """Serve a listening socket, which is the gate's from here on.

        Raises:
            DoorError: the library cannot be loaded, or the gate has been closed.
        """
        try:
            module = await self._loading
        except ImportError as error:
            listener.close()
            raise DoorError(f"cannot load what serves supervisors: {error}") from error
        if self._closed:
            listener.close()
            raise DoorError("has closed this supervisor")
        if self._serving is None:
            self._serving = module.McpServing(self._tools, token=self._token)
        await self._serving.listen(listener)

    async def do(self, verb: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """List what is pending, or decide it.

        Raises:
            SuperviseError: what is to be decided is not pending, or cannot be so.
            DoorError: there is no such verb.
        """
        if verb == "pending":
            waiting = [asked.shown for asked in self._desk.proposals if not asked.taken]
            return {"proposals": waiting, "timeout": self._desk.timeout}
        if verb == "decide":
            decided = await self._desk.decide(
                fields["id"],
                fields["decision"],
                by=fields["by"],
                changes=fields.get("changes"),
                why=fields.get("why", ""),
            )
            return {"decision": decided.decision, "problem": decided.problem}
        raise DoorError(f"has no {verb!r} for a supervisor")

    async def settle(self) -> None:
        """Return at once: a record comes before the answer that tells of it."""

    async def close(self) -> None:
        """Reject what waits, hang up on everybody, and stop listening. Idempotent."""
        self._closed = True
        self._desk.close()
        if self._serving is not None:
            await self._serving.close()
