"""Bodies that a guest may send: whatever they hold, each is read or refused with a reason."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING
from typing import Any

import anthropic
import openai
import pytest

from pytest_bottle.gateway import protocols
from pytest_bottle.gateway.protocols.base import BadRequestError
from pytest_bottle.gateway.protocols.base import parse_body
from pytest_bottle.gateway.script import excerpt
from pytest_bottle.gateway.turns import say
from pytest_bottle.gateway.turns import tool

if TYPE_CHECKING:
    from collections.abc import Iterator

TURN = say("hi", tool("patch", "text"), tool("mcp__docs__search", q=1), tool("ask", input="z"))

WRONG: list[Any] = [None, True, -1, 10**30, 1.5, "", "namespace", [], {}, [{}], [[]], {"type": []}]

FUNCTION: Any = {"type": "function", "name": "ask", "parameters": {}}
BODIES: dict[str, Any] = {
    "messages": {
        "model": "x",
        "stream": True,
        "system": [{"type": "text", "text": "a"}],
        "tools": [{"name": "ask", "input_schema": {}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]},
            {"role": "system", "content": "a reminder"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm"},
                    {"type": "tool_use", "id": "toolu_bottle_0_0_1", "name": "ask", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_bottle_0_0_1",
                        "content": [{"type": "text", "text": "a"}],
                        "is_error": True,
                    }
                ],
            },
        ],
    },
    "responses": {
        "model": "x",
        "stream": True,
        "instructions": "a",
        "previous_response_id": "resp_bottle_0_0",
        "tools": [
            FUNCTION,
            {"type": "custom", "name": "patch"},
            {"type": "namespace", "name": "mcp__docs__", "tools": [{**FUNCTION, "name": "search"}]},
        ],
        "input": [
            {"type": "message", "role": "developer", "content": "a"},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "call_id": "a", "name": "ask", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "a"},
            {"type": "custom_tool_call", "call_id": "b", "name": "patch", "input": "a"},
            {"type": "custom_tool_call_output", "call_id": "b", "output": [{"text": "a"}]},
            {"type": "additional_tools", "tools": [FUNCTION]},
        ],
    },
    "chat": {
        "model": "x",
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {"type": "function", "function": {"name": "ask"}},
            {"type": "custom", "custom": {"name": "patch"}},
        ],
        "messages": [
            {"role": "developer", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "a", "function": {"name": "ask", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "a", "content": "a"},
        ],
    },
}


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in inner:
        yield (*above, key)
        if isinstance(below, dict | list):
            yield from places(below, (*above, key))


@pytest.mark.parametrize("api", ["messages", "responses", "chat"])
def test_no_wrong_value_anywhere_gets_past_the_reader_as_another_error(api):
    refused = []
    answered = 0
    for way in places(BODIES[api]):
        for wrong in WRONG:
            body = copy.deepcopy(BODIES[api])
            at = body
            for key in way[:-1]:
                at = at[key]
            at[way[-1]] = wrong
            try:
                request = protocols.read_request(api, json.dumps(body).encode(), 0)
            except BadRequestError as error:
                refused.append(str(error))
                continue
            assert all(isinstance(name, str) for name in request.tool_names)
            assert len(excerpt(request)) <= 2000
            assert protocols.render_events(TURN, request)
            answered += 1
    assert answered
    assert 0 < max(map(len, refused)) < 200


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"model=x", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b"[" * 100_000, "deep"),
        (b'{"messages": ' + b"[" * 150 + b"]" * 150 + b"}", "nests more than 100 deep"),
        (b'{"max_tokens": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b"[]", "must be an object, not a list"),
        (b'"x"', "must be an object, not a text"),
        (b"null", "must be an object, not null"),
        (b'{"model": "x", "messages": [], "system": "\\ud800"}', "half a character"),
    ],
)
def test_what_is_no_json_object_is_refused_with_a_reason(raw, words):
    with pytest.raises(BadRequestError, match=words):
        parse_body(raw)


def test_a_reason_can_be_caught_as_a_value_error():
    assert issubclass(BadRequestError, ValueError)


def test_whole_characters_in_escapes_are_no_reason():
    assert parse_body(b'{"a": "\\ud83c\\udf7e"}') == {"a": "\U0001f37e"}


def test_an_id_with_a_number_that_nobody_could_count_to_is_not_ours():
    body = {"model": "x", "previous_response_id": f"resp_bottle_0_{'9' * 5000}"}
    assert protocols.read_request("responses", json.dumps(body).encode(), 0).turn == 0


def test_the_list_of_models_is_one_that_all_clients_read():
    listed = protocols.render_models()["data"]
    assert len({openai.types.Model.model_validate(model).id for model in listed}) == len(listed)
    assert all(anthropic.types.ModelInfo.model_validate(model).display_name for model in listed)


@pytest.mark.parametrize(
    ("method", "path", "api"),
    [
        ("POST", "/v1/messages?beta=true", "messages"),
        ("POST", "/v1/messages/count_tokens", "count_tokens"),
        ("POST", "/v1/responses", "responses"),
        ("POST", "/v1/chat/completions/", "chat"),
        ("GET", "/v1/messages", "other"),
        ("POST", "/v1/embeddings", "other"),
    ],
)
def test_the_path_says_which_api_is_spoken(method, path, api):
    assert protocols.api_of(method, path) == api
