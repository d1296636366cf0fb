"""What the proxy knows of one bottle: its rules, its secrets, and what it was refused."""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.door_plan import allow_from_json
from pytest_bottle.door_plan import egress_from_json
from pytest_bottle.gateway.dlp.scanner import Scanner
from pytest_bottle.gateway.egress.joining import Joining
from pytest_bottle.gateway.egress.policy import BAD_HOST
from pytest_bottle.gateway.egress.policy import PASS
from pytest_bottle.gateway.egress.policy import Policy
from pytest_bottle.guest_door import USER

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping

    from pytest_bottle.door_plan import AllowPlan
    from pytest_bottle.door_plan import CredentialPlan
    from pytest_bottle.door_plan import EgressPlan
    from pytest_bottle.gateway.dlp.scanner import Finding
    from pytest_bottle.gateway.egress.exchange import Exchange

DLP: Final = "dlp"
"""Begins the rule of a request that is denied for what is in it."""

_NEVER_LET_PASS: Final = (PASS, BAD_HOST)
"""Rules that `mode = "log"` does not suspend."""


@dataclass(frozen=True, slots=True)
class ModelHost:
    """A host whose requests are answered by the bottle's model."""

    host: str
    port: int
    prefix: str
    """What its paths begin with before that of the API."""


class Guard:
    """One bottle, as the proxy knows it."""

    def __init__(
        self, opening: Mapping[str, Any], send: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """Take what the door says of it; `send` writes a message to the door."""
        self.bottle: Final[str] = opening["bottle"]
        self.plan: Final[EgressPlan] = egress_from_json(opening["plan"])
        self.policy: Final = Policy(self.plan.allow, self.plan.routes)
        self.credentials: Final[Mapping[str, str]] = opening["credentials"]
        self.models: Final = [ModelHost(*one) for one in opening["models"]]
        self.timeout: Final[float] = opening["timeout"]
        self.roots: Final[list[str]] = opening["roots"]
        self._supervised: bool = opening["supervised"]
        self._token: str = opening["token"]
        self._send = send
        secrets = opening["secrets"]
        self._scanner = Scanner(secrets)
        self._joining = Joining(Scanner(secrets, shapes=False))
        self._unproved: dict[tuple[str, str, int, str], Exchange] = {}
        """Requests without a pass, which a client may well repeat with it once it is asked."""

    def allow(self, rules: Iterable[Mapping[str, Any]]) -> None:
        """Let more pass from now on."""
        plans: list[AllowPlan] = [allow_from_json(rule) for rule in rules]
        self.policy.add(plans)

    def record(self, record: Mapping[str, Any]) -> None:
        """Have something recorded."""
        self._send({"event": "record", "bottle": self.bottle, "record": record})

    # The pass

    def is_proved(self, exchange: Exchange, header: str | None) -> bool:
        """Tell whether a request presents the pass; else have it recorded that it did not."""
        key = (exchange.method, exchange.host, exchange.port, exchange.path)
        if header is not None and self._is_pass(header):
            self._unproved.pop(key, None)
            return True
        exchange.verdict, exchange.rule = "denied", PASS
        exchange.status = 407
        if header is None:
            exchange.reason = "the request has no Proxy-Authorization"
            # Git and others send it only when they are asked to.
            if previous := self._unproved.pop(key, None):
                previous.record()
            self._unproved[key] = exchange
        else:
            exchange.reason = "the request's Proxy-Authorization is not the bottle's pass"
            exchange.record()
        return False

    def settle(self) -> None:
        """Record the requests that nobody has repeated with a pass."""
        for exchange in self._unproved.values():
            exchange.record()
        self._unproved.clear()

    def _is_pass(self, header: str) -> bool:
        scheme, _, value = header.strip().partition(" ")
        try:
            given = base64.b64decode(value.strip(), validate=True)
        except ValueError:
            return False
        wanted = f"{USER}:{self._token}".encode()
        return scheme.lower() == "basic" and hmac.compare_digest(given, wanted)

    # Secrets

    def find(self, parts: Iterable[tuple[str, bytes]]) -> Finding | None:
        """Return the first secret in parts of a request, each with its name."""
        if not self.plan.dlp:
            return None
        return next((one for where, data in parts for one in self._scanner.scan(data, where)), None)

    def find_joined(self, host: str, part: str, data: bytes) -> Finding | None:
        """Return a declared secret whose end is in this, after what was sent there before."""
        return self._joining.find(host, part, data) if self.plan.dlp else None

    def next_finding(self, exchange: Exchange, chunk: bytes) -> Finding | None:
        """Look through the next piece of a large body, and judge the request by it; b"" ends it."""
        if not self.plan.dlp or exchange.model:
            return None
        if exchange.scan is None:
            exchange.scan = self._scanner.stream("body")
        found = exchange.scan.feed(chunk) if chunk else exchange.scan.finish()
        if not found:
            return None
        finding: Finding = found[0]
        self.judge_finding(exchange, finding)
        return finding

    # Verdicts

    def judge_finding(self, exchange: Exchange, finding: Finding) -> bool:
        """Deny a request for what is in it; see `deny`."""
        if finding.where in {"path", "query", "host"}:
            exchange.path = f"[withheld: {finding.rule}]"
        reason = f"its {finding.where} has what must not leave the bottle ({finding.evidence})"
        return self.deny(exchange, f"{DLP}: {finding.rule}", reason, finding.evidence)

    def deny(self, exchange: Exchange, rule: str, reason: str, evidence: str = "") -> bool:
        """Deny a request, and tell whether it is refused: the mode may be to let it pass."""
        exchange.rule, exchange.reason = rule, reason
        exchange.evidence = evidence or exchange.evidence
        if self.plan.mode == "log" and rule not in _NEVER_LET_PASS:
            exchange.verdict = "logged"
            return False
        exchange.verdict = "denied"
        return True

    def explain(self, exchange: Exchange) -> bytes:
        """Return what a bottle is told of a request that was refused."""
        target = f"{exchange.host}:{exchange.port}"
        message = f"This bottle's proxy denied {exchange.method} {target}: {exchange.reason}."
        if exchange.rule == PASS:
            how = "Take the proxy's address from the variables http_proxy and https_proxy."
        elif exchange.rule.startswith(DLP):
            how = "Send it without the secret; no rule allows that."
        elif self._supervised:
            how = (
                "Ask the supervisor for it, with the tools of its MCP server, or "
                f'have "{target}" added to `egress.allow` of the bottle in bottle.toml.'
            )
        else:
            how = f'To allow it, add "{target}" to `egress.allow` of the bottle in bottle.toml.'
        error = {
            "type": "bottle_egress_denied",
            "rule": exchange.rule,
            "message": f"{message} {how}",
        }
        return json.dumps({"error": error}, indent=1).encode() + b"\n"

    # Where it goes

    def model_host(self, host: str, port: int) -> ModelHost | None:
        """Return how the bottle's model is reached under a host; None where it is not."""
        return next((one for one in self.models if (one.host, one.port) == (host, port)), None)

    def credential(self, auth: CredentialPlan) -> tuple[str, str]:
        """Return the header that proves who asks, name and value."""
        token = self.credentials[auth.token_ref]
        match auth.scheme:
            case "bearer":
                return "Authorization", f"Bearer {token}"
            case "basic":
                pair = base64.b64encode(f"{auth.username}:{token}".encode()).decode()
                return "Authorization", f"Basic {pair}"
            case _:
                return auth.header, token
