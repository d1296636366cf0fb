"""The parts of a door beside the model, as the door process holds them: egress, git, supervise."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import Protocol

from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import DoorError
from pytest_bottle.gateway.records import RecordLog

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_bottle.gateway.gate_opening import GateOpening
    from pytest_bottle.gateway.holder import Holder

_CLOSE_DEADLINE: Final = 5.0
"""Seconds for one part to finish what it is at."""

_MAX_CLOSED: Final = 1000
"""Closed bottles whose records are remembered."""

_GATES: Final = {
    "egress": "pytest_bottle.gateway.egress.gate:EgressGate",
    "git": "pytest_bottle.gateway.git.gate:GitGate",
    "supervise": "pytest_bottle.gateway.supervise.gate:SuperviseGate",
}
"""Loaded when a bottle declares them: each brings libraries of its own."""

_logger = logging.getLogger(__name__)


class Gate(Protocol):
    """One part of one bottle's door, in the door process."""

    async def listen(self, listener: socket.socket) -> None:
        """Serve a listening socket, which is the gate's from here on.

        Raises:
            DoorError: what serves it did not start.
        """
        ...

    async def do(self, verb: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what the test process asks for.

        Raises:
            BottleError: it cannot be done.
        """
        ...

    async def settle(self) -> None:
        """Wait until what the guest has already seen the end of is in the records."""
        ...

    async def close(self) -> None:
        """Hang up on everybody, and stop listening. Idempotent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GateContext:
    """What a gate is made with."""

    opening: GateOpening
    directory: Path
    """The run's own directory on the host, mode 0700."""
    records: RecordLog
    tell: Callable[[Mapping[str, Any]], None]
    """Lets the test process know of something; see `GateClient.on_event`."""
    ask: Callable[[int, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
    """Asks a callable of the test, by its number; see `GateClient.on_ask`."""
    sibling: Callable[[str], Gate | None]
    """Returns another gate of the same bottle, by its kind; None where it has none."""
    model: Callable[[], Awaitable[tuple[str, int, str]]]
    """Returns an address of this host where the bottle's model listens, and the token for it.

    Raises DoorError where the model is not open."""


class BottleGates:
    """The gates of one bottle."""

    def __init__(self, opening: GateOpening, holder: Holder) -> None:
        """Open none yet."""
        self.opening: Final = opening
        self.holder: Final = holder
        self.gates: Final[dict[str, Gate]] = {}
        self.logs: Final[dict[str, RecordLog]] = {}

    def gate(self, kind: str) -> Gate:
        """Return a gate that is open.

        Raises:
            DoorError: it is not.
        """
        if kind not in self.gates:
            raise DoorError(f"has no {kind} for {self.opening.bottle}")
        return self.gates[kind]


class Gates:
    """All gates of a run."""

    def __init__(
        self, directory: Path, model: Callable[[str], Awaitable[tuple[str, int, str]]]
    ) -> None:
        """Open none yet; `model` returns where a bottle's model listens here, and its token."""
        self._directory = directory
        self._model = model
        self._open: dict[str, BottleGates] = {}
        self._closed: dict[str, BottleGates] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def open(self, opening: GateOpening, holder: Holder) -> None:
        """Open all gates that a bottle declares; they serve once they have their sockets.

        Raises:
            DoorError: they are open already.
            CapabilityError: a library is missing.
            BottleError: of its own kind, where one of them cannot be opened.
        """
        if opening.bottle in self._open:
            raise DoorError(f"has its gates open for {opening.bottle} already")
        bottle = BottleGates(opening, holder)
        try:
            for kind in opening.plan.kinds:
                path = None
                if opening.evidence is not None:
                    path = opening.evidence / f"{opening.bottle}.{kind}.jsonl"
                log = RecordLog(path, _hidden(opening))
                bottle.logs[kind] = log
                bottle.gates[kind] = _gate_class(kind)(self._context(bottle, kind, log))
        except BaseException:
            # Those before it are open already, and nobody will ever close this bottle.
            closing = asyncio.get_running_loop().create_task(_close(bottle))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            raise
        self._open[opening.bottle] = bottle

    def _context(self, bottle: BottleGates, kind: str, log: RecordLog) -> GateContext:
        name, holder = bottle.opening.bottle, bottle.holder
        channel = f"{name}/{kind}"
        return GateContext(
            opening=bottle.opening,
            directory=self._directory,
            records=log,
            tell=lambda event: holder.tell({"event": "gate", "bottle": channel, **event}),
            ask=lambda number, request: holder.ask(channel, number, request),
            sibling=bottle.gates.get,
            model=lambda: self._model(name),
        )

    async def authority(self) -> Path:
        """Return the certificate, in PEM, of the authority that signs for the run's proxy.

        Raises:
            DoorError: the proxy did not start.
        """
        proxy = importlib.import_module("pytest_bottle.gateway.egress.proxy")
        path: Path = await proxy.ensure_proxy(self._directory).authority()
        return path

    def gate(self, bottle: str, kind: str) -> Gate:
        """Return a gate that is open.

        Raises:
            DoorError: it is not.
        """
        return self.bottle(bottle).gate(kind)

    def bottle(self, name: str) -> BottleGates:
        """Return the gates of a bottle.

        Raises:
            DoorError: they are not open.
        """
        if name not in self._open:
            raise DoorError(f"has no gates open for {name}")
        return self._open[name]

    @property
    def bottles(self) -> Sequence[BottleGates]:
        """All that are open."""
        return list(self._open.values())

    async def proposals(self) -> dict[str, Any]:
        """Return what waits for a person's answer, by bottle; see `SuperviseGate.do`."""
        return {
            name: await bottle.gates["supervise"].do("pending", {})
            for name, bottle in list(self._open.items())
            if "supervise" in bottle.gates
        }

    async def page(self, bottle: str, kind: str, since: int) -> dict[str, Any]:
        """Return records of a gate, open or closed: `records`, `more`, and `problems`.

        Raises:
            DoorError: there are none, or no longer.
        """
        if (open_ := self._open.get(bottle)) is not None and kind in open_.gates:
            await open_.gates[kind].settle()
        gates = self._open.get(bottle) or self._closed.get(bottle)
        if gates is None or kind not in gates.logs:
            raise DoorError(f"knows no {kind} records of {bottle}, or no longer")
        log = gates.logs[kind]
        records, more = log.page(since)
        return {"records": records, "more": more, "problems": log.problems}

    async def close(self, name: str) -> None:
        """Close a bottle's gates; its records stay readable for a while. Idempotent."""
        if (bottle := self._open.pop(name, None)) is None:
            return
        self._closed[name] = bottle
        if len(self._closed) > _MAX_CLOSED:
            del self._closed[next(iter(self._closed))]
        await _close(bottle)

    async def leave(self, holder: Holder) -> None:
        """Close the gates of a test process that has gone."""
        for name, bottle in list(self._open.items()):
            if bottle.holder is holder:
                await self.close(name)

    async def end(self) -> None:
        """Close everything."""
        with suppress(Exception):
            await asyncio.gather(*(self.close(name) for name in list(self._open)))
            await asyncio.gather(*self._closing)
        if (proxy := sys.modules.get("pytest_bottle.gateway.egress.proxy")) is not None:
            with suppress(Exception):
                await proxy.end_proxies()


async def _close(bottle: BottleGates) -> None:
    for kind, gate in bottle.gates.items():
        try:
            async with asyncio.timeout(_CLOSE_DEADLINE):
                await gate.close()
        except Exception:
            _logger.exception("closing %s of %s", kind, bottle.opening.bottle)
    for log in bottle.logs.values():
        log.close()


def _gate_class(kind: str) -> Callable[[GateContext], Gate]:
    module, _, name = _GATES[kind].partition(":")
    try:
        made: Callable[[GateContext], Gate] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        reason = f"a bottle declares it, and {error.name} is not installed where the tests run."
        raise CapabilityError(
            kind, reason=reason, fix="pip install 'pytest-bottle[git,supervise]'"
        ) from error
    return made


def _hidden(opening: GateOpening) -> dict[str, str]:
    """Return all values that must not be written anywhere, by name."""
    return {**opening.secrets, **opening.credentials, "door token": opening.token}
