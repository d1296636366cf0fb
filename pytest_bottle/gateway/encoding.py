"""Exchanges as JSON: between the door and a test process, and in a file of evidence."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from typing import Any
from typing import cast

from pytest_bottle.gateway.values import Exchange
from pytest_bottle.gateway.values import ModelReply
from pytest_bottle.gateway.values import ModelRequest
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.gateway.values import Api

_OWN_FIELDS = ("number", "api", "body", "system", "model", "stream", "turn")


def request_to_json(request: ModelRequest) -> dict[str, Any]:
    """Return a request as JSON values; what its body has already is only named."""
    return {
        **{name: getattr(request, name) for name in _OWN_FIELDS},
        "messages": _named_in(request.body, request.messages, ("messages", "input")),
        "tools": _named_in(request.body, request.tools, ("tools",)),
    }


def request_from_json(value: Mapping[str, Any]) -> ModelRequest:
    """Return what `request_to_json` was given."""
    body = value["body"]
    return ModelRequest(
        number=value["number"],
        api=cast("Api", value["api"]),
        body=body,
        system=value["system"],
        messages=_found_in(body, value["messages"]),
        tools=_found_in(body, value["tools"]),
        model=value["model"],
        stream=value["stream"],
        turn=value["turn"],
    )


def exchange_to_json(exchange: Exchange) -> dict[str, Any]:
    """Return an exchange as JSON values."""
    reply = exchange.reply
    return {
        "request": request_to_json(exchange.request),
        "status": exchange.status,
        "origin": exchange.origin,
        "reply": {
            "text": reply.text,
            "tool_calls": [dict(call) for call in reply.tool_calls],
            "stop_reason": reply.stop_reason,
            "usage": dataclasses.asdict(reply.usage),
        },
        "cost": exchange.cost,
        "started": exchange.started,
        "duration": exchange.duration,
        "complete": exchange.complete,
        "infra": exchange.infra,
        "problem": exchange.problem,
    }


def exchange_from_json(value: Mapping[str, Any]) -> Exchange:
    """Return what `exchange_to_json` was given."""
    reply = value["reply"]
    return Exchange(
        request=request_from_json(value["request"]),
        status=value["status"],
        origin=value["origin"],
        reply=ModelReply(**{**reply, "usage": Usage(**reply["usage"])}),
        cost=value["cost"],
        started=value["started"],
        duration=value["duration"],
        complete=value["complete"],
        infra=value["infra"],
        problem=value["problem"],
    )


def without_body(exchange: Exchange) -> Exchange:
    """Return what is left of an exchange where there is no more room for its conversation."""
    request = dataclasses.replace(exchange.request, body={}, system="", messages=[], tools=[])
    return dataclasses.replace(exchange, request=request)


def _named_in(
    body: Mapping[str, Any], items: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> str | list[Mapping[str, Any]]:
    items = list(items)
    # Mostly the very same objects, which are told to be equal at a glance.
    return next((key for key in keys if body.get(key) == items), items)


def _found_in(
    body: Mapping[str, Any], value: str | list[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    return cast("Sequence[Mapping[str, Any]]", body[value]) if isinstance(value, str) else value
