"""Anthropic's Messages API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.gateway.protocols import base
from pytest_bottle.gateway.protocols import sse
from pytest_bottle.gateway.protocols.base import BadRequestError
from pytest_bottle.gateway.protocols.base import Part
from pytest_bottle.gateway.protocols.estimate import usage_of
from pytest_bottle.gateway.turns import ToolCall
from pytest_bottle.gateway.values import ModelReply
from pytest_bottle.gateway.values import ModelRequest
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.gateway.turns import Turn

ERROR_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_USAGE = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}


def read_request(body: Mapping[str, Any], number: int) -> ModelRequest:
    """Return what is asked.

    Raises:
        BadRequestError: a field has another type than the API's.
    """
    parts = read_parts(body)
    return ModelRequest(
        number=number,
        api="messages",
        body=body,
        system=base.system_text(parts),
        messages=body["messages"],
        tools=base.tools_field(body),
        model=base.text_field(body, "model"),
        stream=base.stream_field(body),
        turn=base.count_answers(parts) - _begun(body["messages"]),
    )


def read_parts(body: Mapping[str, Any]) -> list[Part]:
    """Return the conversation so far.

    Raises:
        BadRequestError: a field has another type than the API's.
    """
    parts = [Part("system", base.content_text(body.get("system"), "system"))]
    for where, message in base.objects(body.get("messages"), "messages"):
        role = message.get("role")
        content = message.get("content")
        if role == "system":
            parts.append(Part("system", base.content_text(content, f"{where}.content")))
        elif role == "assistant":
            # An answer without content is an answer as well.
            parts += _blocks(content, f"{where}.content", answer=True) or [Part("assistant", "")]
        elif role == "user":
            parts += _blocks(content, f"{where}.content", answer=False)
        else:
            raise BadRequestError(f'{where}.role: must be "user", "assistant" or "system"')
    return parts


def render(turn: Turn, request: ModelRequest) -> dict[str, Any]:
    """Return the answer as one message."""
    return {
        "id": base.answer_id("msg", request),
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": _content(turn, request),
        "stop_reason": turn.stop,
        "stop_sequence": None,
        "usage": _usage(usage_of(turn, request)),
    }


def render_events(turn: Turn, request: ModelRequest) -> list[bytes]:
    """Return the answer as server-sent events."""
    message = render(turn, request)
    usage = message["usage"]
    begun = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 0}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            start = {**block, "text": ""}
            deltas = [{"type": "text_delta", "text": text} for text in sse.pieces(block["text"])]
        else:
            start = {**block, "input": {}}
            written = json.dumps(block["input"], ensure_ascii=False)
            deltas = [
                {"type": "input_json_delta", "partial_json": text} for text in sse.pieces(written)
            ]
        events += [
            {"type": "content_block_start", "index": index, "content_block": start},
            *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": index},
        ]
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events += [{"type": "message_delta", "delta": end, "usage": usage}, {"type": "message_stop"}]
    return [sse.event(event, name=event["type"]) for event in events]


def render_error(status: int, kind: str, message: str) -> dict[str, Any]:
    """Return the body of an error; an empty `kind` means the usual one of the status."""
    usual = "api_error" if status >= 500 else "invalid_request_error"  # noqa: PLR2004
    kind = kind or ERROR_KINDS.get(status, usual)
    return {"type": "error", "error": {"type": kind, "message": message}}


class ReplyReader:
    """Reads one answer as it passes by."""

    def __init__(self, *, stream: bool) -> None:
        """Begin; `stream` says whether events were asked for."""
        self._body = sse.BodyReader(stream=stream)
        self._blocks: dict[object, dict[str, Any]] = {}
        self._stop: str | None = None
        self._usage: dict[str, int] = {}

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
                "id": base.as_text(block.get("id")),
                "name": base.as_text(block.get("name")),
                "input": base.read_arguments("".join(block["json"]) or block.get("input")),
            }
            for block in self._blocks.values()
            if block.get("type") == "tool_use"
        ]
        texts = [text for block in self._blocks.values() for text in block["texts"]]
        return ModelReply(
            text="".join(texts),
            tool_calls=calls,
            stop_reason=self._stop,
            usage=Usage(**self._usage),
        )

    def _read(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "message":
                for index, block in enumerate(base.as_list(event.get("content"))):
                    self._begin(index, block)
                self._end(event, event.get("usage"))
            case "message_start":
                self._end({}, base.as_dict(event.get("message")).get("usage"))
            case "content_block_start":
                self._begin(event.get("index"), event.get("content_block"))
            case "content_block_delta":
                self._extend(event.get("index"), base.as_dict(event.get("delta")))
            case "message_delta":
                self._end(base.as_dict(event.get("delta")), event.get("usage"))

    def _begin(self, index: object, block: object) -> None:
        known = base.as_dict(block)
        text = base.as_text(known.get("text")) if known.get("type") == "text" else ""
        self._blocks[str(index)] = {**known, "texts": [text], "json": []}

    def _extend(self, index: object, delta: Mapping[str, Any]) -> None:
        block = self._blocks.setdefault(str(index), {"texts": [], "json": []})
        block["texts"].append(base.as_text(delta.get("text")))
        block["json"].append(base.as_text(delta.get("partial_json")))

    def _end(self, end: Mapping[str, Any], usage: object) -> None:
        self._stop = base.as_text(end.get("stop_reason")) or self._stop
        for theirs, ours in _USAGE.items():
            count = base.as_dict(usage).get(theirs)
            # Later counts include the earlier ones.
            if count is not None:
                self._usage[ours] = base.as_int(count)


def _begun(messages: list[Mapping[str, Any]]) -> bool:
    """Return whether the last message is an answer's beginning, which the model has to go on with.

    What it goes on with is text; an answer that called a tool was whole.
    """
    if not messages or messages[-1]["role"] != "assistant":
        return False
    content = messages[-1].get("content")
    return isinstance(content, str) or all(
        block.get("type") == "text" for block in base.as_list(content)
    )


def _blocks(content: object, where: str, *, answer: bool) -> list[Part]:
    """Return the parts of one message."""
    role: base.Role = "assistant" if answer else "user"
    if not isinstance(content, list):
        return [Part(role, base.content_text(content, where))]
    parts = []
    for place, block in base.objects(content, where):
        match block.get("type"):
            case "tool_use":
                text = f"{block.get('name')}({json.dumps(block.get('input'), ensure_ascii=False)})"
                parts.append(Part("assistant", text, base.as_text(block.get("id"))))
            case "tool_result":
                text = base.content_text(block.get("content"), f"{place}.content")
                call = base.as_text(block.get("tool_use_id"))
                parts.append(Part("result", text, call, failed=block.get("is_error") is True))
            case "thinking" | "redacted_thinking":
                parts.append(Part(role, ""))
            case _:
                parts.append(Part(role, base.content_text([block], where)))
    return parts


def _content(turn: Turn, request: ModelRequest) -> list[dict[str, Any]]:
    """Return the content blocks of an answer; an empty text makes none, as with the real API."""
    blocks: list[dict[str, Any]] = []
    for index, part in enumerate(turn.parts):
        if isinstance(part, ToolCall):
            given = {"input": part.input} if isinstance(part.input, str) else dict(part.input)
            call = base.answer_id("toolu", request, index)
            blocks.append({"type": "tool_use", "id": call, "name": part.name, "input": given})
        elif part:
            blocks.append({"type": "text", "text": part})
    return blocks


def _usage(usage: Usage) -> dict[str, int]:
    """Return the counts in the API's words."""
    return {theirs: getattr(usage, ours) for theirs, ours in _USAGE.items()}
