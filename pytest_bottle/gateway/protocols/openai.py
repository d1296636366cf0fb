"""What OpenAI's two APIs have in common: usage, errors, the names of tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.gateway.protocols.base import as_dict
from pytest_bottle.gateway.protocols.base import as_int
from pytest_bottle.gateway.protocols.base import as_list
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping

ERROR_CODES = {
    401: "invalid_api_key",
    404: "model_not_found",
    429: "rate_limit_exceeded",
    503: "server_is_overloaded",
    529: "server_is_overloaded",
}


def render_error(status: int, kind: str, message: str) -> dict[str, Any]:
    """Return the body of an error; an empty `kind` means the usual one of the status."""
    family = "server_error" if status >= 500 else "invalid_request_error"  # noqa: PLR2004
    code = kind or ERROR_CODES.get(status)
    return {"error": {"message": message, "type": kind or family, "param": None, "code": code}}


def usage_fields(usage: Usage, names: tuple[str, str]) -> dict[str, Any]:
    """Return the counts in OpenAI's words; `names` are those for the input and the output."""
    asked, answered = names
    given = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    return {
        asked: given,
        f"{asked}_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        answered: usage.output_tokens,
        f"{answered}_details": {"reasoning_tokens": 0},
        "total_tokens": given + usage.output_tokens,
    }


def read_usage(fields: object, names: tuple[str, str]) -> Usage:
    """Return the counts of an answer; what came from the cache is not counted as input."""
    counts = as_dict(fields)
    asked, answered = names
    details = as_dict(counts.get(f"{asked}_details"))
    read = as_int(details.get("cached_tokens"))
    written = as_int(details.get("cache_write_tokens"))
    return Usage(
        input_tokens=max(0, as_int(counts.get(asked)) - read - written),
        output_tokens=as_int(counts.get(answered)),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )


def free_text(given: Mapping[str, Any] | str) -> str:
    """Return the text for a tool that takes one, from whatever the script has for it."""
    if isinstance(given, str):
        return given
    only = list(given.values())
    if len(only) == 1 and isinstance(only[0], str):
        return only[0]
    return json.dumps(given, ensure_ascii=False)


def custom_tools(tools: Iterable[Mapping[str, Any]]) -> dict[str, bool]:
    """Return for each tool on offer whether it takes one free text."""
    found = {}
    for tool in tools:
        name = tool.get("name") or as_dict(tool.get(str(tool.get("type")))).get("name")
        if isinstance(name, str):
            found[name] = tool.get("type") == "custom"
    return found


def namespaces(tools: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return namespace and name of each tool that is in one, by the names that people write.

    Servers of the Model Context Protocol are namespaces: the tool `search` of `mcp__docs` is
    `mcp__docs__search`, however the underscores are shared out.
    """
    found = {}
    for tool in tools:
        space = tool.get("name")
        if tool.get("type") != "namespace" or not isinstance(space, str):
            continue
        for member in as_list(tool.get("tools")):
            name = as_dict(member).get("name")
            if isinstance(name, str):
                found[f"{space.rstrip('_')}__{name}"] = (space, name)
                found[f"{space}{name}"] = (space, name)
                found[f"{space}.{name}"] = (space, name)
    return found
