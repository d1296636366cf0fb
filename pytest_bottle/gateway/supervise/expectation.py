"""What a test expects its agent to ask for, and how each of it is answered."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import Self

from pytest_bottle.gateway.supervise.asking import FIELDS
from pytest_bottle.gateway.supervise.proposal import Answer
from pytest_bottle.gateway.supervise.proposal import approve
from pytest_bottle.gateway.supervise.proposal import modify
from pytest_bottle.gateway.supervise.proposal import reject

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

    from pytest_bottle.gateway.supervise.proposal import Proposal


class Expectation:
    """One rule: matches proposals by their kind and fields, and has an answer to them.

    Without an answer it is only noticed that it was asked, and a policy or a person decides.
    """

    def __init__(self, kind: str, fields: Mapping[str, object]) -> None:
        """Not for callers: `bottle.supervise.expect(...)` makes them.

        Raises:
            ValueError: there is no such kind.
            TypeError: the kind has no such field.
        """
        if kind not in FIELDS:
            raise ValueError(f"there is no kind {kind!r}: there are {', '.join(FIELDS)}")
        for name in fields:
            if name not in {*FIELDS[kind], "reason"}:
                known = ", ".join((*FIELDS[kind], "reason"))
                raise TypeError(f"{kind} has no field {name!r}: it has {known}")
        self.kind: Final = kind
        self._fields = dict(fields)
        self._most: int | None = 1
        self.used = 0
        """How often it has matched."""
        self.answer: Answer | None = None
        self.then: Callable[[Proposal], object] | None = None

    def times(self, count: int) -> Self:
        """Match that many proposals, and expect so many."""
        if count < 1:
            raise ValueError("expect(...).times(...) takes a number from 1 on")
        self._most = count
        return self

    def always(self) -> Self:
        """Match any number of proposals, also none."""
        self._most = None
        return self

    def approve(self, why: str = "", *, then: Callable[[Proposal], object] | None = None) -> Self:
        """Grant what is asked for.

        Args:
            why: What the agent is told.
            then: Called with the proposal, in the test's process, before it is granted. Where it
                raises, the proposal is rejected, and the test fails.
        """
        self.answer, self.then = approve(why), then
        return self

    def modify(self, why: str = "", **changes: object) -> Self:
        """Grant something else: `.modify(host="docs.python.org", paths=["/3/"])`.

        Raises:
            TypeError: the kind has no such field.
        """
        for name in changes:
            if name not in FIELDS[self.kind]:
                raise TypeError(f"{self.kind} has no field {name!r} to modify")
        self.answer = modify(why, **changes)
        return self

    def reject(self, why: str) -> Self:
        """Grant nothing, and tell the agent why."""
        self.answer = reject(why)
        return self

    def matches(self, proposal: Proposal) -> bool:
        """Tell whether a proposal is what is expected; always False once it is used up."""
        if self._most is not None and self.used >= self._most:
            return False
        if proposal.kind != self.kind:
            return False
        values = {**proposal.arguments, "reason": proposal.reason}
        return all(_fits(pattern, values.get(name)) for name, pattern in self._fields.items())

    @property
    def missing(self) -> int:
        """How many proposals it still expects."""
        return 0 if self._most is None else self._most - self.used

    def __str__(self) -> str:
        """Return it as its author wrote it, with how often it is missing."""
        fields = "".join(f", {name}={value!r}" for name, value in self._fields.items())
        count = f" ({self.missing} times more)" if self.missing > 1 or self.used else ""
        return f'expect("{self.kind}"{fields}){count}'


def _fits(pattern: Any, value: Any) -> bool:  # noqa: ANN401 - JSON
    """Tell whether a value, or each of a list, fits a pattern, or one of a list."""
    patterns = list(pattern) if isinstance(pattern, list | tuple | set) else [pattern]
    if isinstance(value, list):
        # None asked for is all of them, which no pattern of some fits.
        return patterns in ([], ["*"]) if not value else all(_one(patterns, one) for one in value)
    return _one(patterns, value)


def _one(patterns: list[Any], value: Any) -> bool:  # noqa: ANN401 - JSON
    return any(
        pattern == value
        or (
            isinstance(pattern, str)
            and value is not None
            and fnmatch.fnmatchcase(str(value), pattern)
        )
        for pattern in patterns
    )
