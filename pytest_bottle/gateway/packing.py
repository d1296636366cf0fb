"""Writes each request of a conversation as what it adds to one before it.

An agent sends its whole conversation with every request. Written in full, a cassette would grow
with the square of the turns, and its reader would look for what is new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

_GROWING = ("messages", "input")


def pack(body: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a request's body as a cassette has it.

    That is `{"body": ...}`, or, where it continues an earlier one, `{"like": NUMBER, "first":
    {"messages": COUNT}, "then": {"messages": [...]}, "other": {...}, "without": [...]}`: the same
    as that request but for what is said.
    """
    best, like = 0, -1
    for number, other in enumerate(earlier):
        if (shared := _shared(body, other)) >= max(best, 1):
            best, like = shared, number
    if like < 0:
        return {"body": dict(body)}
    base = earlier[like]
    packed: dict[str, Any] = {"like": like, "first": {}, "then": {}, "other": {}}
    for key, value in body.items():
        if _grows(key, value, base):
            count = _common(value, base[key])
            if count < len(base[key]):
                packed["first"][key] = count
            packed["then"][key] = value[count:]
        elif key not in base or base[key] != value:
            packed["other"][key] = value
    packed["without"] = [key for key in base if key not in body]
    return {key: value for key, value in packed.items() if key == "like" or value}


def unpack(packed: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the body that was packed.

    Raises:
        LookupError, TypeError, ValueError: it is not what `pack` returned.
    """
    if "body" in packed:
        return dict(packed["body"])
    if not 0 <= packed["like"] < len(earlier):
        raise IndexError(f"no request {packed['like']} before it")
    base = earlier[packed["like"]]
    left_out = packed.get("without", ())
    body = {key: value for key, value in base.items() if key not in left_out}
    for key, count in packed.get("first", {}).items():
        body[key] = base[key][:count]
    for key, items in packed.get("then", {}).items():
        body[key] = [*body[key], *items]
    return {**body, **packed.get("other", {})}


def _shared(body: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """Return how much of a request needs not be written again; 0 for too little."""
    large = [key for key in ("system", "instructions", "tools") if key in body]
    same = sum(1 for key in large if body[key] == other.get(key))
    grown = sum(
        _common(value, other[key]) for key, value in body.items() if _grows(key, value, other)
    )
    return same + 2 * grown


def _grows(key: str, value: Any, base: Mapping[str, Any]) -> bool:  # noqa: ANN401 - any JSON
    return key in _GROWING and isinstance(value, list) and isinstance(base.get(key), list)


def _common(one: list[Any], other: list[Any]) -> int:
    """Return how many items both lists begin with."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
