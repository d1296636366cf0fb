"""Runs a test again, on a fresh bottle, when its sandbox or its engine failed under it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from _pytest.runner import runtestprotocol

from pytest_bottle.reporting import INFRA_RETRY
from pytest_bottle.session import ItemState

if TYPE_CHECKING:
    import pytest

    from pytest_bottle.session import BottleSession


def run_with_retries(
    session: BottleSession, item: pytest.Item, nextitem: pytest.Item | None
) -> None:
    """Run a test's whole protocol, again after each infra error while retries are left."""
    location = item.location
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=location)
    left = session.options["infra-retries"]
    while True:
        session.current = ItemState(item)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        again = left > 0 and any(getattr(report, "bottle_infra", False) for report in reports)
        for report in reports:
            if again and report.failed:
                report.outcome = INFRA_RETRY  # type: ignore[assignment]
            item.ihook.pytest_runtest_logreport(report=report)
        if not again:
            break
        left -= 1
        # As pytest itself prepares an item; its fixtures are made anew.
        renewable: Any = item
        renewable._initrequest()  # noqa: SLF001
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=location)
