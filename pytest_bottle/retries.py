"""Runs a test again, on a fresh bottle, when its sandbox or its engine failed under it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from pytest_bottle.outcomes import INFRA_RETRY
from pytest_bottle.outcomes import is_marked_infra

if TYPE_CHECKING:
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
        broken = [report for report in reports if is_marked_infra(report)]
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
    """End wide fixtures that broke, or that made a bottle which is lost, and all that use them."""
    stale = [*session.broken, *(maker for maker, bottle in session.makers if bottle.lost)]
    session.broken.clear()
    session.makers[:] = [pair for pair in session.makers if not pair[1].lost]

    def end() -> None:
        with ExitStack() as stack:
            for request in stale:
                definition: Any = request._fixturedef  # type: ignore[attr-defined] # noqa: SLF001
                stack.callback(definition.finish, request)

    call = pytest.CallInfo.from_call(
        end, when="teardown", reraise=(pytest.exit.Exception, KeyboardInterrupt)
    )
    report = item.ihook.pytest_runtest_makereport(item=item, call=call)
    if report.failed and not is_marked_infra(report):
        item.ihook.pytest_runtest_logreport(report=report)
