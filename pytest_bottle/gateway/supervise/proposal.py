"""A proposal as a test sees it, and the answers that a test gives."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal
from typing import TypeAlias

from pytest_bottle.gateway.supervise.asking import describe
from pytest_bottle.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

Verdict: TypeAlias = Literal["approve", "modify", "reject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a policy answers: `approve()`, `modify(...)` or `reject("why")`."""

    decision: Verdict
    why: str = ""
    """What the agent is told."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that are granted in place of what was asked."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"decision": self.decision, "why": self.why, "changes": dict(self.changes)}


Decide: TypeAlias = Callable[[str, Answer], None]
"""Decides a pending proposal, by its id."""


def approve(why: str = "") -> Answer:
    """Grant what is asked for."""
    return Answer(decision="approve", why=why)


def modify(why: str = "", **changes: object) -> Answer:
    """Grant something else: `modify(host="docs.python.org", paths=["/3/"])`.

    Args:
        why: What the agent is told.
        changes: Arguments of the proposal that are granted in place of its own.
    """
    return Answer(decision="modify", why=why, changes=changes)


def reject(why: str) -> Answer:
    """Grant nothing, and tell the agent why."""
    return Answer(decision="reject", why=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What an agent asked for, and what became of it."""

    id: str
    kind: str
    """`egress`, `git_push` or `capability`."""
    arguments: Mapping[str, Any]
    """Of egress `host`, `port`, `methods` and `paths`; of git_push `remote` and `ref`; of
    capability `name`."""
    reason: str
    """The agent's own."""
    time: float
    """When it was asked, in seconds since the epoch."""
    decision: Verdict | None = None
    """None as long as it is pending."""
    by: str = ""
    """Who decided: `expectation`, `policy`, `test`, `person`, `timeout`, `rules` (it was no proper
    proposal), or `end` (of the bottle)."""
    why: str = ""
    """What the agent was told of it."""
    granted: Mapping[str, Any] | None = None
    """The arguments that were granted; None where nothing was."""
    problem: str = ""
    """Why what was approved could not be granted; empty where it was."""
    decided: float | None = None
    """When it was decided."""
    _decide: Decide | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """Return what it asks for, in a few words."""
        try:
            text = f"{self.kind}: {describe(self.kind, self.arguments)}"
        except (KeyError, TypeError):  # No proper proposal.
            text = f"{self.kind}: {dict(self.arguments)}"
        return printable(text).replace("\n", "\\n")

    def approve(self, why: str = "") -> None:
        """Grant it, where it is pending.

        Raises:
            SuperviseError: it is not pending.
            DoorError: the door is gone.
        """
        self._answer(approve(why))

    def modify(self, why: str = "", **changes: object) -> None:
        """Grant something else, where it is pending.

        Raises:
            SuperviseError: it is not pending, or the changes are wrong.
            DoorError: the door is gone.
        """
        self._answer(modify(why, **changes))

    def reject(self, why: str) -> None:
        """Reject it, where it is pending.

        Raises:
            SuperviseError: it is not pending.
            DoorError: the door is gone.
        """
        self._answer(reject(why))

    def _answer(self, answer: Answer) -> None:
        if self._decide is None:
            raise TypeError("answer this proposal by what the policy returns")
        self._decide(self.id, answer)


def proposal_from_json(value: Mapping[str, Any], decide: Decide | None = None) -> Proposal:
    """Return the proposal that a record or a question of the door tells of."""
    return Proposal(
        id=value["id"],
        kind=value["kind"],
        arguments=dict(value["arguments"]),
        reason=value["reason"],
        time=value["time"],
        _decide=decide,
    )


def proposals_of(records: Iterable[Mapping[str, Any]], decide: Decide) -> list[Proposal]:
    """Return the proposals that records tell of, each with its decision, oldest first."""
    asked: dict[str, Mapping[str, Any]] = {}
    decided: dict[str, Mapping[str, Any]] = {}
    for record in records:
        if record["event"] == "proposal":
            asked[record["id"]] = record
        elif record["event"] == "decision":
            decided[record["id"]] = record
    proposals = []
    for number, record in asked.items():
        end = decided.get(number)
        proposals.append(
            Proposal(
                id=number,
                kind=record["kind"],
                arguments=dict(record["arguments"]),
                reason=record["reason"],
                time=record["time"],
                _decide=decide,
            )
            if end is None
            else Proposal(
                id=number,
                kind=record["kind"],
                arguments=dict(record["arguments"]),
                reason=record["reason"],
                time=record["time"],
                decision=end["decision"],
                by=end["by"],
                why=end["why"],
                granted=end["granted"],
                problem=end["problem"],
                decided=end["time"],
                _decide=decide,
            )
        )
    return proposals
