"""What a failed test's report says: what its bottles and their agents did."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from typing import Final

import pytest
from _pytest._code.code import filter_traceback

from pytest_bottle.errors import BottleError
from pytest_bottle.outcomes import add_properties
from pytest_bottle.printable import printable
from pytest_bottle.session import PROPERTY_PREFIX
from pytest_bottle.transcript.gathering import story_of
from pytest_bottle.transcript.text import crossing_lines
from pytest_bottle.transcript.text import exchange_lines
from pytest_bottle.transcript.text import run_lines
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _pytest._code.code import TracebackEntry

    from pytest_bottle.command_log import CommandRecord
    from pytest_bottle.session import BottleSession
    from pytest_bottle.transcript.story import BottleStory

_PACKAGE: Final = Path(__file__).parent

LAST_COMMANDS: Final = 10
"""Commands shown of each bottle."""

TAIL_LINES: Final = 20
"""Lines shown of each stream."""

DIFF_LINES: Final = 60
"""Lines shown of the workspace's changes."""


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


def describe_failure(session: BottleSession, report: pytest.TestReport) -> None:
    """Add to a failed test's report what its bottles did, as sections and as properties."""
    state = session.current
    if state is None:
        return
    evidence = session.evidence_directory(report.nodeid)
    for use in state.uses:
        bottle, story = use.bottle, story_of(state, use)
        redact = bottle.log.redact
        if evidence is not None and story.diff is not None:
            _write(evidence / f"{bottle.name}.diff", redact(story.diff.text))
        lines = [
            f"backend: {bottle.backend} ({bottle.wall})",
            *(line for miss in bottle.misses for line in ("what the assertion saw:", miss)),
            *(line for run in story.runs for line in run_lines(run)),
            *crossing_lines(story.crossings, story.crossings_problem),
            *exchange_lines(story.exchanges),
            *_commands(story),
            *_changes(story),
        ]
        if evidence is not None:
            lines.append(f"artifacts: {evidence}")
        if session.keeps(bottle, failed=True):
            lines.append(f"kept: enter it with `{bottle.connection()}`,")
            lines.append("      remove it with `pytest-bottle reap --kept`")
        report.sections.append((f"bottle {bottle.name}", redact("\n".join(lines))))
        properties = [
            ("name", bottle.name),
            ("backend", bottle.backend),
            *(("command", _headline(record)) for record in story.commands[-LAST_COMMANDS:]),
        ]
        if evidence is not None:
            properties.append(("artifacts", str(evidence)))
        named = [(f"{PROPERTY_PREFIX}{name}", value) for name, value in properties]
        add_properties(state.item, report, named)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def _headline(record: CommandRecord) -> str:
    command = shlex.join(record.argv)
    if len(command) > 200:  # noqa: PLR2004 - a line on a wide terminal
        command = f"{command[:200]}..."
    return printable(f"[{record.outcome}] {command} ({record.duration:.2f} s)")


def _commands(story: BottleStory) -> Iterable[str]:
    # What an agent's own process wrote is in its transcript.
    own = {run.result.argv for run in story.runs}
    records = [record for record in story.commands if record.argv not in own]
    if not records:
        yield "commands: none" + (" of the test's own" if own else "")
        return
    shown = records[-LAST_COMMANDS:]
    yield f"commands: the last {len(shown)} of {len(records)}, with return code and time"
    for record in shown:
        yield f"  {_headline(record)}"
        for name, text in (("out", record.stdout), ("err", record.stderr)):
            lines = printable(text).splitlines()
            if len(lines) > TAIL_LINES:
                yield f"    {name}: ... {len(lines) - TAIL_LINES} lines more"
            for line in lines[-TAIL_LINES:]:
                yield f"    {name}: {line}"


def _changes(story: BottleStory) -> Iterable[str]:
    if story.diff is None:
        yield f"workspace: {story.diff_problem}"
        return
    lines = printable(story.diff.text).splitlines()
    more = story.repository_changes
    others = f", and {more} in repositories that are new" if more else ""
    yield f"workspace: {len(story.diff)} changes since it was {story.began}{others}"
    yield from (f"  {line}" for line in lines[:DIFF_LINES])
    if len(lines) > DIFF_LINES:
        yield f"  ... {len(lines) - DIFF_LINES} lines more"


def report_costs(session: BottleSession, item: pytest.Item, report: pytest.TestReport) -> None:
    """Add what a test's models took to its properties, which JUnit's report shows.

    What a replay missed of its cassette is there too, unless the test failed for other reasons.
    """
    state = session.current
    bottles = [] if state is None else [use.bottle for use in state.uses]
    exchanges = [exchange for bottle in bottles for exchange in bottle.exchanges]
    if not exchanges:
        return
    usage = sum((exchange.reply.usage for exchange in exchanges), Usage())
    properties = [
        ("model_requests", str(len(exchanges))),
        ("input_tokens", str(usage.input_tokens)),
        ("output_tokens", str(usage.output_tokens)),
    ]
    costs = [exchange.cost for exchange in exchanges if exchange.reply.usage.total_tokens]
    if None not in costs:
        properties.append(("cost_usd", f"{sum(cost or 0 for cost in costs):.6f}"))
    if report.passed:
        properties += [("drift", line) for bottle in bottles for line in bottle.drift]
    named = [(f"{PROPERTY_PREFIX}{name}", value) for name, value in properties]
    add_properties(item, report, named)


def write_transcript(session: BottleSession, report: pytest.TestReport) -> None:
    """Write a test's transcript as a page into the artifacts, where they are asked for.

    Of every failed test, or of all whose agents did something, as the settings say.
    """
    state, evidence = session.current, session.evidence_directory(report.nodeid)
    if state is None or evidence is None or not state.uses:
        return
    if not report.failed and session.options["transcripts"] != "all":
        return
    stories = [story_of(state, use) for use in state.uses]
    if not report.failed and not any(story.runs for story in stories):
        return
    from pytest_bottle.transcript.page import render_page
    from pytest_bottle.transcript.story import TestStory

    story = TestStory(
        nodeid=report.nodeid,
        outcome=report.outcome,
        failure=report.longreprtext if report.failed else "",
        misses=[miss for use in state.uses for miss in use.bottle.misses],
        bottles=stories,
    )

    def redact(text: str) -> str:
        for use in state.uses:
            text = use.bottle.log.redact(text)
        return text

    _write(evidence / "transcript.html", render_page(story, redact))
