"""What a person reads around the tests: the header, and what pytest's own summary leaves out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_bottle.gates import REASON_PREFIX
from pytest_bottle.gates import probe
from pytest_bottle.outcomes import summarize_outcomes
from pytest_bottle.session import PROPERTY_PREFIX

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.terminal import TerminalReporter

    from pytest_bottle.gateway.ledger import Totals
    from pytest_bottle.session import BottleSession


def summarize(session: BottleSession, terminal: TerminalReporter) -> None:
    """Write what pytest's own summary does not: infra errors, gated skips, what resisted."""
    summarize_outcomes(terminal)
    _summarize_skips(terminal)
    for missing in session.missing:
        terminal.write_line(f"bottle: required and missing: {missing}", red=True)
    for problem in session.problems:
        terminal.write_line(f"bottle: not removed: {problem}", red=True)
    for kept in session.kept:
        terminal.write_line(f"bottle: kept: {kept}", yellow=True)
    if session.spent is not None:
        spent = _spent_text(session.spent, session.options["prices"])
        terminal.write_line(f"bottle: {spent}")
    _summarize_drift(terminal)
    if session.kept:
        terminal.write_line("bottle: remove what was kept with `pytest-bottle reap --kept`")


def _spent_text(spent: Totals, prices: Path | None) -> str:
    """Return what the models took, in a line; `prices` is the file that goes before our own."""
    from pytest_bottle.gateway.prices import load_prices

    usage = spent.usage
    cached = usage.cache_read_tokens + usage.cache_write_tokens
    text = (
        f"models: {spent.requests} requests, {usage.input_tokens} tokens in, "
        f"{usage.output_tokens} out" + (f", {cached} in caches" if cached else "")
    )
    text += (
        f"; ${spent.cost:.4f} at prices of {load_prices(prices).date}, ${spent.paid:.4f} of it paid"
    )
    if spent.unpriced:
        text += f"; without a price: {', '.join(sorted(spent.unpriced))}"
    return text


def _summarize_drift(terminal: TerminalReporter) -> None:
    """Say which cassettes are no longer what their tests' agents do."""
    drift = {
        value: None  # In their order, and each once.
        for reports in terminal.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == f"{PROPERTY_PREFIX}drift"
    }
    for line in drift:
        terminal.write_line(f"bottle: drift: {line}", yellow=True)


def _summarize_skips(terminal: TerminalReporter) -> None:
    """Count the tests that gates skipped by reason, whatever -r asks for."""
    counts: dict[str, int] = {}
    for report in terminal.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        reason = reason.removeprefix("Skipped: ")
        if reason.startswith(REASON_PREFIX):
            counts[reason] = counts.get(reason, 0) + 1
    for reason, count in sorted(counts.items()):
        terminal.write_line(f"skipped {count}: {reason}", yellow=True)


def header(session: BottleSession) -> list[str]:
    """Return the report's header: the backend, how strong its wall is, and what is required.

    Hosts are only probed where the suite shows that it uses bottles, by a manifest at its root or
    by a setting: other suites must not pay for it.
    """
    backends = session.options["backend"]
    root = session.config.rootpath
    uses_bottles = session.options.chosen or (root / "bottle.toml").is_file()
    if not uses_bottles:
        return [f"bottle: backend {', '.join(backends)} (probed when a test asks for a bottle)"]
    lines = []
    lifecycle = session.lifecycle
    names = [name for name in backends if name in lifecycle.extensions.backend_names]
    for name in names or lifecycle.extensions.backend_names:
        start = time.monotonic()
        answer = probe(session, name)
        seconds = time.monotonic() - start
        wall = lifecycle.extensions.backend(name).wall
        seen = answer.detail if answer.ok else f"missing: {answer.detail}"
        lines.append(f"bottle: {name} ({wall}): {seen} [{seconds:.2f} s]")
        if answer.ok and "auto" in backends:
            break
    if required := session.options["require"]:
        lines.append(f"bottle: requires {', '.join(required)}")
    return lines
