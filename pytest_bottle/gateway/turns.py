"""What a script is made of: the turns that a scripted model answers with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from typing import Literal
from typing import TypeAlias
from typing import get_args

from pytest_bottle.usage import Usage

Stop = Literal["end_turn", "tool_use", "max_tokens", "stop_sequence", "refusal"]

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of one tool. A text as `input` is for tools that take one free text."""

    name: str
    input: Mapping[str, Any] | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer of the model: texts and tool calls in their order."""

    parts: tuple[str | ToolCall, ...]
    usage: Usage | None = None
    """An estimate where it is None."""
    stop: Stop = "end_turn"

    @property
    def text(self) -> str:
        """All its text."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def calls(self) -> list[ToolCall]:
        """Its tool calls."""
        return [part for part in self.parts if isinstance(part, ToolCall)]

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        parts = [
            {"text": part} if isinstance(part, str) else {"tool": part.name, "input": part.input}
            for part in self.parts
        ]
        usage = self.usage and {name: getattr(self.usage, name) for name in Usage.__slots__}
        return {"parts": parts, "usage": usage, "stop": self.stop}

    def __str__(self) -> str:
        """Return it as a script would have it, shortened."""
        parts = [_quoted(part) if isinstance(part, str) else _call(part) for part in self.parts]
        alone = len(parts) == 1 and isinstance(self.parts[0], ToolCall)
        return parts[0] if alone else f"say({', '.join(parts)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An HTTP error that comes before the next turn's answer."""

    status: int
    message: str
    kind: str = ""
    """The API's name for the error; empty for the usual one of the status."""
    retry_after: float | None = None
    """Seconds, for the header of this name."""

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "error": self.status,
            "message": self.message,
            "kind": self.kind,
            "retry_after": self.retry_after,
        }

    def __str__(self) -> str:
        """Return it as a script would have it, shortened."""
        return f"error({self.status}, {_quoted(self.message)})"


@dataclass(frozen=True, slots=True)
class Delay:
    """A wait before the next answer."""

    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"delay": self.seconds}

    def __str__(self) -> str:
        """Return it as a script would have it."""
        return f"delay({self.seconds:g})"


@dataclass(frozen=True, slots=True)
class Ask:
    """A callable of the test, by the number under which the test's process knows it."""

    id: int
    name: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"ask": self.id, "name": self.name}

    def __str__(self) -> str:
        """Return the callable's name."""
        return self.name or f"callable {self.id}"


Step: TypeAlias = Turn | Failure | Delay | Ask
"""What a script holds."""

Answer: TypeAlias = Turn | Failure
"""What a callable may return, and what a request is answered with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Turns for the requests of one conversation, or of one kind of them."""

    steps: tuple[Step, ...]
    match: str | None = None
    """Only for requests whose system text, or user text before the first answer, contains this."""

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"match": self.match, "steps": [step.to_json() for step in self.steps]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Script:
        """Return the script that `to_json` wrote."""
        return cls(steps=tuple(map(from_json, data["steps"])), match=data["match"])


def say(*parts: str | Turn, usage: Usage | None = None, stop: Stop | None = None) -> Turn:
    """Return a turn that says something, and may call tools as well.

    Args:
        parts: texts and `tool(...)` calls, in their order.
        usage: what the answer is said to have taken; a deterministic estimate without it.
        stop: why the answer ends: `end_turn`, or `tool_use` where it calls a tool.

    Raises:
        TypeError: a part is neither a text nor a tool call.
        ValueError: `stop` is no reason to stop, or a text cannot be sent.
    """
    flat: list[str | ToolCall] = []
    for part in parts:
        if isinstance(part, str):
            flat.append(_sendable(part, "say()"))
        elif isinstance(part, Turn):
            flat.extend(part.parts)
        else:
            raise TypeError(
                f"say() takes texts and tool(...) calls, not {type(part).__name__}: {part!r}"
            )
    if stop is not None and stop not in get_args(Stop):
        raise ValueError(f"say(stop={stop!r}): must be one of {', '.join(get_args(Stop))}")
    calls = any(isinstance(part, ToolCall) for part in flat)
    return Turn(parts=tuple(flat), usage=usage, stop=stop or ("tool_use" if calls else "end_turn"))


