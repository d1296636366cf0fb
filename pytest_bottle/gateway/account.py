"""What has been spent of a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bottle.errors import BudgetExceededError
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from pytest_bottle.usage import Budget


class Account:
    """The spending of one bottle, or of the whole run."""

    def __init__(self, whose: str, budget: Budget | None) -> None:
        """Begin at nothing; without a budget, there is no bound."""
        self._whose = whose
        self.budget = budget
        self.usage = Usage()
        self.cost: float | None = 0.0
        """US dollars; None once an answer came from a model without a price."""
        self._dollars = 0.0

    def add(self, usage: Usage, cost: float | None) -> None:
        """Take an answer into account."""
        self.usage += usage
        self._dollars += cost or 0.0
        if cost is None and usage.total_tokens:
            self.cost = None
        elif self.cost is not None:
            self.cost = self._dollars

    def check(self) -> None:
        """Return where more may be spent.

        Raises:
            BudgetExceededError: a bound is reached.
        """
        if self.budget is None:
            return
        dollars, tokens = self.budget.dollars, self.budget.tokens
        if dollars is not None and self._dollars >= dollars:
            raise BudgetExceededError(
                whose=self._whose, spent=f"${self._dollars:.4f}", budget=f"${dollars:.4f}"
            )
        spent = self.usage.total_tokens
        if tokens is not None and spent >= tokens:
            raise BudgetExceededError(
                whose=self._whose, spent=f"{spent:,} tokens", budget=f"{tokens:,} tokens"
            )

    def check_price(self, model: str, *, priced: bool) -> None:
        """Return where an answer's price is known, or no dollars are counted.

        Raises:
            BudgetExceededError: nobody could tell when the budget is used up.
        """
        if self.budget is not None and self.budget.dollars is not None and not priced:
            raise BudgetExceededError(
                whose=self._whose,
                spent=f"an unknown part (model {model!r} has no price: add it to the file of "
                "prices, or set a budget in tokens)",
                budget=f"${self.budget.dollars:.4f}",
            )
