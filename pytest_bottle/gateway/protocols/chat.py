"""OpenAI's Chat Completions API."""

from __future__ import annotations

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

_COUNTS = ("prompt_tokens", "completion_tokens")

_ROLES: dict[object, base.Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "result",
    "function": "result",
}

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "refusal": "content_filter",
}
_STOPS = {theirs: ours for ours, theirs in reversed(_FINISH.items())} | {
    "function_call": "tool_use"
}


def read_request(body: Mapping[str, Any], number: int) -> ModelRequest:
    """Return what is asked.

    Raises:
        BadRequestError: a field has another type than the API's.
    """
    parts = read_parts(body)
    return ModelRequest(
        number=number,
        api="chat",
        body=body,
        system=base.system_text(parts),
        messages=body["messages"],
        tools=base.tools_field(body),
        model=base.text_field(body, "model"),
        stream=base.stream_field(body),
        turn=base.count_answers(parts),
    )


def read_parts(body: Mapping[str, Any]) -> list[Part]:
    """Return the conversation so far.

    Raises:
        BadRequestError: a field has another type than the API's.
    """
    parts = []
    for where, message in base.objects(body.get("messages"), "messages"):
        role = _ROLES.get(message["role"]) if isinstance(message.get("role"), str) else None
        if role is None:
            raise BadRequestError(f"{where}.role: must be one of {', '.join(map(str, _ROLES))}")
        text = base.content_text(message.get("content"), f"{where}.content")
        parts.append(Part(role, text, base.as_text(message.get("tool_call_id"))))
        if message.get("tool_calls") is not None:
            for _, call in base.objects(message["tool_calls"], f"{where}.tool_calls"):
                function = base.as_dict(call.get("function"))
                parts.append(
                    Part(
                        "assistant",
                        f"{function.get('name')}({function.get('arguments')})",
                        base.as_text(call.get("id")),
                    )
                )
    return parts


def render(turn: Turn, request: ModelRequest) -> dict[str, Any]:
    """Return the answer as one completion."""
    message: dict[str, Any] = {"role": "assistant", "content": turn.text or None, "refusal": None}
    calls = _calls(turn, request)
    if calls:
        message["tool_calls"] = calls
    elif not turn.text:
        message["content"] = ""
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": _FINISH[turn.stop],
    }
    return {
        **_head(request, "chat.completion"),
        "choices": [choice],
        "usage": openai.usage_fields(usage_of(turn, request), _COUNTS),
    }


def render_events(turn: Turn, request: ModelRequest) -> list[bytes]:
    """Return the answer as server-sent events."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{"content": text} for text in sse.pieces(turn.text)]
    for index, call in enumerate(_calls(turn, request)):
        kind = call["type"]
        key = "input" if kind == "custom" else "arguments"
        start = {**call, kind: {**call[kind], key: ""}}
        deltas.append({"tool_calls": [{"index": index, **start}]})
        deltas += [
            {"tool_calls": [{"index": index, kind: {key: text}}]}
            for text in sse.pieces(call[kind][key])
        ]
    head = _head(request, "chat.completion.chunk")
    # Who asks for the usage gets the field in every chunk, and its value in one more.
    counted = base.as_dict(request.body.get("stream_options")).get("include_usage") is True
    null = {"usage": None} if counted else {}
    chunks = [{**head, "choices": [_choice(delta, None)], **null} for delta in deltas]
    chunks.append({**head, "choices": [_choice({}, _FINISH[turn.stop])], **null})
    if counted:
        usage = openai.usage_fields(usage_of(turn, request), _COUNTS)
        chunks.append({**head, "choices": [], "usage": usage})
    return [*map(sse.event, chunks), b"data: [DONE]\n\n"]


class ReplyReader:
    """Reads one answer as it passes by."""

    def __init__(self, *, stream: bool) -> None:
        """Begin; `stream` says whether events were asked for."""
        self._body = sse.BodyReader(stream=stream)
        self._texts: list[str] = []
        self._calls: dict[str, dict[str, Any]] = {}
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
        calls = [
            {
                "id": call["id"],
                "name": call["name"],
                "input": (
                    "".join(call["texts"])
                    if call["free"]
                    else base.read_arguments("".join(call["texts"]))
                ),
            }
            for call in self._calls.values()
        ]
        return ModelReply(
            text="".join(self._texts), tool_calls=calls, stop_reason=self._stop, usage=self._usage
        )

    def _read(self, event: Mapping[str, Any]) -> None:
        if event.get("usage"):
            self._usage = openai.read_usage(event["usage"], _COUNTS)
        for choice in map(base.as_dict, base.as_list(event.get("choices"))):
            # Further choices are other answers to the same request.
            if choice.get("index", 0) != 0:
                continue
            said = base.as_dict(choice.get("delta") or choice.get("message"))
            self._texts += [base.as_text(said.get(key)) for key in ("content", "refusal")]
            for place, call in enumerate(base.as_list(said.get("tool_calls"))):
                self._read_call(base.as_dict(call), place)
            finish = base.as_text(choice.get("finish_reason"))
            self._stop = _STOPS.get(finish, finish) or self._stop

    def _read_call(self, call: Mapping[str, Any], place: int) -> None:
        key = str(call.get("index", place))
        known = self._calls.setdefault(key, {"id": "", "name": "", "texts": [], "free": False})
        known["id"] = known["id"] or base.as_text(call.get("id"))
        for kind, field in (("function", "arguments"), ("custom", "input")):
            part = base.as_dict(call.get(kind))
            if part:
                known["free"] = kind == "custom"
                known["name"] = known["name"] or base.as_text(part.get("name"))
                known["texts"].append(base.as_text(part.get(field)))


def _calls(turn: Turn, request: ModelRequest) -> list[dict[str, Any]]:
    """Return the tool calls of an answer."""
    custom = openai.custom_tools(request.tools)
    calls: list[dict[str, Any]] = []
    for index, part in enumerate(turn.parts):
        if not isinstance(part, ToolCall):
            continue
        call: dict[str, Any] = {"id": base.answer_id("call", request, index)}
        # Only what is offered as a custom tool: most clients of this API know functions alone.
        if custom.get(part.name):
            text = openai.free_text(part.input)
            calls.append({**call, "type": "custom", "custom": {"name": part.name, "input": text}})
        else:
            arguments = base.arguments_text(part.input)
            function = {"name": part.name, "arguments": arguments}
            calls.append({**call, "type": "function", "function": function})
    return calls


def _head(request: ModelRequest, kind: str) -> dict[str, Any]:
    """Return what every object of an answer begins with."""
    return {
        "id": base.answer_id("chatcmpl", request),
        "object": kind,
        "created": 0,
        "model": request.model,
    }


def _choice(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    """Return the one choice of a chunk."""
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
