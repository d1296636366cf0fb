"""The egress gate of one bottle, in the door process."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from urllib.parse import urlsplit

from pytest_bottle.errors import BottleError
from pytest_bottle.errors import DoorError
from pytest_bottle.gateway.dlp.finding import CANARY
from pytest_bottle.gateway.egress.hosts import canonical_host
from pytest_bottle.gateway.egress.proxy import ensure_proxy
from pytest_bottle.gateway.gate_opening import MODEL_VARIABLES
from pytest_bottle.gateway.gate_opening import ROOTS_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.gateway.gates import GateContext

UPSTREAM_TIMEOUT: Final = 120.0
"""Seconds that the other side of a request may be silent before it answers."""

_MODELS: Final = ("https://api.anthropic.com", "https://api.openai.com")
"""Where models are, whatever the host's variables say."""


class EgressGate:
    """The HTTP(S) proxy of one bottle."""

    def __init__(self, context: GateContext, *, timeout: float = UPSTREAM_TIMEOUT) -> None:
        """Have the run's proxy start; it knows the bottle when it listens.

        Raises:
            HostError: the proxy has no environment.
            DoorError: it could not be started.
        """
        self._context = context
        self._bottle: Final = context.opening.bottle
        self._canary: Final = f"canary{secrets.token_hex(16)}"
        self._proxy: Final = ensure_proxy(context.directory)
        self._proxy.attach(self._bottle, self)
        self._timeout = timeout
        self._opened: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._open())
        self._listeners: list[socket.socket] = []
        self._closed = False

    async def _open(self) -> None:
        opening = self._context.opening
        plan = opening.plan.egress
        if plan is None:
            raise DoorError(f"has no proxy to open for {self._bottle}")
        found = opening.environ
        await self._proxy.call(
            "open",
            opening={
                "bottle": self._bottle,
                "token": opening.token,
                "plan": dataclasses.asdict(plan),
                "secrets": {
                    **opening.secrets,
                    **opening.credentials,
                    "the bottle's pass": opening.token,
                    CANARY: self._canary,
                },
                "credentials": dict(opening.credentials),
                "supervised": opening.plan.supervise is not None,
                "models": _model_hosts(found),
                "roots": [found[name] for name in ROOTS_VARIABLES if found.get(name)],
                "timeout": self._timeout,
            },
        )

    async def listen(self, listener: socket.socket) -> None:
        """Serve a listening socket.

        Raises:
            DoorError: the proxy did not start, or is gone.
        """
        self._listeners.append(listener)
        await asyncio.shield(self._opened)
        await self._proxy.call("listen", [listener.fileno()], bottle=self._bottle)

    async def do(self, verb: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what the test process, or another gate, asks for.

        `allow` adds `rules`, each as `dataclasses.asdict` makes it; `canary` returns it.

        Raises:
            DoorError: the proxy is gone, or there is no such verb.
        """
        match verb:
            case "allow":
                await asyncio.shield(self._opened)
                await self._proxy.call("allow", bottle=self._bottle, rules=list(fields["rules"]))
                return {}
            case "canary":
                return {"canary": self._canary}
            case _:
                raise DoorError(f"has a proxy that knows no {verb!r}")

    async def settle(self) -> None:
        """Wait until what the guest has seen the end of is in the records."""
        with suppress(BottleError):  # What a proxy that has gone knew is lost, and told of.
            await asyncio.shield(self._opened)
            await self._proxy.call("settle", bottle=self._bottle)

    async def close(self) -> None:
        """Hang up on everybody, and stop listening. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with suppress(BottleError):
            await asyncio.shield(self._opened)
            await self._proxy.call("close", bottle=self._bottle)
        self._proxy.detach(self._bottle)
        self._hang_up()

    # What the proxy asks and tells

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a record."""
        self._context.records.add(record)

    async def model(self) -> tuple[str, int, str]:
        """Return where the bottle's model listens on this host, and its token.

        Raises:
            DoorError: it is not open.
        """
        return await self._context.model()

    def broke(self, reason: str) -> None:
        """Close the bottle in: what has gone lets nothing pass, and is not to be waited for."""
        self._context.tell({"broken": reason})
        self._hang_up()

    def _hang_up(self) -> None:
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def _model_hosts(variables: Mapping[str, str]) -> list[tuple[str, int, str]]:
    """Return the hosts of models: name, port, and what paths begin with before the API's."""
    found = []
    for url in (*_MODELS, *(variables.get(name, "") for name in MODEL_VARIABLES)):
        with suppress(ValueError):  # A URL that is none is for the agent to stumble over.
            parts = urlsplit(url)
            if parts.hostname:
                port = parts.port or {"http": 80}.get(parts.scheme, 443)
                found.append((canonical_host(parts.hostname), port, parts.path.rstrip("/")))
    return sorted(set(found))
