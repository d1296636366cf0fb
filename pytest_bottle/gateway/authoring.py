"""Reads a script as the author of a test wrote it, and asks its callables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import TypeAlias

from pytest_bottle.gateway.turns import Answer
from pytest_bottle.gateway.turns import Ask
from pytest_bottle.gateway.turns import Delay
from pytest_bottle.gateway.turns import Failure
from pytest_bottle.gateway.turns import Script
from pytest_bottle.gateway.turns import Step
from pytest_bottle.gateway.turns import Turn
from pytest_bottle.gateway.turns import say
from pytest_bottle.gateway.turns import shortened
from pytest_bottle.gateway.values import ModelRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

Asked: TypeAlias = Callable[[ModelRequest], object]
"""A callable turn: sees the request, and returns a turn, a list of tool calls, or an error."""


class TurnFailedError(Exception):
    """A callable of the script raised, or returned no answer; says what, and where."""


def read_script(
    values: Sequence[object], *, match: str | None = None, ask: Callable[[Asked], int]
) -> Script:
    """Return the script that a test's author wrote.

    Args:
        values: turns, lists of tool calls, errors, delays and callables.
        match: which requests it is for; None for all that no other script is for.
        ask: called with each callable; returns the number to ask for it by.

    Raises:
        TypeError: a value that is no part of a script, or no text to match.
        ValueError: a delay that no answer follows, or an empty text to match.
    """
    if match is not None and not isinstance(match, str):
        raise TypeError(f"script(match=...) takes a text, not {match!r}")
    if match == "":
        raise ValueError("script(match='') would match every request: leave it out")
    steps = tuple(_step(value, place, ask) for place, value in enumerate(values))
    if steps and isinstance(steps[-1], Delay):
        raise ValueError(f"the script ends with {steps[-1]}, which waits for no answer")
    return Script(steps=steps, match=match)


def ask(function: Asked, request: ModelRequest) -> Answer:
    """Return what a callable answers; for the test's process.

    Raises:
        TurnFailedError: it raised, or returned something else than an answer.
    """
    try:
        value = function(request)
    except (KeyboardInterrupt, SystemExit):
        raise
    # pytest.fail() and pytest.skip() raise what is no Exception.
    except BaseException as error:
        raise TurnFailedError(
            f"{_name(function)} raised {type(error).__name__}: {error}{_place(error)}"
        ) from error
    answer = _turn(value)
    if answer is None:
        raise TurnFailedError(
            f"{_name(function)} returned {shortened(repr(value))}: it must return say(...), "
            "tool(...), a list of tool(...), or error(...)"
        )
    return answer


def _step(value: object, place: int, ask: Callable[[Asked], int]) -> Step:
    """Return one value of a script as what it stands for."""
    if isinstance(value, Delay):
        return value
    turn = _turn(value)
    if turn is not None:
        return turn
    if callable(value):
        return Ask(ask(value), _name(value))
    raise TypeError(
        f"value {place + 1} of the script is {shortened(repr(value))}: a script takes say(...), "
        "tool(...), a list of tool(...), error(...), delay(...) and callables"
    )


def _turn(value: object) -> Answer | None:
    """Return a turn or an error as it is, a list of turns as one, and None for all else."""
    if isinstance(value, Turn | Failure):
        return value
    if isinstance(value, list | tuple) and value:
        turns = [part for part in value if isinstance(part, Turn)]
        if len(turns) == len(value):
            usages = [turn.usage for turn in turns if turn.usage]
            return say(*turns, usage=sum(usages[1:], usages[0]) if usages else None)
    return None


def _name(function: object) -> str:
    """Return what a callable is called."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _place(error: BaseException) -> str:
    """Return the line of the callable's file that raised an error, as ` (file:line)`."""
    traceback = error.__traceback__ and error.__traceback__.tb_next
    if traceback is None:
        return ""
    file, line = traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
    while traceback := traceback.tb_next:
        if traceback.tb_frame.f_code.co_filename == file:
            line = traceback.tb_lineno
    return f" ({file}:{line})"
