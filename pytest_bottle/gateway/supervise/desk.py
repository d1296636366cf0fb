"""The proposals of one bottle, in the door process: asked, decided, granted, and written down."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.errors import BottleError
from pytest_bottle.errors import SuperviseError
from pytest_bottle.gateway.authoring import TurnFailedError
from pytest_bottle.gateway.supervise.asking import check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.door_plan import SupervisePlan
    from pytest_bottle.gateway.gates import GateContext

MAX_PENDING: Final = 32
"""Proposals of one bottle that wait at a time; more are refused."""

MAX_PROPOSALS: Final = 1000
"""Proposals of one bottle; more are refused without a record, which would fill the disk."""

REMEMBERED: Final = 50
"""Decided proposals that an agent can look up."""

_MAX_REFUSED: Final = 2000
"""Characters of refused arguments that are kept."""

_GRANTS: Final = {"egress": ("egress", "allow"), "git_push": ("git", "allow_push")}
"""Which gate grants a kind of proposal, and by which verb; no other has an effect."""

ANSWERS: Final = ("approve", "modify", "reject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of a proposal."""

    decision: str
    """One of `ANSWERS`."""
    by: str
    """`expectation`, `policy`, `test`, `person`, `timeout`, `rules` or `end`."""
    why: str = ""
    granted: Mapping[str, Any] | None = None
    """The arguments that were approved; None where nothing was."""
    problem: str = ""
    """Why it could not be granted."""


@dataclass(eq=False, slots=True, kw_only=True)
class Asked:
    """One proposal."""

    id: str
    kind: str
    arguments: Mapping[str, Any]
    reason: str
    time: float
    shown: Mapping[str, Any] = field(default_factory=dict)
    """Its record, without secrets."""
    done: asyncio.Future[Decision] = field(repr=False)
    taken: bool = False
    """Whether it is being decided."""


