"""Outcomes that pytest does not know: infra errors, and agents that were over their budget."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.errors import BottleError
from pytest_bottle.errors import BudgetExceededError
from pytest_bottle.errors import InfraError
from pytest_bottle.session import PROPERTY_PREFIX

if TYPE_CHECKING:
    import pytest
    from _pytest.terminal import TerminalReporter

INFRA: Final = "infra error"
"""The outcome of a test whose sandbox or engine failed under it."""

INFRA_RETRY: Final = "infra retry"
"""The outcome of such a test where it was run again."""

OVER_BUDGET: Final = "over budget"
"""The outcome of a test whose agent was stopped because it had spent its budget."""

_LETTERS: Final = {INFRA: "I", INFRA_RETRY: "i", OVER_BUDGET: "B"}
_MEANINGS: Final = {
    INFRA: "These tests say nothing about the agent: their sandbox or its engine failed. "
    "--bottle-infra-retries=N runs such a test again on a fresh bottle.",
    OVER_BUDGET: "These agents were stopped: they had spent their budget.",
}


def is_infra(problem: BaseException | None) -> bool:
    """Tell whether an exception, or what it was raised from, is nobody's fault.

    The plugin's last own error decides: an image that is missing is the host owner's to mend,
    whatever the engine said.

    A group is so if all in it are: what failed besides must not be hidden.
    """
    seen: set[int] = set()
    while problem is not None and id(problem) not in seen:
        if isinstance(problem, BottleError):
            return isinstance(problem, InfraError)
        if isinstance(problem, BaseExceptionGroup):
            return all(is_infra(part) for part in problem.exceptions)
        seen.add(id(problem))
        problem = problem.__cause__
    return False


def outcome_of(problem: BaseException) -> str | None:
    """Return the outcome of our own that an exception means for its test; None for all others."""
    if is_infra(problem):
        return INFRA
    return OVER_BUDGET if isinstance(problem, BudgetExceededError) else None


def mark_outcome(item: pytest.Item, report: pytest.TestReport, outcome: str) -> None:
    """Make a report one of an outcome of ours, also where the test was expected to fail."""
    if hasattr(report, "wasxfail"):
        del report.wasxfail
    report.outcome = "failed"
    report.bottle_outcome = outcome  # type: ignore[attr-defined] # travels with the report
    add_properties(item, report, [(f"{PROPERTY_PREFIX}outcome", outcome)])


def is_marked_infra(report: pytest.TestReport) -> bool:
    """Tell whether a report is one of an infra error."""
    return getattr(report, "bottle_outcome", None) == INFRA


def add_properties(
    item: pytest.Item, report: pytest.TestReport, properties: list[tuple[str, str]]
) -> None:
    """Add properties to this report, and to the later ones, of which the last is JUnit's."""
    item.user_properties += properties
    report.user_properties += properties


def status(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Return how an outcome of ours is counted and shown; None for every other."""
    outcome: str = report.outcome
    if outcome != INFRA_RETRY:
        outcome = getattr(report, "bottle_outcome", "") if report.failed else ""
    if not outcome:
        return None
    color = "yellow" if outcome == INFRA_RETRY else "red"
    return outcome, _LETTERS[outcome], (outcome.upper(), {color: True})


def summarize_outcomes(terminal: TerminalReporter) -> None:
    """Write the reports of these outcomes, which pytest's own summaries leave out."""
    for outcome, meaning in _MEANINGS.items():
        reports = terminal.stats.get(outcome, [])
        retried = terminal.stats.get(INFRA_RETRY, []) if outcome == INFRA else []
        if reports or retried:
            terminal.write_sep("=", f"{outcome.upper()}S" if outcome == INFRA else outcome.upper())
        for report in retried:
            words = report.longreprtext.strip().rpartition("\n")[2]
            terminal.write_line(f"run again: {report.nodeid} ({report.when}): {words}", yellow=True)
        for report in reports:
            terminal.write_sep("_", f"{report.nodeid} ({report.when})", red=True)
            report.toterminal(terminal._tw)  # noqa: SLF001 - as pytest's own summaries do
            for name, content in report.sections:
                terminal.write_sep("-", name)
                terminal.write_line(content)
        if reports:
            terminal.write_line(meaning)
