"""Tells an agent's turns and calls as lines of text, safe to print and bounded in length."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.agents.run import AgentRun
    from pytest_bottle.agents.run import ToolCall
    from pytest_bottle.agents.run import Turn

LINE_LIMIT: Final = 240
TEXT_LINES: Final = 8
"""Lines of one text or output, from its start."""
VALUE_LIMIT: Final = 80
"""Characters of one input of a tool."""
TURN_CALLS: Final = 10
"""Calls of one turn, from its start."""
LAST_TURNS: Final = 5
LAST_OUTPUT: Final = 2000
"""Characters of the process's own output, from its end."""


def call_text(call: ToolCall, *, limit: int = LINE_LIMIT) -> str:
    """Return a call as one would write it: `Bash(command='ls')`."""
    inputs = ", ".join(
        f"{_line(name)}={_value(value)}" for name, value in islice(call.input.items(), limit)
    )
    return cut(f"{_line(call.name)}({inputs})", limit)


def turn_lines(number: int, turn: Turn) -> Iterator[str]:
    """Yield a turn with its calls and their outputs, indented."""
    yield f"  turn {number}, {turn.role}{' (subagent)' if turn.parent else ''}:"
    yield from _indented(turn.text, "    ")
    for call in turn.tool_calls[:TURN_CALLS]:
        yield f"    {call_text(call)}"
        end = "denied" if call.denied else "failed" if call.error else "answered"
        if call.output is None:
            yield "      no answer was seen"
        else:
            yield f"      {end}:"
            yield from _indented(call.output, "        ")
    if len(turn.tool_calls) > TURN_CALLS:
        yield f"    ... {len(turn.tool_calls) - TURN_CALLS} calls more"


def ending_lines(run: AgentRun) -> Iterator[str]:
    """Yield how a run ended, its last turns, and the end of what its process wrote."""
    yield f"agent {run.agent!r} ended with {run.exit} (return code {run.returncode})"
    if run.api_error is not None:
        status, message = run.api_error
        yield f"the model's answer: {'' if status is None else f'{status} '}{_line(message)}"
    yield from _indented(run.prompt, "    ", title="  task:")
    if before := max(0, len(run.transcript) - LAST_TURNS):
        yield f"  ... {before} turns before"
    for number, turn in enumerate(run.transcript[before:], before):
        yield from turn_lines(number, turn)
    if run.unreadable:
        yield f"  {run.unreadable} lines of its output could not be read"
    yield from _indented(run.stderr.strip()[-LAST_OUTPUT:], "    ", title="  stderr:")
    if not run.transcript:
        yield from _indented(run.stdout.strip()[-LAST_OUTPUT:], "    ", title="  stdout:")


def inputs_text(inputs: Mapping[str, str]) -> str:
    """Return expected inputs, each already described, as one would write them."""
    return ", ".join(f"{name}={expected}" for name, expected in inputs.items())


def around(transcript: Sequence[Turn], index: int, reach: int = 1) -> Iterator[str]:
    """Yield the turns around one, itself included."""
    first = max(0, index - reach)
    for number, turn in enumerate(transcript[first : index + reach + 1], first):
        yield from turn_lines(number, turn)


def cut(text: str, limit: int) -> str:
    """Return the text, or its start with an ellipsis."""
    return text if len(text) <= limit else f"{text[: max(limit - 3, 0)]}..."


def _value(value: object) -> str:
    try:
        return _line(cut(repr(value), VALUE_LIMIT))
    except RecursionError:
        return "..."


def _line(text: str) -> str:
    """Return the start of a guest's text, without what a terminal would obey."""
    return printable(text[:LINE_LIMIT]).replace("\n", "\\n")


def _indented(text: str, indent: str, *, title: str = "") -> Iterator[str]:
    if not text:
        return
    if title:
        yield title
    lines = text.splitlines()
    for line in lines[:TEXT_LINES]:
        yield cut(f"{indent}{_line(line)}", LINE_LIMIT)
    if len(lines) > TEXT_LINES:
        yield f"{indent}... {len(lines) - TEXT_LINES} lines more"
