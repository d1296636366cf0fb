"""How many tokens a text may be: an estimate that is the same in every run.

Four characters are one token, and an image is 1,600. What counts as input is the system text, the
conversation and the tools, keys included; as output, the texts and the calls of the answer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.gateway.turns import Turn
    from pytest_bottle.gateway.values import ModelRequest

CHARACTERS_PER_TOKEN = 4
IMAGE_TOKENS = 1600

_COUNTED = ("system", "instructions", "messages", "input", "tools")


def input_tokens(body: Mapping[str, Any]) -> int:
    """Return the estimate for a request's body; at least 1."""
    characters = 0
    open_values: list[object] = [body[key] for key in _COUNTED if key in body]
    while open_values:
        value = open_values.pop()
        if isinstance(value, str):
            encoded = value.startswith("data:")
            characters += IMAGE_TOKENS * CHARACTERS_PER_TOKEN if encoded else len(value)
        elif isinstance(value, dict):
            if value.get("type") == "base64":
                characters += IMAGE_TOKENS * CHARACTERS_PER_TOKEN
                continue
            characters += sum(map(len, value))
            open_values.extend(value.values())
        elif isinstance(value, list):
            open_values.extend(value)
        else:
            characters += 1
    return max(1, characters // CHARACTERS_PER_TOKEN)


def output_tokens(turn: Turn) -> int:
    """Return the estimate for an answer; at least 1."""
    characters = len(turn.text)
    for call in turn.calls:
        written = call.input if isinstance(call.input, str) else json.dumps(call.input)
        characters += len(call.name) + len(written)
    return max(1, characters // CHARACTERS_PER_TOKEN)


def usage_of(turn: Turn, request: ModelRequest) -> Usage:
    """Return what the script says an answer took, or the estimate."""
    if turn.usage is not None:
        return turn.usage
    return Usage(input_tokens=input_tokens(request.body), output_tokens=output_tokens(turn))
