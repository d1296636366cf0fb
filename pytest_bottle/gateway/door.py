"""The door: all bottles of a run that may reach a model, what they have spent, and gates."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.errors import BudgetExceededError
from pytest_bottle.errors import DoorError
from pytest_bottle.gateway.account import Account
from pytest_bottle.gateway.encoding import request_to_json
from pytest_bottle.gateway.evidence import Evidence
from pytest_bottle.gateway.gates import Gates
from pytest_bottle.gateway.history import MAX_CLOSED
from pytest_bottle.gateway.history import Archive
from pytest_bottle.gateway.history import encode_exchange
from pytest_bottle.gateway.ledger import FILE_NAME
from pytest_bottle.gateway.ledger import Ledger
from pytest_bottle.gateway.ledger import Line
from pytest_bottle.gateway.ledger import read_ledger
from pytest_bottle.gateway.script import ScriptSource
from pytest_bottle.gateway.serving import BottleServer
from pytest_bottle.gateway.sources import UnlessScripted
from pytest_bottle.gateway.sources import make_source
from pytest_bottle.gateway.turns import Script
from pytest_bottle.gateway.turns import answer_from_json
from pytest_bottle.gateway.visit import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_bottle.gateway.holder import Holder
    from pytest_bottle.gateway.opening import Opening
    from pytest_bottle.gateway.sources import MakeSource
    from pytest_bottle.gateway.turns import Answer
    from pytest_bottle.gateway.values import Exchange
    from pytest_bottle.gateway.values import ModelRequest

_CLOSE_DEADLINE = 15.0
"""Seconds for a source to finish what it writes."""

_logger = logging.getLogger(__name__)


class OpenBottle:
    """One bottle, as long as its door is open."""

    def __init__(self, opening: Opening, door: Door) -> None:
        """Open it; it serves nothing before it has a socket."""
        self.opening = opening
        self.account = Account(f"bottle {opening.bottle}", opening.budget)
        self.problems: list[str] = []
        self.over_budget: dict[str, str] | None = None
        self.holders: set[Holder] = set()
        """The processes that hold it."""
        self._asked: Holder | None = None
        self.host_address: tuple[str, int] | None = None
        """Where it listens on this host, once somebody asked for that."""
        self._door = door
        self._evidence = Evidence(opening)
        own = ScriptSource([], self._ask)
        self.source = UnlessScripted(door.make_source(opening, self._ask), own)
        self.server = BottleServer(
            Entry(
                token=opening.token,
                source=self.source,
                check=self._check,
                price=lambda request, reply: opening.prices.cost(request.model, reply.usage),
                record=self._record,
            )
        )

    def script(self, scripts: Sequence[Mapping[str, Any]], holder: Holder) -> None:
        """Answer from scripts from now on, in any mode; a process's callables are asked there."""
        self._asked = holder
        self.source.replace([Script.from_json(script) for script in scripts])

    def state(self) -> dict[str, Any]:
        """Return what it spent, and what was wrong until now."""
        usage = self.account.usage
        return {
            "usage": {name: getattr(usage, name) for name in usage.__slots__},
            "cost": self.account.cost,
            "problems": self.problems,
            "unused": self.source.unused(),
            "drift": self.source.drift(),
            "over_budget": self.over_budget,
        }

    async def close(self) -> None:
        """Hang up, and finish what is being written."""
        await self.server.close()
        try:
            async with asyncio.timeout(_CLOSE_DEADLINE):
                await self.source.close()
        except Exception as error:
            _logger.exception("closing %s", self.opening.bottle)
            self.problems.append(f"the end of its records: {type(error).__name__}: {error}")
        self._evidence.close()

    async def _ask(self, number: int, request: ModelRequest) -> Answer:
        if self._asked is None or self._asked not in self.holders:
            raise DoorError("cannot ask the test's callable: its process has gone")
        answer = await self._asked.ask(self.opening.bottle, number, request_to_json(request))
        return answer_from_json(answer)

    def _check(self, request: ModelRequest) -> None:
        try:
            for account in (self.account, self._door.account):
                account.check()
                if not self.source.scripted and self.opening.mode not in {"scripted", "replay"}:
                    priced = self.opening.prices.price_of(request.model) is not None
                    account.check_price(request.model, priced=priced)
        except BudgetExceededError as error:
            told = {"whose": error.whose, "spent": error.spent, "budget": error.budget}
            self.over_budget = told
            for holder in self.holders:
                holder.tell({"event": "over_budget", "bottle": self.opening.bottle, **told})
            raise

    def _record(self, exchange: Exchange) -> None:
        # An agent may well get over what broke off: whether it did is for its run to show.
        if exchange.problem and not exchange.infra:
            self.problems.append(exchange.problem)
        usage = exchange.reply.usage
        for account in (self.account, self._door.account):
            account.add(usage, exchange.cost)
        record = encode_exchange(exchange)
        try:
            if exchange.origin != "door" and exchange.request.api != "count_tokens":
                self._door.ledger.add(self._line(exchange))
            self._evidence.add(record)
        except (OSError, ValueError) as error:
            self.problems.append(f"an exchange could not be written down: {error}")
        self._door.archive.add(self.opening.bottle, exchange, record)

    def _line(self, exchange: Exchange) -> Line:
        return Line(
            test=self.opening.test,
            bottle=self.opening.bottle,
            agent=self.opening.agent,
            model=exchange.request.model,
            usage=exchange.reply.usage,
            cost=exchange.cost,
            origin=exchange.origin,
            status=exchange.status,
            at=exchange.started,
        )