def tool(
    name: str,
    input: Mapping[str, Any] | str | None = None,  # noqa: A002 - the APIs' own word
    /,
    **arguments: Any,  # noqa: ANN401 - JSON
) -> Turn:
    """Return a turn with one tool call; put several into a list to call them at once.

    Args:
        name: the tool's name, as the agent offers it.
        input: its arguments as a mapping, where keywords do not fit; or the text of a tool that
            takes one free text (Codex's `apply_patch`).
        arguments: its arguments as keywords. `input="text"` alone is a free text wherever the
            tool takes one, and an argument of that name elsewhere.

    Raises:
        TypeError: both forms at once, or arguments that are not JSON.
        ValueError: a text that cannot be sent.
    """
    where = f"tool({name!r})"
    if not _sendable(name, where):
        raise ValueError("tool(''): give the tool's name")
    if input is not None and arguments:
        raise TypeError(f"{where}: give the arguments as keywords or as one mapping, not as both")
    if arguments.keys() == {"input"} and isinstance(arguments["input"], Mapping):
        raise TypeError(
            f"{where}: is `input` the only argument, or are these all of them? "
            f"Write tool({name!r}, {{'input': ...}}) or tool({name!r}, {{...}})."
        )
    if input is None and arguments.keys() == {"input"} and isinstance(arguments["input"], str):
        input = arguments["input"]  # noqa: A001
    given = arguments if input is None else input
    if isinstance(given, str):
        return Turn(parts=(ToolCall(name, _sendable(given, where)),), stop="tool_use")
    if not isinstance(given, Mapping):
        raise TypeError(f"{where}: the arguments must be a mapping or a text, not {given!r}")
    try:
        written = json.dumps(dict(given), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{where}: its arguments must be JSON: {error}") from error
    copied: dict[str, Any] = json.loads(_sendable(written, where))
    return Turn(parts=(ToolCall(name, copied),), stop="tool_use")


def error(
    status: int, message: str = "", *, kind: str = "", retry_after: float | None = None
) -> Failure:
    """Return an HTTP error that the next turn's request gets first; the retry gets what follows.

    Args:
        status: the HTTP status, 400 to 599; 529 is "overloaded".
        message: what the error's body says.
        kind: the API's name for the error; without it, the usual one of this status.
        retry_after: seconds for the header `retry-after`; agents wait of their own without it.

    Raises:
        ValueError: the status is none of an error, or the time is not one.
    """
    if type(status) is not int or not 400 <= status <= 599:  # noqa: PLR2004
        raise ValueError(f"error({status!r}): must be an HTTP status from 400 to 599")
    if retry_after is not None:
        _check_seconds(retry_after, f"error({status}, retry_after={retry_after!r})")
    return Failure(
        status=status,
        message=_sendable(message, f"error({status})") or f"scripted error {status}",
        kind=kind,
        retry_after=retry_after,
    )


def delay(seconds: float) -> Delay:
    """Return a wait before the next answer; a retry of that request does not wait again.

    Raises:
        ValueError: no number of seconds.
    """
    _check_seconds(seconds, f"delay({seconds!r})")
    return Delay(float(seconds))


def from_json(data: Mapping[str, Any]) -> Step:
    """Return the value whose `to_json` wrote this.

    Raises:
        ValueError: none of them did.
    """
    match data:
        case {"parts": [*parts], "usage": usage, "stop": stop}:
            return Turn(
                parts=tuple(
                    part["text"] if "text" in part else ToolCall(part["tool"], part["input"])
                    for part in parts
                ),
                usage=Usage(**usage) if usage else None,
                stop=stop,
            )
        case {"error": status, "message": message, "kind": kind, "retry_after": seconds}:
            return Failure(status=status, message=message, kind=kind, retry_after=seconds)
        case {"delay": seconds}:
            return Delay(seconds)
        case {"ask": number, **rest}:
            return Ask(number, rest.get("name", ""))
        case _:
            raise ValueError(f"no step of a script: {shortened(repr(data))}")


def answer_from_json(data: Mapping[str, Any]) -> Answer:
    """Return what a callable answered.

    Raises:
        ValueError: it is no answer.
    """
    step = from_json(data)
    if isinstance(step, Turn | Failure):
        return step
    raise ValueError(f"no answer: {step}")


def _call(call: ToolCall) -> str:
    """Return a call as a script would have it, shortened."""
    if isinstance(call.input, str):
        return f"tool({call.name!r}, {_quoted(call.input)})"
    arguments = [f"{key}={shortened(repr(value))}" for key, value in call.input.items()]
    return f"tool({', '.join([repr(call.name), *arguments])})"


def _quoted(text: str) -> str:
    """Return a text as a literal, shortened."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def shortened(text: str) -> str:
    """Return a text's beginning."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _sendable(text: object, where: str) -> str:
    """Return the text, which no encoding refuses."""
    if not isinstance(text, str):
        raise TypeError(f"{where}: must be a text, not {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: the text holds half a character: {error}") from error
    return text


def _check_seconds(value: object, where: str) -> None:
    """Refuse what is no time."""
    seconds = float(value) if type(value) in {int, float} else math.nan  # type: ignore[arg-type]
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{where}: must be seconds, 0 or more")
