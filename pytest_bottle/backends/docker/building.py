"""Reads what an engine says while it builds an image: its steps, their output, and a failure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping

OUTPUT_TAIL: Final = 15
"""Lines of a failed step's output that its error shows."""

_INSTRUCTION_LENGTH: Final = 120
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_BOOKKEEPING: Final = re.compile(r" ---> |Removing intermediate container ")
_STEP: Final = re.compile(r"Step (\d+)/(\d+) : (.*)")


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of a Dockerfile, as the engine begins it."""

    number: int
    total: int
    instruction: str

    def __str__(self) -> str:
        """Return it as the engine says it, in a line that can be read."""
        instruction = " ".join(self.instruction.split())
        if len(instruction) > _INSTRUCTION_LENGTH:
            instruction = f"{instruction[:_INSTRUCTION_LENGTH]}..."
        return f"Step {self.number}/{self.total} : {instruction}"


def parse_step(line: str) -> Step | None:
    """Return the step that a line of the build's output begins, None where it begins none."""
    found = _STEP.fullmatch(line.strip())
    return found and Step(int(found[1]), int(found[2]), found[3])


def follow_build(
    image: str, messages: Iterable[Mapping[str, Any]], report: Callable[[str], None], *, remedy: str
) -> None:
    """Read a build to its end.

    Args:
        image: what is built, for the error.
        messages: the engine's, decoded.
        report: gets each line that says something, without colour: steps, their output, and what
            becomes of a pulled base.
        remedy: what to do about a failure.

    Raises:
        ImageError: the build failed; names the step, with the end of its output.
    """
    step: Step | None = None
    tail: list[str] = []
    for message in messages:
        if "status" in message and "progress" not in message:
            report(": ".join(str(message[key]) for key in ("id", "status") if key in message))
        for line in _COLOUR.sub("", str(message.get("stream", ""))).splitlines():
            if not line.strip() or _BOOKKEEPING.match(line):
                continue
            report(line)
            begun = parse_step(line)
            if begun is None:
                tail = [*tail[1 - OUTPUT_TAIL :], line]
            else:
                step, tail = begun, []
        if "error" in message:
            output = "".join(f"\n  {line}" for line in tail)
            raise ImageError(
                image,
                reason=f"its build failed at {step or 'its first step'}: {_reason(message)}.",
                remedy=remedy + (f" The step's last output:{output}" if output else ""),
            )


def _reason(message: Mapping[str, Any]) -> str:
    """Return the engine's reason; it repeats the whole instruction where a command failed."""
    code = (message.get("errorDetail") or {}).get("code")
    return f"it returned {code}" if code else str(message["error"]).strip().rstrip(".")
