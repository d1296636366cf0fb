"""Reads JSON lines that nobody vouches for: what comes out has the types that it says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEPTH: Final = 64
"""Levels of nesting; those who read a value later may do so recursively."""

_COUNT_LIMIT: Final = 2**53
"""From here on a JSON number is no longer exact for everybody."""


def read_json_lines(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the objects of a stream, and how many of its lines are something else.

    Empty lines are nothing. The last line may be cut short.
    """
    objects = []
    unreadable = 0
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        value = read_json_object(line)
        if value is None:
            unreadable += 1
        else:
            objects.append(value)
    return objects, unreadable


def read_json_object(data: bytes | str) -> dict[str, Any] | None:
    """Return an object, or None where the text is something else."""
    text = data.decode(errors="replace") if isinstance(data, bytes) else data
    try:
        value = _clean(json.loads(text, parse_constant=_refuse), 0)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def text_of(value: object) -> str:
    """Return a string, or an empty one for everything else."""
    return value if isinstance(value, str) else ""


def name_of(value: object) -> str | None:
    """Return a string that is not empty, or None."""
    return text_of(value) or None


def mapping_of(value: object) -> Mapping[str, Any]:
    """Return a mapping, or an empty one for everything else."""
    return value if isinstance(value, dict) else {}


def mappings_of(value: object) -> list[Mapping[str, Any]]:
    """Return those elements of a list that are mappings; none for everything else."""
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def count_of(value: object) -> int:
    """Return a whole number from zero on, or zero for everything else."""
    return value if type(value) is int and 0 <= value < _COUNT_LIMIT else 0


def _clean(value: object, depth: int) -> object:
    """Return the value without halves of characters, which could not be printed.

    Raises:
        ValueError: it is nested too deeply.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if not _is_whole(value) else value
    if depth >= _DEPTH:
        message = "nested too deeply"
        raise ValueError(message)
    if isinstance(value, dict):
        return {str(_clean(key, depth)): _clean(part, depth + 1) for key, part in value.items()}
    if isinstance(value, list):
        return [_clean(part, depth + 1) for part in value]
    return value


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(constant: str) -> object:
    message = f"{constant} is not JSON"
    raise ValueError(message)
