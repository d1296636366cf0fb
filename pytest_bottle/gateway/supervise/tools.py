"""What the supervisor's MCP server offers an agent, and how it answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.gateway.supervise.asking import check_asked
from pytest_bottle.gateway.supervise.asking import check_reason
from pytest_bottle.gateway.supervise.asking import describe

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Mapping

    from pytest_bottle.gateway.supervise.desk import Asked
    from pytest_bottle.gateway.supervise.desk import Decision
    from pytest_bottle.gateway.supervise.desk import Desk

LIST: Final = "list_requests"

_KINDS: Final = {
    "request_egress": "egress",
    "request_git_push": "git_push",
    "request_capability": "capability",
}
"""Tools by name, and the proposals that they make."""

_REASON: Final = {
    "type": "string",
    "description": "Why you need it, in a sentence, for who decides.",
}
_WAITS: Final = "Waits until somebody decides. Ask for as little as you need."


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOffer:
    """One tool."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an agent is told."""

    text: str
    error: bool = False


class Tools:
    """The tools of one bottle."""

    def __init__(self, desk: Desk, *, egress: bool, remotes: Collection[str]) -> None:
        """Offer what the bottle can be granted.

        Args:
            desk: Takes the proposals.
            egress: Whether the bottle has a proxy.
            remotes: Names of its repositories behind the git gate.
        """
        self.desk: Final = desk
        self._remotes = tuple(sorted(remotes))
        offers = [_capability(), _list_requests()]
        if self._remotes:
            offers.insert(0, _git_push(self._remotes))
        if egress:
            offers.insert(0, _egress())
        self.offers: Final[Mapping[str, ToolOffer]] = {offer.name: offer for offer in offers}

    def ask(self, name: str, arguments: Mapping[str, Any]) -> Asked | Reply:
        """Make a proposal of a call, or return the answer to what makes none."""
        if name not in self.offers:
            return Reply(text=f"There is no tool {name[:100]!r} here.", error=True)
        if name == LIST:
            return Reply(text=self._list())
        kind = _KINDS[name]
        asked = {key: value for key, value in arguments.items() if key != "reason"}
        try:
            try:
                reason = check_reason(arguments.get("reason"))
                checked = check_asked(kind, asked, remotes=self._remotes)
            except ValueError as problem:
                self.desk.refuse(kind, asked, arguments.get("reason"), str(problem))
                return Reply(text=f"This cannot be requested: {problem}.", error=True)
            return self.desk.ask(kind, checked, reason)
        except ValueError as problem:
            return Reply(text=f"This cannot be requested: {problem}.", error=True)

    def _list(self) -> str:
        lines = []
        for asked in self.desk.proposals:
            what = describe(asked.kind, asked.arguments) if _is_whole(asked) else asked.kind
            state = asked.done.result().decision if asked.done.done() else "pending"
            lines.append(f"{asked.id}: {what}: {state}")
        return "\n".join(lines) or "Nothing has been requested yet."


def answer(asked: Asked, decided: Decision) -> Reply:
    """Return what an agent is told of a decision.

    A rejection is no error of the tool: Claude Code would add that the call may have been wrong,
    and is to be made again.
    """
    number = f"Request {asked.id}"
    why = f" {decided.why[:1].upper()}{decided.why[1:].rstrip('.')}." if decided.why else ""
    if decided.granted is None:
        text = f"{number} was rejected: {describe(asked.kind, asked.arguments)}.{why}"
        return Reply(text=f"{text} Do without it, and do not try to get around it.")
    granted = describe(asked.kind, decided.granted)
    if decided.problem:
        text = f"{number} was approved, but could not be granted: {decided.problem}"
        return Reply(text=text, error=True)
    if decided.decision == "modify":
        wanted = describe(asked.kind, asked.arguments)
        return Reply(
            text=f"{number} was approved with changes.{why} Granted: {granted}. "
            f"Not granted as it was asked: {wanted}."
        )
    return Reply(text=f"{number} was approved.{why} Granted from now on: {granted}.")


def _is_whole(asked: Asked) -> bool:
    """Tell whether its arguments were found to be right."""
    return not (asked.done.done() and asked.done.result().by == "rules")


def _egress() -> ToolOffer:
    return ToolOffer(
        name="request_egress",
        description=f"Request HTTP(S) access to a host that the proxy denies. {_WAITS}",
        schema=_schema(
            {
                "host": {
                    "type": "string",
                    "description": "Such as docs.python.org, *.example.org or example.org:8443.",
                },
                "reason": _REASON,
                "methods": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Such as GET; all of them where it is left out.",
                },
                "paths": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Prefixes such as /3/library/; all where it is left out.",
                },
            },
            "host",
            "reason",
        ),
    )


def _git_push(remotes: Collection[str]) -> ToolOffer:
    return ToolOffer(
        name="request_git_push",
        description=f"Request to push a ref that the git gate refuses. {_WAITS}",
        schema=_schema(
            {
                "remote": {"type": "string", "enum": list(remotes)},
                "ref": {"type": "string", "description": "Such as refs/heads/agent/fix."},
                "reason": _REASON,
            },
            "remote",
            "ref",
            "reason",
        ),
    )


def _capability() -> ToolOffer:
    return ToolOffer(
        name="request_capability",
        description=f"Request something else that this sandbox lacks. {_WAITS}",
        schema=_schema(
            {
                "name": {"type": "string", "description": "What it is, in a word or two."},
                "reason": _REASON,
            },
            "name",
            "reason",
        ),
    )


def _list_requests() -> ToolOffer:
    return ToolOffer(
        name=LIST,
        description="List what was requested here, and what became of it.",
        schema=_schema({}),
    )


def _schema(properties: Mapping[str, Any], *required: str) -> Mapping[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(required)}
