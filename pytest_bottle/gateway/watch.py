"""What passes through a bottle's door while its agent works on one task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bottle.errors import DoorError
from pytest_bottle.errors import InfraError
from pytest_bottle.errors import UnexpectedRequestError
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence

    from pytest_bottle.gateway.model import Model
    from pytest_bottle.gateway.values import Exchange


class Watch:
    """Begins when it is made; `check` raises what the test has to hear of."""

    def __init__(self, model: Model) -> None:
        """Remember what was there before."""
        self._model = model
        self._exchanges = len(model.exchanges)
        self._problems = len(model.problems)

    def kill_with(self, kill: Callable[[], None]) -> None:
        """Have the agent killed when it asks for more than its budget has left, or the door dies.

        It would ask a door that has gone again and again, until its time is up.
        """
        self._model.on_over_budget(lambda _: kill())
        self._model.on_gone(kill)

    @property
    def stopped(self) -> bool:
        """Whether it was killed for its budget, or for the end of its door."""
        try:
            return self._model.over_budget is not None
        except DoorError:
            return True

    @property
    def exchanges(self) -> list[Exchange]:
        """What passed since; nothing where the door has gone, which `check` tells."""
        try:
            return self._model.exchanges[self._exchanges :]
        except DoorError:
            return []

    @property
    def usage(self) -> Usage:
        """The tokens since."""
        return sum((exchange.reply.usage for exchange in self.exchanges), Usage())

    @property
    def cost(self) -> float | None:
        """The US dollars since; None where a model has no price."""
        costs = [exchange.cost for exchange in self.exchanges if exchange.reply.usage.total_tokens]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def check(self) -> None:
        """Raise what was wrong since.

        Raises:
            BudgetExceededError: it was stopped for that.
            DoorError: the door has gone.
            UnexpectedRequestError: nobody had an answer for it.
        """
        if (over := self._model.over_budget) is not None:
            raise over
        if problems := self._model.problems[self._problems :]:
            raise unexpected(problems)

    @property
    def broken(self) -> InfraError | None:
        """What broke off the last answer, on the way to a real API."""
        last = self.exchanges[-1:]
        return InfraError(last[0].problem) if last and last[0].infra else None


def unexpected(problems: Sequence[str]) -> UnexpectedRequestError:
    """Return the error for requests that nobody had an answer to: an agent asks again and again."""
    more = len(problems) - 1
    again = f"It asked {more} more such request{'s' if more > 1 else ''}, in vain as well."
    return UnexpectedRequestError("\n\n".join([problems[0], *([again] if more else [])]))
