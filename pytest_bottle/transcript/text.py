"""What a failed test's report says of its agents: last turns, model requests, what gates saw."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.agents.telling import cut
from pytest_bottle.agents.telling import ending_lines
from pytest_bottle.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence

    from pytest_bottle.agents.run import AgentRun
    from pytest_bottle.gateway.values import Exchange
    from pytest_bottle.transcript.crossings import Crossing

LAST_REQUESTS: Final = 6
LAST_CROSSINGS: Final = 20
CROSSING_DETAILS: Final = 5
"""Lines shown of what was found in one push, say."""
TEXT_LINES: Final = 12
"""Lines shown of one text or one tool's output."""
_WIDTH: Final = 200


def run_lines(run: AgentRun) -> Iterator[str]:
    """Yield what one run of an agent took, how it ended, and its last turns."""
    yield from ending_lines(run)
    cost = "" if run.cost is None else f", ${run.cost:.4f}"
    tokens = f"{run.usage.input_tokens} tokens in, {run.usage.output_tokens} out"
    yield f"  {run.duration:.1f} s, {tokens}{cost}"


def exchange_lines(exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Yield the last requests to the model, a line each, with what was wrong with them."""
    if not exchanges:
        return
    shown = exchanges[-LAST_REQUESTS:]
    told = ""  # An agent that is refused may ask the same again and again.
    yield f"model requests: the last {len(shown)} of {len(exchanges)}"
    for exchange in shown:
        request, usage = exchange.request, exchange.reply.usage
        yield printable(
            f"  [{exchange.status}] turn {request.turn} of {request.model or 'no model'}, from the "
            f"{exchange.origin}, {usage.input_tokens} tokens in, {usage.output_tokens} out "
            f"({exchange.duration:.2f} s)"
        )
        if exchange.problem and exchange.problem != told:
            yield from _indented("problem", exchange.problem)
        told = exchange.problem


def crossing_lines(crossings: Sequence[Crossing], problem: str) -> Iterator[str]:
    """Yield the last of what came to a bottle's gates, in order of time."""
    groups = list(folded(crossings))
    shown = groups[-LAST_CROSSINGS:]
    if shown:
        number = sum(count for _, count in shown)
        yield f"gates: the last {number} of {len(crossings)}, by the time of day in UTC"
    for crossing, count in shown:
        times = f", {count} times" if count > 1 else ""
        line = _line(f"{crossing.gate}: {crossing.text}")
        yield f"  {clock(crossing.time)} {line}{times}"
        for detail in crossing.details[:CROSSING_DETAILS]:
            yield f"      {_line(detail)}"
        if len(crossing.details) > CROSSING_DETAILS:
            yield f"      ... {len(crossing.details) - CROSSING_DETAILS} lines more"
    if problem:
        yield f"gates: not all could be read ({_line(problem)})"


def folded(crossings: Sequence[Crossing]) -> Iterator[tuple[Crossing, int]]:
    """Yield the first of each row of crossings that are the same but for their times, and how many.

    An agent that is refused asks again.
    """
    for _, row in itertools.groupby(crossings, lambda one: (one.gate, one.text, one.details)):
        same = list(row)
        yield same[0], len(same)


def clock(seconds: float) -> str:
    """Return a moment as a time of day, in UTC."""
    return time.strftime("%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}"


def _line(text: str) -> str:
    """Return the start of a text as one line, without what a terminal would obey."""
    return cut(printable(text[: 2 * _WIDTH]).replace("\n", "\\n"), _WIDTH)


def _indented(title: str, text: str) -> Iterator[str]:
    lines = printable(text).splitlines() or [""]
    for line in lines[:TEXT_LINES]:
        yield f"  {title}: {line if len(line) <= _WIDTH else line[:_WIDTH] + '...'}"
    if len(lines) > TEXT_LINES:
        yield f"  {title}: ... {len(lines) - TEXT_LINES} lines more"
