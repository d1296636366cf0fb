"""A test process's end of one gate of one bottle."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.gateway.client import CALL_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

    from pytest_bottle.gateway.client import Connection


class GateClient:
    """Calls one gate, and reads its records. All may be called from several threads."""

    def __init__(
        self, connection: Connection, *, bottle: str, kind: str, on_broken: Callable[[], None]
    ) -> None:
        """Not for callers: `OpenGates` makes them."""
        self._connection = connection
        self.bottle: Final = bottle
        self.kind: Final = kind
        self._lock = threading.Lock()
        self._records: list[dict[str, Any]] = []
        self._problems: list[str] = []
        self._before = 0
        """Records of earlier tests, which come first."""
        self._closed = False
        self._on_broken = on_broken
        self.broken = ""
        """Why it serves no more; empty as long as it does."""
        self.on_event: Callable[[Mapping[str, Any]], None] = lambda _event: None
        """Told of what the gate tells."""
        self.on_ask: Callable[[int, Mapping[str, Any]], Mapping[str, Any]] = _nobody
        """Answers what the gate asks a callable of the test."""
        connection.hear(
            f"{bottle}/{kind}",
            answer=self._answer,
            event=self._event,
        )

    def call(self, verb: str, *, timeout: float = CALL_TIMEOUT, **fields: object) -> dict[str, Any]:
        """Have the gate do something, and return what it replies.

        Raises:
            DoorError: the door is gone, or the gate is closed or refuses.
            BottleError: of its own kind, where that is what the gate came across.
        """
        reply = self._connection.call(
            "gate", bottle=self.bottle, kind=self.kind, verb=verb, fields=fields, timeout=timeout
        )
        return dict(reply["value"])

    def records(self) -> list[dict[str, Any]]:
        """Return this test's records until now, those seen before also when the door is gone.

        Raises:
            DoorError: the door is gone, and there may be more.
        """
        with self._lock:
            more = not self._closed
            while more:
                page = self._connection.call(
                    "gate-records", bottle=self.bottle, kind=self.kind, since=len(self._records)
                )
                self._records += page["records"]
                self._problems = list(page["problems"])
                more = page["more"]
            return self._records[self._before :]

    def begin(self) -> None:
        """Count from now on, for the next test.

        Raises:
            DoorError: the door is gone.
        """
        self.records()
        self._before = len(self._records)

    @property
    def problems(self) -> list[str]:
        """Why records were not written down, as of the last look at them."""
        return list(self._problems)

    def close(self) -> None:
        """Read the last records, and hear no more of it. Idempotent.

        Raises:
            DoorError: the door is gone.
        """
        try:
            self.records()
        finally:
            self._closed = True
            self._connection.forget(f"{self.bottle}/{self.kind}")

    def _answer(self, number: int, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.on_ask(number, request)

    def _event(self, event: Mapping[str, Any]) -> None:
        if "gone" in event or "broken" in event:
            self.broken = str(event.get("broken") or "the door has gone")
            self._on_broken()
        else:
            self.on_event(event)


def _nobody(_number: int, _request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"failed": "nobody answers that"}
