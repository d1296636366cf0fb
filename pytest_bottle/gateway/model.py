"""The model of one bottle, as its test holds it: what it says, and what it was asked."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.errors import BudgetExceededError
from pytest_bottle.gateway.authoring import TurnFailedError
from pytest_bottle.gateway.authoring import ask
from pytest_bottle.gateway.authoring import read_script
from pytest_bottle.gateway.encoding import exchange_from_json
from pytest_bottle.gateway.encoding import request_from_json
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from collections.abc import Mapping

    from pytest_bottle.gateway.authoring import Asked
    from pytest_bottle.gateway.client import Connection
    from pytest_bottle.gateway.opening import Opening
    from pytest_bottle.gateway.turns import Script
    from pytest_bottle.gateway.values import Exchange
    from pytest_bottle.gateway.values import Mode
    from pytest_bottle.gateway.values import ModelRequest

_GENERATING = frozenset({"messages", "responses", "chat"})


def new_token() -> str:
    """Return what a bottle's guest presents as its key: worth nothing anywhere else."""
    return f"bottle-{secrets.token_hex(16)}"


class Model:
    """What answers the agent of one bottle. All may be called from several threads."""

    def __init__(self, connection: Connection, *, bottle: str, mode: Mode, token: str) -> None:
        """Not for callers: `open_model` and `join_model` return it."""
        self._connection = connection
        self._bottle = bottle
        self._mode = mode
        self._token = token
        self._url = ""
        self._lock = threading.RLock()
        self._scripts: dict[str | None, Script] = {}
        self._functions: list[Asked] = []
        self._exchanges: list[Exchange] = []
        self._over_budget: BudgetExceededError | None = None
        self._callbacks: list[Callable[[BudgetExceededError], None]] = []
        self._gone = False
        self._gone_callbacks: list[Callable[[], None]] = []
        self._last: Mapping[str, Any] | None = None
        connection.hear(bottle, answer=self._answer, event=self._event)

    @property
    def mode(self) -> Mode:
        """Where the answers come from."""
        return self._mode

    @property
    def url(self) -> str:
        """The base URL by which the guest reaches it; empty before it listens."""
        return self._url

    @property
    def token(self) -> str:
        """The placeholder that the guest presents as its key."""
        return self._token

    def script(self, *turns: object, match: str | None = None) -> None:
        """Say what the model answers, turn by turn; anew at each call.

        A script goes before whatever the run says with `--bottle-model`.

        Args:
            turns: `say(...)`, `tool(...)`, lists of `tool(...)`, `error(...)`, `delay(...)`, and
                callables, which get the request and return one of these.
            match: Only for requests whose system text or first user message contains this, as a
                subagent's; the script without it is for all others.

        Raises:
            TypeError: something else was given.
            ValueError: the script makes no sense.
            DoorError: the door is gone.
        """
        with self._lock:
            scripts = {**self._scripts, match: read_script(turns, match=match, ask=self._number)}
            self._call("script", scripts=[script.to_json() for script in scripts.values()])
            self._scripts = scripts
            self._mode = "scripted"

    @property
    def requests(self) -> list[ModelRequest]:
        """What the model was asked, in the order in which it was."""
        asked = [exchange.request for exchange in self.exchanges]
        return sorted(
            (request for request in asked if request.api in _GENERATING and request.number >= 0),
            key=lambda request: request.number,
        )

    @property
    def exchanges(self) -> list[Exchange]:
        """All that passed through the door, in the order in which it ended."""
        with self._lock:
            more = True
            while more:
                page = self._call("exchanges", since=len(self._exchanges))
                self._exchanges += map(exchange_from_json, page["exchanges"])
                more = page["more"]
            return list(self._exchanges)

    @property
    def usage(self) -> Usage:
        """The tokens of all answers together."""
        return Usage(**self._state()["usage"])

    @property
    def cost(self) -> float | None:
        """The US dollars of all answers together; None where a model has no price."""
        cost: float | None = self._state()["cost"]
        return cost

    @property
    def problems(self) -> list[str]:
        """What the test has to hear of: unexpected requests, misses, failures of the door."""
        return list(self._state()["problems"])

    @property
    def unused(self) -> list[str]:
        """What the scripts hold and nobody asked for."""
        return list(self._state()["unused"])

    @property
    def drift(self) -> list[str]:
        """How a cassette differs from what the agent does today."""
        return list(self._state()["drift"])

    @property
    def over_budget(self) -> BudgetExceededError | None:
        """Which budget is used up, once the agent has asked for more."""
        if self._over_budget is None and (told := self._state()["over_budget"]):
            self._over_budget = BudgetExceededError(**told)
        return self._over_budget

    def on_over_budget(self, callback: Callable[[BudgetExceededError], None]) -> None:
        """Have something called when the agent asks for more than a budget has left.

        It is called in a thread of its own, once, and at once where that has happened already.
        """
        with self._lock:
            over = self._over_budget
            if over is None:
                self._callbacks.append(callback)
        if over is not None:
            callback(over)

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Have something called when the door dies, once, and at once where it has died already.

        It is called in a thread of its own.
        """
        with self._lock:
            if not self._gone:
                self._gone_callbacks.append(callback)
                return
        callback()

    def listen(self, listener: socket.socket, *, url: str) -> None:
        """Have the door serve the bottle on a listening socket; ours stays open.

        Args:
            listener: anybody who reaches it is taken for the bottle's guest.
            url: how the guest reaches it.

        Raises:
            DoorError: the door is gone.
        """
        self._call("listen", fds=[listener.fileno()])
        self._url = url

    def close(self) -> None:
        """Close the bottle's door, for all that share it; what is known stays. Idempotent.

        Raises:
            DoorError: the door is gone.
        """
        with self._lock:
            if self._last is None:
                self._last = self._call("close") or None
            self._connection.forget(self._bottle)

    def _state(self) -> Mapping[str, Any]:
        return self._last or self._call("state")

    def _call(self, do: str, **fields: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
        return self._connection.call(do, bottle=self._bottle, **fields)

    def _number(self, function: Asked) -> int:
        self._functions.append(function)
        return len(self._functions) - 1

    def _answer(self, number: int, request: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return {"turn": ask(self._functions[number], request_from_json(request)).to_json()}
        except TurnFailedError as error:
            return {"failed": str(error)}

    def _event(self, event: Mapping[str, Any]) -> None:
        if "gone" in event:
            with self._lock:
                self._gone = True
                calls, self._gone_callbacks = self._gone_callbacks, []
            for call in calls:
                call()
            return
        told = {name: event[name] for name in ("whose", "spent", "budget")}
        with self._lock:
            if self._over_budget is None:
                self._over_budget = BudgetExceededError(**told)
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self._over_budget)


def open_model(connection: Connection, opening: Opening) -> Model:
    """Open the door for a bottle; it serves once it has a socket.

    Raises:
        DoorError: the door is gone, or refuses.
        CassetteError: the cassette cannot be used.
    """
    connection.call("open", opening=opening.to_json())
    return Model(connection, bottle=opening.bottle, mode=opening.mode, token=opening.token)


def join_model(connection: Connection, *, bottle: str, token: str) -> Model:
    """Return the model of a bottle that another process opened for all.

    Raises:
        DoorError: the door is gone, or not open for it.
    """
    mode = connection.call("join", bottle=bottle)["mode"]
    return Model(connection, bottle=bottle, mode=mode, token=token)
