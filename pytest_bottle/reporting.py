"""What a person reads: what a failed test's bottles did, what was skipped and why, infra errors."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from typing import Final

import pytest
from _pytest._code.code import filter_traceback

from pytest_bottle.errors import BottleError
from pytest_bottle.errors import InfraError
from pytest_bottle.gates import REASON_PREFIX
from pytest_bottle.gates import probe
from pytest_bottle.session import PROPERTY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _pytest._code.code import TracebackEntry
    from _pytest.terminal import TerminalReporter

    from pytest_bottle.command_log import CommandRecord
    from pytest_bottle.session import BottleSession
    from pytest_bottle.session import Use

_PACKAGE: Final = Path(__file__).parent

INFRA: Final = "infra error"
"""The outcome of a test whose sandbox or engine failed under it."""

INFRA_RETRY: Final = "infra retry"
"""The outcome of such a test where it was run again."""

LAST_COMMANDS: Final = 10
"""Commands shown of each bottle."""

TAIL_LINES: Final = 20
"""Lines shown of each stream."""

DIFF_LINES: Final = 60
"""Lines shown of the workspace's changes."""


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


def trim_traceback(item: pytest.Item, call: pytest.CallInfo[None]) -> bool:
    """Leave the plugin's own frames out of an error's traceback: the author's frames are enough.

    Returns:
        Whether none of the author's is in it, so that the error's own words are enough.
    """
    excinfo = call.excinfo
    if excinfo is None or item.config.getoption("fulltrace", default=False):
        return False
    if not isinstance(excinfo.value, BottleError | OSError) or not _is_own(excinfo.traceback[-1]):
        return False
    others = [entry for entry in excinfo.traceback if not _is_own(entry)]
    if not any(filter_traceback(entry) for entry in others):
        return True
    trimmed: TracebackType | None = None
    for entry in reversed(others):
        raw = entry._rawentry  # noqa: SLF001 - pytest's own filters go back to it
        trimmed = TracebackType(trimmed, raw.tb_frame, raw.tb_lasti, raw.tb_lineno)
    call.excinfo = pytest.ExceptionInfo.from_exception(excinfo.value.with_traceback(trimmed))
    return False


def _is_own(entry: TracebackEntry) -> bool:
    return Path(entry.path).is_relative_to(_PACKAGE)


def mark_infra(item: pytest.Item, report: pytest.TestReport) -> None:
    """Make a report one of an infra error, also where the test was expected to fail."""
    if hasattr(report, "wasxfail"):
        del report.wasxfail
    report.outcome = "failed"
    report.bottle_infra = True  # type: ignore[attr-defined] # travels with the report
    _add_properties(item, report, [(f"{PROPERTY_PREFIX}outcome", INFRA)])


def describe_failure(session: BottleSession, report: pytest.TestReport) -> None:
    """Add to a failed test's report what its bottles did, as sections and as properties."""
    state = session.current
    if state is None:
        return
    for use in state.uses:
        bottle = use.bottle
        records = bottle.log.records[-max(bottle.log.count - use.first_command, 0) :]
        if bottle.log.count == use.first_command:
            records = ()
        lines = [
            f"backend: {bottle.backend} ({bottle.wall})",
            *_commands(records),
            *_changes(session, use, report.nodeid),
        ]
        if evidence := session.evidence_directory(report.nodeid):
            lines.append(f"artifacts: {evidence}")
        if session.keeps(bottle, failed=True):
            lines.append(f"kept: enter it with `{bottle.connection()}`,")
            lines.append("      remove it with `pytest-bottle reap --kept`")
        report.sections.append((f"bottle {bottle.name}", "\n".join(lines)))
        properties = [
            ("name", bottle.name),
            ("backend", bottle.backend),
            *(("command", _headline(record)) for record in records[-LAST_COMMANDS:]),
        ]
        if evidence is not None:
            properties.append(("artifacts", str(evidence)))
        named = [(f"{PROPERTY_PREFIX}{name}", value) for name, value in properties]
        _add_properties(state.item, report, named)


