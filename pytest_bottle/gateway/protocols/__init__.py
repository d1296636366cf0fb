"""The model APIs that the door speaks, by their names: pure functions on JSON, no I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.gateway.protocols import anthropic
from pytest_bottle.gateway.protocols import chat
from pytest_bottle.gateway.protocols import responses
from pytest_bottle.gateway.protocols.base import BadRequestError
from pytest_bottle.gateway.protocols.base import parse_body
from pytest_bottle.gateway.protocols.estimate import input_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.gateway.protocols.base import ApiProtocol
    from pytest_bottle.gateway.protocols.base import Reader
    from pytest_bottle.gateway.turns import Turn
    from pytest_bottle.gateway.values import Api
    from pytest_bottle.gateway.values import ModelRequest

__all__ = [
    "BadRequestError",
    "api_of",
    "protocol",
    "read_request",
    "render",
    "render_count",
    "render_error",
    "render_events",
    "render_models",
    "reply_reader",
]

_PATHS: dict[str, Api] = {
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "count_tokens",
    "/v1/responses": "responses",
    "/v1/chat/completions": "chat",
}

_MODELS = ("claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-5", "gpt-5", "gpt-5-codex")


def api_of(method: str, path: str) -> Api:
    """Return which API a request is for; `path` may have a query."""
    known = _PATHS.get(path.partition("?")[0].rstrip("/"), "other")
    return known if method == "POST" else "other"


def protocol(api: Api) -> ApiProtocol:
    """Return an API's functions; Anthropic's for `other`."""
    match api:
        case "responses":
            return responses
        case "chat":
            return chat
        case _:
            return anthropic


def read_request(api: Api, body: bytes | Mapping[str, Any], number: int) -> ModelRequest:
    """Return what a request asks.

    Raises:
        BadRequestError: the body is no JSON object, or a field has another type than the API's.
    """
    data = parse_body(body) if isinstance(body, bytes) else body
    return replace(protocol(api).read_request(data, number), api=api)


def render(turn: Turn, request: ModelRequest) -> dict[str, Any]:
    """Return a turn as one JSON object."""
    return protocol(request.api).render(turn, request)


def render_events(turn: Turn, request: ModelRequest) -> list[bytes]:
    """Return a turn as server-sent events."""
    return protocol(request.api).render_events(turn, request)


def render_error(api: Api, status: int, kind: str, message: str) -> dict[str, Any]:
    """Return the body of an error; an empty `kind` means the usual one of the status."""
    return protocol(api).render_error(status, kind, message)


def render_count(request: ModelRequest) -> dict[str, Any]:
    """Return the answer to `count_tokens`: the estimate."""
    return {"input_tokens": input_tokens(request.body)}


def render_models() -> dict[str, Any]:
    """Return the list of models, in the form that the clients of all APIs read."""
    models = [
        {
            "id": name,
            "type": "model",
            "object": "model",
            "display_name": name,
            "created_at": "2025-01-01T00:00:00Z",
            "lifecycle": "active",
            "created": 1735689600,
            "owned_by": "pytest-bottle",
        }
        for name in _MODELS
    ]
    return {
        "object": "list",
        "data": models,
        "has_more": False,
        "first_id": _MODELS[0],
        "last_id": _MODELS[-1],
    }


def reply_reader(api: Api, *, stream: bool) -> Reader:
    """Return a reader of one answer; `stream` says whether events were asked for."""
    return protocol(api).ReplyReader(stream=stream)
