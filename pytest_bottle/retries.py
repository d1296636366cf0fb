"""Runs a test again, on a fresh bottle, when its sandbox or its engine failed under it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from _pytest.runner import runtestprotocol

from pytest_bottle.reporting import INFRA_RETRY

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
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        broken = [report for report in reports if getattr(report, "bottle_infra", False)]
        again = left > 0 and bool(broken)
        for report in broken if again else reports:
            if again:
                report.outcome = INFRA_RETRY  # type: ignore[assignment]
            item.ihook.pytest_runtest_logreport(report=report)
        if not again:
            break
        left -= 1
        _renew_fixtures(session, item)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=location)


def _renew_fixtures(session: BottleSession, item: pytest.Item) -> None:
    """Have wide fixtures set up again that failed, or that hold a lost bottle.

    Their ends still come with their scopes.
    """
    info: Any = getattr(item, "_fixtureinfo", None)
    definitions = info.name2fixturedefs if info else {}
    renewed = {name for name, bottle in session.makers if bottle.lost}
    renewed |= {name for name, found in definitions.items() if any(map(_failed, found))}
    known = -1
    while known != len(renewed):
        known = len(renewed)
        for name, found in definitions.items():
            if any(renewed.intersection(definition.argnames) for definition in found):
                renewed.add(name)
    for name in renewed:
        for definition in definitions.get(name, ()):
            # The value, or the exception, that the next attempt would be given again.
            definition.cached_result = None


def _failed(definition: pytest.FixtureDef[Any]) -> bool:
    cached = definition.cached_result
    return cached is not None and cached[2] is not None
