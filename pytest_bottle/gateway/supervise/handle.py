"""The supervisor of one bottle, as its test holds it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.errors import DoorError
from pytest_bottle.errors import SuperviseError
from pytest_bottle.errors import UnmetExpectationError
from pytest_bottle.gateway.supervise.asking import check
from pytest_bottle.gateway.supervise.expectation import Expectation
from pytest_bottle.gateway.supervise.proposal import Answer
from pytest_bottle.gateway.supervise.proposal import Proposal
from pytest_bottle.gateway.supervise.proposal import proposal_from_json
from pytest_bottle.gateway.supervise.proposal import proposals_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

    from pytest_bottle.gateway.gate_client import GateClient

_LOOK_EVERY: Final = 0.05
_DECIDE_TIMEOUT: Final = 60.0
"""Seconds until what was approved has to be granted."""


class Supervise:
    """What a bottle's agent asks for, and what it is answered.

    A proposal is answered by the first expectation that it matches, else by the policy, else by
    whoever calls its methods or `pytest-bottle supervise`, else by its timeout. All may be called
    from several threads.
    """

    def __init__(self, client: GateClient) -> None:
        """Not for callers: `Bottle.supervise` is one."""
        self._client = client
        self._lock = threading.Lock()
        self._expectations: list[Expectation] = []
        self._policy: Callable[[Proposal], Answer] | None = None
        self._problems: list[SuperviseError] = []
        client.on_ask = self._answer

    def expect(self, kind: str, **fields: object) -> Expectation:
        """Expect the agent to ask, and say what it is answered: `.approve()`, `.reject("why")`.

        Each is used once (see `Expectation.times` and `always`), in the order in which they were
        made. One that was not used fails the test at its end.

        Args:
            kind: `egress`, `git_push` or `capability`.
            fields: Values of arguments, or of `reason`, with `*`, `?` and `[...]` as in a shell;
                of a list each value has to match.

        Raises:
            ValueError: there is no such kind.
            TypeError: it has no such field.
        """
        expectation = Expectation(kind, fields)
        with self._lock:
            self._expectations.append(expectation)
        return expectation

    def policy(self, function: Callable[[Proposal], Answer]) -> Callable[[Proposal], Answer]:
        """Have a function decide what no expectation matches; also of use as a decorator.

        It returns `approve()`, `modify(...)` or `reject("why")`, and runs in a thread of the test's
        process. Where it raises or returns something else, the proposal is rejected, and the test
        fails.

        Args:
            function: Called with each proposal.
        """
        self._policy = function
        return function

    @property
    def proposals(self) -> list[Proposal]:
        """All that was asked in this test, with what became of it, oldest first.

        Raises:
            DoorError: the door is gone.
        """
        return proposals_of(self._client.records(), self._decide)

    @property
    def pending(self) -> list[Proposal]:
        """What waits for an answer: `bottle.supervise.pending[0].approve()`.

        Raises:
            DoorError: the door is gone.
        """
        waiting = self._client.call("pending")["proposals"]
        return [proposal_from_json(value, self._decide) for value in waiting]

    def wait(self, kind: str = "*", *, timeout: float = 30.0) -> Proposal:
        """Return the first pending proposal, and wait for one where there is none.

        For tests that answer while their agent runs in another thread.

        Args:
            kind: Of which kind.
            timeout: Seconds to wait.

        Raises:
            TimeoutError: there was none in time.
            DoorError: the door is gone.
        """
        deadline = time.monotonic() + timeout
        while True:
            for proposal in self.pending:
                if kind in {"*", proposal.kind}:
                    return proposal
            if time.monotonic() > deadline:
                raise TimeoutError(f"the agent asked its supervisor nothing for {timeout:g} s")
            time.sleep(_LOOK_EVERY)

    @property
    def audit(self) -> list[dict[str, Any]]:
        """The records of this test: each `proposal` and each `decision`, in their order.

        Raises:
            DoorError: the door is gone.
        """
        return self._client.records()

    @property
    def unmet(self) -> list[str]:
        """The expectations that nobody has met yet."""
        with self._lock:
            return [str(one) for one in self._expectations if one.missing]

    def check(self) -> None:
        """Raise what the test has to hear of, once.

        Raises:
            SuperviseError: its policy, or another answer, failed.
            UnmetExpectationError: the agent did not ask for what was expected.
        """
        with self._lock:
            problems, self._problems = self._problems, []
        if problems:
            raise problems[0]
        if unmet := self.unmet:
            self._expectations.clear()
            try:
                asked = [f"{one} ({one.decision or 'pending'})" for one in self.proposals]
            except DoorError:
                asked = []
            raise UnmetExpectationError(unmet, asked=asked)

    def begin(self) -> None:
        """Forget the expectations and the policy, for the next test."""
        with self._lock:
            self._expectations.clear()
            self._problems.clear()
            self._policy = None

    def _decide(self, number: str, answer: Answer) -> None:
        self._client.call(
            "decide", id=number, by="test", **answer.to_json(), timeout=_DECIDE_TIMEOUT
        )

    def _answer(self, _number: int, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer the door, which asks for each proposal."""
        proposal = proposal_from_json(request)
        try:
            return {"turn": self._turn(proposal)}
        except Exception as error:  # noqa: BLE001 - whatever the test's function does
            what = f"{type(error).__name__}: {error}"
            problem = SuperviseError(f"{proposal.id} ({proposal})", reason=what)
            with self._lock:
                self._problems.append(problem)
            return {"failed": f"the test could not answer: {what}"}

    def _turn(self, proposal: Proposal) -> dict[str, Any]:
        with self._lock:
            expectation = next((one for one in self._expectations if one.matches(proposal)), None)
            if expectation is not None:
                expectation.used += 1
        if expectation is not None and expectation.answer is not None:
            turn = _checked(proposal, expectation.answer)
            if expectation.then is not None and turn["decision"] != "reject":
                expectation.then(proposal)
            return {**turn, "by": "expectation"}
        if self._policy is None:
            return {}
        return {**_checked(proposal, self._policy(proposal)), "by": "policy"}


def _checked(proposal: Proposal, answer: object) -> dict[str, Any]:
    """Return an answer as JSON values, where it can be given.

    Raises:
        TypeError: it is none.
        ValueError: its changes are wrong.
    """
    if not isinstance(answer, Answer):
        raise TypeError(f"a policy returns approve(), modify(...) or reject(...), not {answer!r}")
    if answer.decision == "modify":
        check(proposal.kind, {**proposal.arguments, **answer.changes})
    return answer.to_json()
