"""Looks for calls in a transcript, and says what came nearest where there are none."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.agents.telling import around
from pytest_bottle.agents.telling import call_text
from pytest_bottle.agents.telling import cut
from pytest_bottle.agents.telling import inputs_text
from pytest_bottle.findings import Finding
from pytest_bottle.matchers import Contains
from pytest_bottle.matchers import describe
from pytest_bottle.matchers import fits

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.agents.run import ToolCall
    from pytest_bottle.agents.run import Turn

_WANTED_LIMIT: Final = 90
_NEAREST_LIMIT: Final = 80
_LETTERS: Final = 200
_SAME_TOOL: Final = 10_000.0
_SAME_INPUT: Final = 100.0
_CALLS: Final = 30
"""Calls that an explanation lists."""
_COMPARED: Final = 1000
"""Calls among which the nearest is looked for, the last ones: a guest can make very many."""


def look_for_calls(
    transcript: Sequence[Turn], name: str, inputs: Mapping[str, object], misses: list[str] | None
) -> Finding[ToolCall]:
    """Return the calls of a tool whose inputs fit."""
    wanted = f"{name}({inputs_text({key: describe(value) for key, value in inputs.items()})})"

    def fitting(call: ToolCall) -> int:
        return sum(
            key in call.input and fits(value, call.input[key]) for key, value in inputs.items()
        )

    def nearness(call: ToolCall) -> float:
        alike = sum(_likeness(value, call.input.get(key)) for key, value in inputs.items())
        # A call of the same tool before all others, then what fits, then what looks alike.
        return (
            _SAME_TOOL * (call.name == name)
            + _SAME_INPUT * fitting(call)
            + _likeness(name, call.name)
            + alike
        )

    return _finding(
        transcript,
        lambda call: call.name == name and fitting(call) == len(inputs),
        nearness,
        f"call of {wanted}",
        misses,
    )


def look_for_commands(
    transcript: Sequence[Turn], command: object, misses: list[str] | None
) -> Finding[ToolCall]:
    """Return the calls that ran a fitting shell command."""
    return _finding(
        transcript,
        lambda call: call.command is not None and fits(command, call.command),
        lambda call: None if call.command is None else _likeness(command, call.command),
        f"shell command {describe(command)}",
        misses,
    )


def look_for_skill(
    transcript: Sequence[Turn], name: str, misses: list[str] | None
) -> Finding[ToolCall]:
    """Return the calls that loaded a skill."""
    return _finding(
        transcript,
        lambda call: call.skill == name,
        lambda call: None if call.skill is None else _likeness(name, call.skill),
        f"use of the skill {name!r}",
        misses,
    )


def _likeness(wanted: object, seen: object) -> float:
    """Return a number from 0 to 1, quickly: by the letters that two texts have in common."""
    part = wanted.part if isinstance(wanted, Contains) else wanted
    if not isinstance(part, str) or not isinstance(seen, str):
        return 0
    return difflib.SequenceMatcher(None, part[:_LETTERS], seen[:_LETTERS]).quick_ratio()


def _finding(
    transcript: Sequence[Turn],
    is_match: Callable[[ToolCall], bool],
    nearness: Callable[[ToolCall], float | None],
    wanted: str,
    misses: list[str] | None,
) -> Finding[ToolCall]:
    calls = [(turn, call) for turn, one in enumerate(transcript) for call in one.tool_calls]
    found = [call for _, call in calls if is_match(call)]
    if found:
        first = call_text(found[0], limit=_NEAREST_LIMIT)
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        summary = f"{cut(wanted, _WANTED_LIMIT)}: {first}{more}"
        return Finding(found, summary=summary, story=lambda: summary, misses=misses)
    near = _nearest(calls, nearness)
    if near is not None:
        place, call = near
        came = f"nearest, in turn {place}: {call_text(call, limit=_NEAREST_LIMIT)}"
    else:
        place = len(transcript) - 1
        came = "the agent made none" if calls else "the agent called no tool"

    def story() -> str:
        lines = [f"no {wanted}; {came}"]
        if calls:
            lines.append("all calls, in order:")
            lines += [f"  turn {turn}: {call_text(call)}" for turn, call in calls[:_CALLS]]
            if len(calls) > _CALLS:
                lines.append(f"  ... {len(calls) - _CALLS} more")
        lines.append("around the nearest:" if near else "the last words:")
        return "\n".join([*lines, *around(transcript, place)])

    summary = f"no {cut(wanted, _WANTED_LIMIT)}; {came}"
    return Finding(found, summary=summary, story=story, misses=misses)


def _nearest(
    calls: Sequence[tuple[int, ToolCall]], nearness: Callable[[ToolCall], float | None]
) -> tuple[int, ToolCall] | None:
    """Return the call that comes nearest, the later of two; None where none comes near at all."""
    best: tuple[float, tuple[int, ToolCall]] | None = None
    for place, call in reversed(calls[-_COMPARED:]):
        value = nearness(call)
        if value is not None and (best is None or value > best[0]):
            best = value, (place, call)
    return best and best[1]
