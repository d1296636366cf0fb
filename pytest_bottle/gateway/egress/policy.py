"""Decides what may leave a bottle; pure, and on the one form of each host and path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final
from urllib.parse import unquote

from pytest_bottle.door_plan import WEB_PORTS
from pytest_bottle.door_plan import AllowPlan
from pytest_bottle.door_plan import RoutePlan
from pytest_bottle.gateway.egress.hosts import address_of
from pytest_bottle.gateway.egress.hosts import canonical_host
from pytest_bottle.gateway.egress.hosts import is_public

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator

    from pytest_bottle.gateway.egress.hosts import Address

NO_RULE: Final = "no rule"
IP_LITERAL: Final = "ip literal"
BAD_HOST: Final = "bad host"
HOST_MISMATCH: Final = "host mismatch"
PRIVATE_ADDRESS: Final = "private address"
PASS: Final = "pass"  # noqa: S105 - a rule's name
"""The rules by which a request is denied that none of the bottle's own has anything to do with."""

_DECODED: Final = 6
"""How often a path is decoded at most; nobody encodes it so often in good faith."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something may leave."""

    allowed: bool
    rule: str
    """The rule that allows it, as its author wrote it, or what it was denied by."""
    reason: str = ""
    """Why it was denied, for people."""
    route: RoutePlan | None = None
    """Where the request gets a credential."""


@dataclass(frozen=True, slots=True)
class _Rule:
    plan: AllowPlan
    host: str
    route: RoutePlan | None = None

    @classmethod
    def of(cls, plan: AllowPlan, route: RoutePlan | None = None) -> _Rule:
        wildcard = plan.host.startswith("*.")
        host = canonical_host(plan.host.removeprefix("*."))
        return cls(plan, f"*.{host}" if wildcard else host, route)

    @property
    def narrow(self) -> bool:
        """Whether a connection's inside has to be seen to know whether the rule allows it."""
        return bool(self.plan.methods or self.plan.paths or self.route)

    def covers(self, host: str, port: int) -> bool:
        """Tell whether the rule is about a host, in its one form, and a port."""
        if port not in (WEB_PORTS if self.plan.port is None else (self.plan.port,)):
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:]) and address_of(host) is None
        return host == self.host

    def allows(self, method: str, path: str) -> bool:
        """Tell whether the rule allows a request to what it covers."""
        if self.plan.methods and method not in self.plan.methods:
            return False
        return not self.plan.paths or any(is_below(path, prefix) for prefix in self.plan.paths)


class Policy:
    """The rules of one bottle; hosts that it is asked about are in their one form."""

    def __init__(self, allow: Iterable[AllowPlan], routes: Iterable[RoutePlan] = ()) -> None:
        """Take the rules of the bottle's plan."""
        # Routes first: what both allow gets the credential.
        self._rules = [
            *(_Rule.of(route.to, route) for route in routes),
            *(_Rule.of(plan) for plan in allow),
        ]

    def add(self, allow: Iterable[AllowPlan]) -> None:
        """Allow more, from now on."""
        self._rules += [_Rule.of(plan) for plan in allow]

    def connect(self, host: str, port: int) -> Verdict:
        """Decide whether a connection may be opened at all; what goes over it comes later."""
        rule = next(self._covering(host, port), None)
        if rule is not None:
            return Verdict(True, str(rule.plan))
        if address_of(host) is not None:
            return Verdict(False, IP_LITERAL, f"no rule names the address {host}, port {port}")
        return Verdict(False, NO_RULE, f"no rule names {host}, port {port}")

    def request(self, method: str, host: str, port: int, path: str) -> Verdict:
        """Decide whether a request may leave; `path` is as it was sent."""
        covering = list(self._covering(host, port))
        for rule in covering:
            if rule.allows(method, path):
                return Verdict(True, str(rule.plan), route=rule.route)
        if covering:
            rules = "; ".join(str(rule.plan) for rule in covering)
            reason = f"{host} may be sent other methods or paths only: {rules}"
            return Verdict(False, NO_RULE, reason)
        return self.connect(host, port)

    def sees_inside(self, host: str, port: int) -> bool:
        """Tell whether the rules cannot be held to without seeing what goes over a connection."""
        covering = list(self._covering(host, port))
        return any(rule.route for rule in covering) or all(rule.narrow for rule in covering)

    def address(self, host: str, port: int, address: Address) -> str:
        """Return why a name's address must not be connected to; empty where it may be.

        A name says nothing about who serves it: whoever has its zone can point it at this host, or
        at a network that this host is in. Those take a rule that names the address.
        """
        if is_public(address) or any(self._covering(str(address), port)):
            return ""
        local = host == "localhost" or host.endswith(".localhost")
        if local and address.is_loopback and any(self._covering(host, port)):
            return ""
        return (
            f"{host} is at {address}, which is not an address of the internet; allow "
            f"{f'[{address}]' if address.version == 6 else address}:{port} as well to reach it"  # noqa: PLR2004 - IPv6
        )

    def _covering(self, host: str, port: int) -> Iterator[_Rule]:
        return (rule for rule in self._rules if rule.covers(host, port))


def is_below(path: str, prefix: str) -> bool:
    """Tell whether a path is at or below a prefix, by whole segments, however a server reads it.

    Servers differ in what they decode, how often, and whether they resolve `..` before or after.
    """
    wanted = _segments(prefix.rstrip("/"))
    return all(reading[: len(wanted)] == wanted for reading in _readings(path))


def _readings(path: str) -> Iterator[list[str]]:
    raw = re.split("[?#]", path, maxsplit=1)[0]
    yield _segments(raw)
    once = unquote(raw)
    yield _segments(once)
    yield _resolved(once)
    for _ in range(_DECODED):
        once = unquote(once)
    yield _resolved(once.replace("\\", "/"))
    yield _resolved(re.sub(";[^/]*", "", once.replace("\\", "/")))


def _segments(path: str) -> list[str]:
    return path.split("/")[1:]


def _resolved(path: str) -> list[str]:
    found: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if found:
                found.pop()
        elif segment not in {"", "."}:
            found.append(segment)
    return found
