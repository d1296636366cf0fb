"""What a bottle may reach beside its model, and what it tried to, as its test reads it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC
from datetime import datetime
from typing import TYPE_CHECKING
from typing import Final
from typing import Literal

from pytest_bottle.door_plan import AllowPlan
from pytest_bottle.errors import AuthorError
from pytest_bottle.web_values import parse_method
from pytest_bottle.web_values import parse_path_prefix
from pytest_bottle.web_values import parse_web_host
from pytest_bottle.web_values import split_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping
    from collections.abc import Sequence
    from typing import Any

    from pytest_bottle.backends.base import EgressDenial
    from pytest_bottle.gateway.gate_client import GateClient

VerdictName = Literal["allowed", "denied", "logged"]

NETWORK: Final = "network"
"""The rule of what an engine's own allowlist refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRequest:
    """One attempt of a bottle to reach something."""

    time: datetime
    """When it began, by the host's clock."""
    method: str = ""
    """`CONNECT` where nothing is known of what was to follow; empty of what is no HTTP."""
    scheme: str = ""
    host: str
    port: int | None
    """None where it asked for the address of a name."""
    path: str = ""
    """Without its query."""
    verdict: VerdictName
    """`logged` is what was let pass although it would be denied: the bottle's mode is `log`."""
    rule: str
    """The rule that allowed it, as it was written, or what it was denied by."""
    reason: str = ""
    """Why it was denied, or came to nothing."""
    status: int | None = None
    """What the bottle was answered; None where it never was."""
    evidence: str = ""
    """What was found in it, blotted out."""
    protocol: str = ""
    sent: int = 0
    """Bytes of the request's body."""
    received: int = 0
    """Bytes of the response's body."""
    duration: float = 0.0
    """Seconds."""

    def __str__(self) -> str:
        """Return it as a line of a report."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        scheme = f"{self.scheme}://" if self.scheme and self.method != "CONNECT" else ""
        what = " ".join(
            filter(None, (self.method or self.protocol, f"{scheme}{host}{port}{self.path}"))
        )
        status = "" if self.status is None else f" {self.status}"
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.verdict}{status} {what} ({self.rule}){reason}"

    def __repr__(self) -> str:
        """Return the same: it is what an assertion shows."""
        return f"<{self}>"


class Egress:
    """The network of a bottle, as a test reads and changes it."""

    def __init__(
        self, client: GateClient | None, network_denials: Callable[[], Sequence[EgressDenial]]
    ) -> None:
        """Not for callers: `Bottle.egress` is one.

        Args:
            client: The gate's end; None where the bottle has no proxy.
            network_denials: What a backend that bounds a network refused, oldest first.
        """
        self._client = client
        self._network_denials = network_denials
        self._canary = ""

    def __repr__(self) -> str:
        """Return what it is."""
        return f"<Egress {'through a proxy' if self._client else 'without a proxy'}>"

    @property
    def requests(self) -> list[EgressRequest]:
        """All that it tried to reach in this test, in order.

        Raises:
            DoorError: the proxy's door is gone, and there may be more.
        """
        own = [] if self._client is None else map(_read, self._client.records())
        found = [*own, *map(_of_denial, self._network_denials())]
        return sorted(found, key=lambda one: one.time)

    @property
    def allowed(self) -> list[EgressRequest]:
        """Those of them that a rule allowed."""
        return [one for one in self.requests if one.verdict == "allowed"]

    @property
    def denied(self) -> list[EgressRequest]:
        """Those that were refused."""
        return [one for one in self.requests if one.verdict == "denied"]

    @property
    def canary(self) -> str:
        """A text of this bottle alone that must not leave it: plant it, and see whether it does.

        Raises:
            AuthorError: the bottle has no proxy.
            DoorError: the door is gone.
        """
        client = self._proxy("canary")
        if not self._canary:
            self._canary = str(client.call("canary")["canary"])
        return self._canary

    def allow(self, *hosts: str, methods: Iterable[str] = (), paths: Iterable[str] = ()) -> None:
        """Allow more, from now on.

        Args:
            hosts: As in the manifest: `docs.python.org`, `*.example.org`, `127.0.0.1:8080`.
            methods: The HTTP methods that are allowed there; none is all of them.
            paths: What the URLs' paths may begin with, by whole segments; none is all paths.

        Raises:
            AuthorError: the bottle has no proxy, or a host, method or path is none.
            DoorError: the proxy is gone.
        """
        client = self._proxy("allow")
        rules = [_rule(host, methods, paths) for host in hosts]
        client.call("allow", rules=[dataclasses.asdict(rule) for rule in rules])

    def _proxy(self, what: str) -> GateClient:
        if self._client is None:
            raise AuthorError(
                f"bottle.egress.{what}: the bottle has no proxy. Give it one: "
                "@pytest.mark.bottle(egress=[]), or [bottles.<name>.egress] in its manifest."
            )
        return self._client


def _rule(host: str, methods: Iterable[str], paths: Iterable[str]) -> AllowPlan:
    try:
        name, port = split_port(parse_web_host(host))
        return AllowPlan(
            host=name,
            port=port,
            methods=tuple(sorted(map(parse_method, methods))),
            paths=tuple(sorted(map(parse_path_prefix, paths))),
        )
    except ValueError as error:
        raise AuthorError(f"bottle.egress.allow({host!r}, ...): a value {error}.") from error


def _read(record: Mapping[str, Any]) -> EgressRequest:
    return EgressRequest(**{**record, "time": datetime.fromtimestamp(record["time"], UTC)})


def _of_denial(denial: EgressDenial) -> EgressRequest:
    return EgressRequest(
        time=denial.time,
        host=denial.host,
        port=denial.port,
        protocol=denial.protocol,
        verdict="denied",
        rule=NETWORK,
        reason="the engine's allowlist does not have it",
    )
