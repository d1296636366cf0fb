"""OpenAI's Responses API."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.gateway.protocols import base
from pytest_bottle.gateway.protocols import openai
from pytest_bottle.gateway.protocols import sse
from pytest_bottle.gateway.protocols.base import BadRequestError
from pytest_bottle.gateway.protocols.base import Part
from pytest_bottle.gateway.protocols.estimate import usage_of
from pytest_bottle.gateway.protocols.openai import render_error
from pytest_bottle.gateway.turns import ToolCall
from pytest_bottle.gateway.values import ModelReply
from pytest_bottle.gateway.values import ModelRequest
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator
    from collections.abc import Mapping

    from pytest_bottle.gateway.turns import Turn

__all__ = [
    "ReplyReader",
    "read_parts",
    "read_request",
    "render",
    "render_error",
    "render_events",
]

_COUNTS = ("input_tokens", "output_tokens")

_ROLES: dict[object, base.Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
_INPUT_ITEMS = {"mcp_approval_response", "compaction_trigger", "configuration_update"}
_TOOL_CARRIERS = {"additional_tools", "tool_search_output"}


def read_request(body: Mapping[str, Any], number: int) -> ModelRequest:
    """Return what is asked.

    Raises:
        BadRequestError: a field has another type than the API's.
    """
    parts = read_parts(body)
    given = body.get("input")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
    before = base.turn_of(body.get("previous_response_id"))
    return ModelRequest(
        number=number,
        api="responses",
        body=body,
        system=base.system_text(parts),
        messages=messages,
        tools=[*base.tools_field(body), *_carried_tools(messages)],
        model=base.text_field(body, "model"),
        stream=base.stream_field(body),
        turn=base.count_answers(parts) + (0 if before is None else before + 1),
    )


def read_parts(body: Mapping[str, Any]) -> list[Part]:
    """Return the conversation so far.

    Raises:
        BadRequestError: a field has another type than the API's.
    """
    instructions = body.get("instructions")
    if instructions is not None and not isinstance(instructions, str | list):
        raise BadRequestError(f"instructions: must be a text, not {base.type_name(instructions)}")
    parts = []
    if isinstance(instructions, list):
        parts += [_part(where, item) for where, item in base.objects(instructions, "instructions")]
    elif instructions:
        parts.append(Part("system", instructions))
    given = body.get("input")
    if isinstance(given, str):
        parts.append(Part("user", given))
    elif given is not None:
        for where, item in base.objects(given, "input"):
            if base.as_text(item.get("type")) not in _TOOL_CARRIERS:
                parts.append(_part(where, item))
    return parts


def render(turn: Turn, request: ModelRequest) -> dict[str, Any]:
    """Return the answer as one response."""
    return _response(turn, request, _items(turn, request))


def render_events(turn: Turn, request: ModelRequest) -> list[bytes]:
    """Return the answer as server-sent events."""
    items = _items(turn, request)
    done = _response(turn, request, items)
    begun = {
        **done,
        "status": "in_progress",
        "incomplete_details": None,
        "completed_at": None,
        "output": [],
        "usage": None,
    }
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(items):
        place: dict[str, Any] = {"output_index": index}
        of_item = {**place, "item_id": item["id"]}
        start = {**item, "status": "in_progress"}
        match item["type"]:
            case "message":
                start["content"] = []
                within = _text_events(item, of_item)
            case "function_call":
                start["arguments"] = ""
                within = _argument_events("function_call_arguments", "arguments", item, of_item)
            case _:
                start["input"] = ""
                within = _argument_events("custom_tool_call_input", "input", item, of_item)
        events += [
            {"type": "response.output_item.added", **place, "item": start},
            *within,
            {"type": "response.output_item.done", **place, "item": item},
        ]
    events.append({"type": f"response.{done['status']}", "response": done})
    return [
        sse.event({**event, "sequence_number": number}, name=str(event["type"]))
        for number, event in enumerate(events)
    ]


class ReplyReader:
    """Reads one answer as it passes by."""

    def __init__(self, *, stream: bool) -> None:
        """Begin; `stream` says whether events were asked for."""
        self._body = sse.BodyReader(stream=stream)
        self._items: dict[str, Mapping[str, Any]] = {}
        self._texts: dict[str, list[str]] = {}
        self._stop: str | None = None
        self._usage = Usage()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body, wherever they are cut."""
        for event in self._body.feed(data):
            self._read(event)

    def finish(self) -> ModelReply:
        """Return what has been read, even of an answer that broke off."""
        for event in self._body.finish():
            self._read(event)
        text = ""
        calls = []
        # The pieces of a text matter only where its whole never came.
        for index in {**self._texts, **self._items}:
            item = self._items.get(index, {})
            match item.get("type"):
                case "function_call" | "custom_tool_call":
                    calls.append(_read_call(item))
                case _:
                    text += _read_text(item) or "".join(self._texts.get(index, ()))
        stop = "tool_use" if calls and self._stop == "end_turn" else self._stop
        return ModelReply(text=text, tool_calls=calls, stop_reason=stop, usage=self._usage)

    def _read(self, event: Mapping[str, Any]) -> None:
        index = str(event.get("output_index"))
        match event.get("type"):
            case "response.output_item.done":
                self._items[index] = base.as_dict(event.get("item"))
            case "response.output_text.delta":
                self._texts.setdefault(index, []).append(base.as_text(event.get("delta")))
            case "response.completed" | "response.incomplete" | "response.failed":
                self._end(base.as_dict(event.get("response")))
            case None if event.get("object") == "response":
                self._end(event)

    def _end(self, response: Mapping[str, Any]) -> None:
        for index, item in enumerate(base.as_list(response.get("output"))):
            self._items[str(index)] = base.as_dict(item)
        self._usage = openai.read_usage(response.get("usage"), _COUNTS)
        status = base.as_text(response.get("status"))
        reason = base.as_text(base.as_dict(response.get("incomplete_details")).get("reason"))
        stops = {
            "completed": "end_turn",
            "max_output_tokens": "max_tokens",
            "content_filter": "refusal",
        }
        self._stop = stops.get(reason or status, reason or status) or None