class Desk:
    """Takes proposals, and has each decided by the test, a person, or its timeout."""

    def __init__(self, context: GateContext, plan: SupervisePlan) -> None:
        """Begin with none."""
        self._context = context
        self._plan = plan
        self._pending: dict[str, Asked] = {}
        self._decided: list[Asked] = []
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def timeout(self) -> float:
        """Seconds that a proposal waits."""
        return self._plan.timeout

    @property
    def proposals(self) -> list[Asked]:
        """The last ones, decided and pending, oldest first."""
        return [*self._decided, *self._pending.values()]

    def ask(self, kind: str, arguments: Mapping[str, Any], reason: str) -> Asked:
        """Take a proposal with checked arguments, which is decided in the background.

        What is asked for again while it waits is the same proposal: a client may have lost its
        connection.

        Raises:
            ValueError: there are too many.
        """
        for asked in self._pending.values():
            if (asked.kind, asked.arguments) == (kind, arguments):
                return asked
        if len(self._pending) >= MAX_PENDING:
            message = f"{MAX_PENDING} requests wait for an answer already"
            raise ValueError(message)
        asked = self._take(kind, arguments, reason)
        self._pending[asked.id] = asked
        task = asyncio.get_running_loop().create_task(self._settle(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return asked

    def refuse(self, kind: str, arguments: object, reason: object, problem: str) -> None:
        """Write down what was asked for and is not even a proposal.

        Raises:
            ValueError: there are too many.
        """
        text = json.dumps(arguments)
        whole = isinstance(arguments, dict) and len(text) <= _MAX_REFUSED
        kept = arguments if whole else {"text": text[:_MAX_REFUSED]}
        reason = reason[:_MAX_REFUSED] if isinstance(reason, str) else ""
        asked = self._take(kind, kept, reason)  # type: ignore[arg-type] # it is a dict
        self._finish(asked, Decision(decision="reject", by="rules", why=problem))

    def _take(self, kind: str, arguments: Mapping[str, Any], reason: str) -> Asked:
        if self._count >= MAX_PROPOSALS:
            message = f"this bottle has asked {MAX_PROPOSALS} times, and is heard no more"
            raise ValueError(message)
        self._count += 1
        asked = Asked(
            id=secrets.token_hex(4),
            kind=kind,
            arguments=arguments,
            reason=reason,
            time=time.time(),
            done=asyncio.get_running_loop().create_future(),
        )
        record = {
            "id": asked.id,
            "kind": kind,
            "arguments": dict(arguments),
            "reason": reason,
            "time": asked.time,
        }
        records = self._context.records
        number = records.add({"event": "proposal", **record})
        asked.shown = {name: records.page(number)[0][0][name] for name in record}
        return asked

    async def _settle(self, asked: Asked) -> None:
        """Have the test asked, then wait for a person, until the time is up."""
        try:
            async with asyncio.timeout(self._plan.timeout):
                answer = await self._ask_test(asked)
                if answer is not None and not asked.taken:
                    await self.decide(asked.id, **answer)
                await asyncio.shield(asked.done)
        except TimeoutError:
            if not asked.taken:
                why = f"nobody answered within {self._plan.timeout:g} s"
                await self.decide(asked.id, self._plan.on_timeout, by="timeout", why=why)
        except BottleError as problem:
            # What the test answered is not fit to be granted, or its process has gone.
            if not asked.taken:
                await self.decide(asked.id, "reject", by="policy", why=str(problem))

    async def _ask_test(self, asked: Asked) -> dict[str, Any] | None:
        request = {
            "id": asked.id,
            "kind": asked.kind,
            "arguments": asked.arguments,
            "reason": asked.reason,
            "time": asked.time,
        }
        try:
            answer = dict(await self._context.ask(0, request))
        except TurnFailedError as problem:
            return {"decision": "reject", "by": "policy", "why": str(problem)}
        return answer if answer.get("decision") else None

    async def decide(
        self,
        number: str,
        decision: str,
        *,
        by: str,
        changes: Mapping[str, Any] | None = None,
        why: str = "",
    ) -> Decision:
        """Decide a pending proposal; returns when what was approved is granted.

        Raises:
            SuperviseError: it is not pending, or cannot be changed so.
        """
        asked = self._pending.get(number)
        if asked is None or asked.taken:
            known = next((one for one in self._decided if one.id == number), asked)
            raise SuperviseError(number, reason=_why_not(known))
        if decision not in ANSWERS:
            raise SuperviseError(number, reason=f"there is no answer {decision!r}.")
        granted = None
        if decision != "reject":
            try:
                granted = check(asked.kind, {**asked.arguments, **(changes or {})})
            except ValueError as problem:
                raise SuperviseError(number, reason=f"{problem}.") from None
            decision = "approve" if granted == asked.arguments else "modify"
        asked.taken = True
        # To the end, whatever becomes of who decides: what is granted must be in the record.
        return await asyncio.shield(
            asyncio.ensure_future(self._conclude(asked, decision, by, why, granted))
        )

    async def _conclude(
        self, asked: Asked, decision: str, by: str, why: str, granted: Mapping[str, Any] | None
    ) -> Decision:
        problem = "" if granted is None else await self._grant(asked.kind, granted)
        decided = Decision(decision=decision, by=by, why=why, granted=granted, problem=problem)
        self._finish(asked, decided)
        return decided

    async def _grant(self, kind: str, arguments: Mapping[str, Any]) -> str:
        """Make an approval take effect; return why that failed, empty where it did not."""
        if kind not in _GRANTS:
            return ""
        gate_kind, verb = _GRANTS[kind]
        gate = self._context.sibling(gate_kind)
        if gate is None:
            return f"this bottle has no {gate_kind}"
        try:
            await gate.do(verb, {"rules": [arguments]} if kind == "egress" else arguments)
        except BottleError as problem:
            return str(problem)
        except Exception as problem:  # noqa: BLE001 - or the agent would wait for ever
            return f"the gate failed with {type(problem).__name__}"
        return ""

    def _finish(self, asked: Asked, decided: Decision) -> None:
        self._context.records.add(
            {
                "event": "decision",
                "id": asked.id,
                "decision": decided.decision,
                "by": decided.by,
                "why": decided.why,
                "granted": None if decided.granted is None else dict(decided.granted),
                "problem": decided.problem,
                "time": time.time(),
            }
        )
        self._pending.pop(asked.id, None)
        self._decided.append(asked)
        del self._decided[:-REMEMBERED]
        asked.taken = True
        if not asked.done.done():
            asked.done.set_result(decided)

    def close(self) -> None:
        """Reject what still waits. Idempotent."""
        for task in self._tasks:
            task.cancel()
        for asked in [one for one in self._pending.values() if not one.taken]:
            self._finish(asked, Decision(decision="reject", by="end", why="the bottle was closed"))


def _why_not(asked: Asked | None) -> str:
    if asked is None:
        return "there is no such proposal."
    if not asked.done.done():
        return "it is being decided."
    decided = asked.done.result()
    return f"it has been decided already: {decided.decision}, by {decided.by}."