def _add_properties(
    item: pytest.Item, report: pytest.TestReport, properties: list[tuple[str, str]]
) -> None:
    """Add properties to this report, and to the later ones, of which the last is JUnit's."""
    item.user_properties += properties
    report.user_properties += properties


def _headline(record: CommandRecord) -> str:
    command = shlex.join(record.argv)
    if len(command) > 200:  # noqa: PLR2004 - a line on a wide terminal
        command = f"{command[:200]}..."
    return f"[{record.outcome}] {command} ({record.duration:.2f} s)"


def _commands(records: tuple[CommandRecord, ...]) -> Iterable[str]:
    if not records:
        yield "commands: none"
        return
    shown = records[-LAST_COMMANDS:]
    yield f"commands: the last {len(shown)} of {len(records)}, with return code and time"
    for record in shown:
        yield f"  {_headline(record)}"
        for name, text in (("out", record.stdout), ("err", record.stderr)):
            lines = text.splitlines()
            if len(lines) > TAIL_LINES:
                yield f"    {name}: ... {len(lines) - TAIL_LINES} lines more"
            for line in lines[-TAIL_LINES:]:
                yield f"    {name}: {line}"


def _changes(session: BottleSession, use: Use, nodeid: str) -> Iterable[str]:
    bottle = use.bottle
    if bottle.lost or bottle.closed:
        yield "workspace: gone with the bottle"
        return
    try:
        diff = bottle.diff()
    except (BottleError, OSError) as problem:
        yield f"workspace: could not be read ({problem})"
        return
    from pytest_bottle.redaction import redactor  # Others need not pay.

    text = redactor(bottle.plan.secrets)(diff.text)
    if evidence := session.evidence_directory(nodeid):
        evidence.mkdir(parents=True, exist_ok=True)
        (evidence / f"{bottle.name}.diff").write_text(text, errors="surrogateescape")
    lines = text.splitlines()
    yield f"workspace: {len(diff)} changes since it was provisioned"
    yield from (f"  {line}" for line in lines[:DIFF_LINES])
    if len(lines) > DIFF_LINES:
        yield f"  ... {len(lines) - DIFF_LINES} lines more"


def status(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Return how an infra error is counted and shown; None for every other outcome."""
    outcome: str = report.outcome
    if outcome == INFRA_RETRY:
        return INFRA_RETRY, "i", ("INFRA RETRY", {"yellow": True})
    if report.failed and getattr(report, "bottle_infra", False):
        return INFRA, "I", ("INFRA ERROR", {"red": True})
    return None


def summarize(session: BottleSession, terminal: TerminalReporter) -> None:
    """Write what pytest's own summary does not: infra errors, gated skips, what resisted."""
    _summarize_infra(terminal)
    _summarize_skips(terminal)
    for missing in session.missing:
        terminal.write_line(f"bottle: required and missing: {missing}", red=True)
    for problem in session.problems:
        terminal.write_line(f"bottle: not removed: {problem}", red=True)
    for kept in session.kept:
        terminal.write_line(f"bottle: kept: {kept}", yellow=True)
    if session.kept:
        terminal.write_line("bottle: remove what was kept with `pytest-bottle reap --kept`")


def _summarize_infra(terminal: TerminalReporter) -> None:
    reports = terminal.stats.get(INFRA, [])
    retried = terminal.stats.get(INFRA_RETRY, [])
    if not reports and not retried:
        return
    terminal.write_sep("=", "INFRA ERRORS")
    for report in retried:
        words = report.longreprtext.strip().rpartition("\n")[2]
        terminal.write_line(f"run again: {report.nodeid} ({report.when}): {words}", yellow=True)
    if not reports:
        return
    for report in reports:
        terminal.write_sep("_", f"{report.nodeid} ({report.when})", red=True)
        report.toterminal(terminal._tw)  # noqa: SLF001 - as pytest's own summaries do
        for name, content in report.sections:
            terminal.write_sep("-", name)
            terminal.write_line(content)
    terminal.write_line(
        "These tests say nothing about the agent: their sandbox or its engine failed. "
        "--bottle-infra-retries=N runs such a test again on a fresh bottle."
    )


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