class Door:
    """Everything that the door process holds for its run."""

    def __init__(self, directory: Path, make_source: MakeSource = make_source) -> None:
        """Open no bottle yet, and take over what the run has spent so far.

        Raises:
            OSError: the ledger could not be opened.
        """
        self.make_source = make_source
        self.account = Account("run", None)
        for line in read_ledger(directory / FILE_NAME):
            self.account.add(line.usage, line.cost)
        self.ledger = Ledger(directory / FILE_NAME)
        self.archive = Archive()
        self.gates = Gates(directory, self.host_address)
        self._bottles: dict[str, OpenBottle] = {}
        self._ended: dict[str, dict[str, Any]] = {}
        self._closing: set[asyncio.Task[dict[str, Any]]] = set()

    def open(self, opening: Opening, holder: Holder) -> None:
        """Open the door for a bottle.

        Raises:
            DoorError: it is open already.
            BottleError: its source cannot be used.
        """
        if opening.bottle in self._bottles:
            raise DoorError(f"is open for {opening.bottle} already")
        bottle = OpenBottle(opening, self)
        if opening.run_budget is not None:
            self.account.budget = opening.run_budget
        bottle.holders.add(holder)
        self.archive.open(opening.bottle)
        self._bottles[opening.bottle] = bottle

    def join(self, name: str, holder: Holder) -> OpenBottle:
        """Let another process hold a bottle as well.

        Raises:
            DoorError: it is not open.
        """
        bottle = self.bottle(name)
        bottle.holders.add(holder)
        return bottle

    def bottle(self, name: str) -> OpenBottle:
        """Return an open bottle.

        Raises:
            DoorError: it is not open.
        """
        if name not in self._bottles:
            raise DoorError(f"is not open for {name}")
        return self._bottles[name]

    async def listen(self, name: str, listener: socket.socket) -> None:
        """Serve a bottle on a socket, which is the door's from here on."""
        await self.bottle(name).server.listen(listener)

    async def host_address(self, name: str) -> tuple[str, int, str]:
        """Return where a bottle's model listens on this host too, and the token for it.

        Raises:
            DoorError: it is not open.
        """
        bottle = self.bottle(name)
        if bottle.host_address is None:
            listener = socket.create_server(("127.0.0.1", 0))
            bottle.host_address = listener.getsockname()[:2]
            await bottle.server.listen(listener)
        return *bottle.host_address, bottle.opening.token

    async def state(self, name: str) -> dict[str, Any]:
        """Return what a bottle, open or closed, spent, and what was wrong with it.

        Raises:
            DoorError: it was never open, or long ago.
        """
        if name in self._ended:
            return self._ended[name]
        bottle = self.bottle(name)
        await bottle.server.settle()
        return bottle.state()

    async def page(self, name: str, since: int) -> tuple[list[bytes], bool]:
        """Return exchanges of a bottle, open or closed; see `History.page`.

        Raises:
            DoorError: it knows none, or has had to forget them.
        """
        if name in self._bottles:
            await self._bottles[name].server.settle()
        try:
            return self.archive.page(name, since)
        except KeyError:
            raise DoorError(f"knows no exchanges of {name}, or no longer") from None

    async def close(self, name: str) -> dict[str, Any]:
        """Close the door for a bottle; return its last state, empty where it was never open."""
        if (bottle := self._bottles.get(name)) is not None:
            await bottle.server.settle()
        if self._bottles.pop(name, None) is None or bottle is None:
            return self._ended.get(name, {})
        # To the end, whatever becomes of who asked for it.
        closing = asyncio.create_task(self._finish(bottle))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return await asyncio.shield(closing)

    async def _finish(self, bottle: OpenBottle) -> dict[str, Any]:
        await bottle.close()
        self.archive.close(bottle.opening.bottle)
        state = self._ended[bottle.opening.bottle] = bottle.state()
        if len(self._ended) > MAX_CLOSED:
            del self._ended[next(iter(self._ended))]
        return state

    async def leave(self, holder: Holder) -> None:
        """Close what a process held that has gone; what others share stays."""
        for name, bottle in list(self._bottles.items()):
            if holder in bottle.holders:
                bottle.holders.discard(holder)
                if not bottle.opening.shared:
                    await self.close(name)
        await self.gates.leave(holder)

    async def end(self) -> None:
        """Close everything."""
        await self.gates.end()
        with suppress(Exception):
            await asyncio.gather(*(self.close(name) for name in list(self._bottles)))
            await asyncio.gather(*self._closing)
        self.ledger.close()
