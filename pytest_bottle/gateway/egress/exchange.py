"""One request of a bottle on its way through the proxy, and the record of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_bottle.gateway.egress.guarding import Guard

EXCHANGE: Final = "bottle"
"""The key of an exchange in its flow's metadata."""

VerdictName = Literal["allowed", "denied", "logged"]


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request, from its headers to the end of its response."""

    guard: Guard
    method: str
    scheme: str
    host: str
    port: int
    path: str
    """Without its query."""
    protocol: str
    timeout: float
    """Seconds that the other side may be silent before it answers."""
    cut: Callable[[], None]
    """Hangs up on both sides."""
    verdict: VerdictName = "allowed"
    rule: str = ""
    reason: str = ""
    evidence: str = ""
    refusal: Any = None
    """The response that says that it is denied."""
    model: bool = False
    """Whether it goes to the bottle's own model."""
    cleared: bool = False
    """Whether it may go out."""
    touched: float = field(default_factory=time.monotonic)
    sent: int = 0
    """Bytes of the request's body that went out."""
    received: int = 0
    """Bytes of the response's body."""
    expected: int | None = None
    """Bytes that the response's body will have; None where nobody knows."""
    status: int | None = None
    recorded: bool = False
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when nobody waits for an answer to it any more."""
    connection: Any = None
    """The guest's, of which no more is read while something is being searched."""
    piece: bytes = b""
    """Of a body that is too large to be held back: what is being judged; empty at its end."""
    scan: Any = None
    """Looks through a body that is too large to be held back."""
    refused: Callable[[], str] = lambda: ""
    """Why the address was not connected to; empty where it was."""
    _time: float = field(default_factory=time.time)
    _clock: float = field(default_factory=time.perf_counter)

    def touch(self) -> None:
        """Count the silence from now."""
        self.touched = time.monotonic()

    def receive(self, chunk: bytes) -> bytes:
        """Let a piece of the response pass; its record is there before its last one is."""
        self.received += len(chunk)
        if self.expected is not None and self.received >= self.expected:
            self.record()
        return chunk

    def explain(self, problem: str) -> tuple[str, int]:
        """Return what a bottle is told of a connection that could not be made, and a status."""
        if why := self.refused():
            self.verdict, self.rule, self.reason = "denied", "private address", why
            self.status = 403
            return why, 403
        late = "cancelled" in problem
        self.status = 504 if late else 502
        self.reason = f"no connection within {self.timeout:g} s" if late else problem
        return self.reason, self.status

    def record(self) -> None:
        """Record it, unless that has been done."""
        if self.recorded:
            return
        self.recorded = True
        self.answered.set()
        self.guard.record(
            {
                "time": self._time,
                "method": self.method,
                "scheme": self.scheme,
                "host": self.host,
                "port": self.port,
                "path": self.path,
                "verdict": self.verdict,
                "rule": self.rule,
                "reason": self.reason,
                "status": self.status,
                "sent": self.sent,
                "received": self.received,
                "duration": round(time.perf_counter() - self._clock, 6),
                "evidence": self.evidence,
                "protocol": self.protocol,
            }
        )