def _part(where: str, item: Mapping[str, Any]) -> Part:
    """Return one item of the input."""
    kind = item.get("type", "message")
    call = base.as_text(item.get("call_id"))
    if kind == "message":
        role = _ROLES.get(item["role"]) if isinstance(item.get("role"), str) else None
        if role is None:
            raise BadRequestError(f"{where}.role: must be one of {', '.join(map(str, _ROLES))}")
        return Part(role, base.content_text(item.get("content"), f"{where}.content"))
    if not isinstance(kind, str):
        raise BadRequestError(f"{where}.type: must be a text, not {base.type_name(kind)}")
    if kind.endswith("_output"):
        return Part("result", _output_text(item.get("output"), f"{where}.output"), call)
    if kind in _INPUT_ITEMS:
        return Part("user", f"[{kind}]")
    if kind in {"function_call", "custom_tool_call"}:
        given = item.get("arguments", item.get("input"))
        return Part("assistant", f"{item.get('name')}({given})", call)
    return Part("assistant", "", call)


def _output_text(output: object, where: str) -> str:
    """Return a tool's result: a text, content, or an object of the tool's own form."""
    if isinstance(output, dict):
        return json.dumps(output, ensure_ascii=False)
    return base.content_text(output, where)


def _carried_tools(items: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the tools that are offered within the conversation."""
    for item in items:
        if base.as_text(item.get("type")) in _TOOL_CARRIERS:
            for tool in base.as_list(item.get("tools")):
                if isinstance(tool, dict):
                    yield tool


def _items(turn: Turn, request: ModelRequest) -> list[dict[str, Any]]:
    """Return the output items of an answer."""
    custom = openai.custom_tools(request.tools)
    spaces = openai.namespaces(request.tools)
    items: list[dict[str, Any]] = []
    for index, part in enumerate(turn.parts or ("",)):
        if not isinstance(part, ToolCall):
            text = {"type": "output_text", "text": part, "annotations": [], "logprobs": []}
            items.append(
                {
                    "type": "message",
                    "id": base.answer_id("msg", request, index),
                    "status": "completed",
                    "role": "assistant",
                    "content": [text],
                }
            )
            continue
        call: dict[str, Any] = {
            "call_id": base.answer_id("call", request, index),
            "name": part.name,
            "status": "completed",
        }
        if part.name not in custom and part.name in spaces:
            call["namespace"], call["name"] = spaces[part.name]
        if custom.get(part.name, isinstance(part.input, str)):
            call["id"] = base.answer_id("ctc", request, index)
            items.append(
                {"type": "custom_tool_call", **call, "input": openai.free_text(part.input)}
            )
        else:
            call["id"] = base.answer_id("fc", request, index)
            arguments = base.arguments_text(part.input)
            items.append({"type": "function_call", **call, "arguments": arguments})
    return items


def _response(turn: Turn, request: ModelRequest, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the response that holds these items."""
    reasons = {"max_tokens": "max_output_tokens", "refusal": "content_filter"}
    reason = reasons.get(turn.stop)
    return {
        "id": base.answer_id("resp", request),
        "object": "response",
        "created_at": 0,
        "completed_at": 0,
        "status": "incomplete" if reason else "completed",
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "metadata": {},
        "model": request.model,
        "output": items,
        "parallel_tool_calls": True,
        "previous_response_id": request.body.get("previous_response_id"),
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": openai.usage_fields(usage_of(turn, request), _COUNTS),
    }


def _text_events(item: dict[str, Any], of_item: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of one message."""
    part = item["content"][0]
    place = {**of_item, "content_index": 0}
    deltas = sse.pieces(part["text"])
    return [
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        *(
            {"type": "response.output_text.delta", **place, "delta": text, "logprobs": []}
            for text in deltas
        ),
        {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
    ]


def _argument_events(
    kind: str, key: str, item: dict[str, Any], of_item: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the events of one call."""
    named = {"name": item["name"]} if key == "arguments" else {}
    return [
        *(
            {"type": f"response.{kind}.delta", **of_item, "delta": text}
            for text in sse.pieces(item[key])
        ),
        {"type": f"response.{kind}.done", **of_item, **named, key: item[key]},
    ]


def _read_call(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return one call of an answer."""
    name = base.as_text(item.get("name"))
    space = base.as_text(item.get("namespace"))
    free = item.get("type") == "custom_tool_call"
    return {
        "id": base.as_text(item.get("call_id")),
        "name": f"{space.rstrip('_')}__{name}" if space else name,
        "input": (
            base.as_text(item.get("input")) if free else base.read_arguments(item.get("arguments"))
        ),
    }


def _read_text(item: Mapping[str, Any]) -> str:
    """Return the text of one message of an answer."""
    parts = base.as_list(item.get("content")) if item.get("type") == "message" else ()
    return "".join(
        itertools.chain.from_iterable(
            (base.as_text(part.get("text")), base.as_text(part.get("refusal")))
            for part in map(base.as_dict, parts)
        )
    )
