"""OpenAI's Chat Completions API, read by OpenAI's own client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from typing import Any

import openai
import pytest

from pytest_bottle.gateway import protocols
from pytest_bottle.gateway.protocols.base import BadRequestError
from pytest_bottle.gateway.turns import error
from pytest_bottle.gateway.turns import say
from pytest_bottle.gateway.turns import tool
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from pytest_bottle.gateway.values import ModelRequest
    from tests.unit.gateway.scripted_server import ScriptedServer

USER: Any = {"role": "user", "content": "hello"}
TOOLS = [
    {"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}},
    {"type": "custom", "custom": {"name": "patch"}},
]

TURNS = {
    "a text": say("The answer is 42."),
    "an empty text": say(""),
    "nothing": say(),
    "unicode": say('naïve 🍾 日本語 \u2028 \x00 \\ "'),
    "a long text": say("0123456789" * 30_000),
    "a call": tool("bash", command="cat app.py"),
    "a call without arguments": tool("bash"),
    "a nested call": tool("bash", env=[{"a": 'b"c', "new": {"deep": [1, None, 2.5]}}]),
    "a text and two calls": say("Looking.", tool("bash", c="1"), tool("other", c="é")),
    "a free text": tool("patch", input="*** Begin Patch\n"),
    "a cut answer": say("half of", stop="max_tokens"),
    "usage": say(
        "x",
        usage=Usage(input_tokens=11, output_tokens=7, cache_read_tokens=5, cache_write_tokens=3),
    ),
}


def read(*messages: dict[str, Any], **fields: Any) -> ModelRequest:
    body = {"model": "gpt-x", "messages": list(messages or [USER]), **fields}
    return protocols.read_request("chat", json.dumps(body).encode(), 0)


def client_of(server: ScriptedServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="placeholder", max_retries=0)


def ask(server: ScriptedServer, *messages: Any, stream: bool = False) -> Any:
    asked: Any = {"model": "gpt-x", "messages": list(messages or [USER]), "tools": TOOLS}
    with client_of(server) as client:
        if not stream:
            return client.chat.completions.create(**asked)
        asked["stream_options"] = {"include_usage": True}
        chunks = list(client.chat.completions.create(**asked, stream=True))
    return gathered(chunks)


def gathered(chunks: list[Any]) -> openai.types.chat.ChatCompletion:
    """Put the chunks together, as an agent without a helper of its client does."""
    message: dict[str, Any] = {"content": "", "tool_calls": {}}
    finish = None
    for chunk in chunks[:-1]:
        (choice,) = chunk.choices
        finish = choice.finish_reason or finish
        message["content"] += choice.delta.content or ""
        for part in choice.delta.tool_calls or []:
            sent = part.to_dict()
            known = message["tool_calls"].setdefault(part.index, {"id": None, "type": None})
            known["id"] = sent.get("id") or known["id"]
            known["type"] = sent.get("type") or known["type"]
            for kind in ("function", "custom"):
                for key, value in sent.get(kind, {}).items():
                    inner = known.setdefault(kind, {})
                    inner[key] = inner.get(key, "") + value
    return openai.types.chat.ChatCompletion.model_validate(
        {
            **chunks[-1].to_dict(),
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish,
                    "message": {
                        "role": "assistant",
                        "content": message["content"] or None,
                        "tool_calls": list(message["tool_calls"].values()) or None,
                    },
                }
            ],
        }
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_the_official_client_reads_what_the_script_says(serve, turn, stream):
    server = serve(turn)
    completion = ask(server, stream=stream)
    (choice,) = completion.choices
    assert (choice.message.content or "") == turn.text
    calls = choice.message.tool_calls or []
    assert [
        (call.custom.name, call.custom.input)
        if call.type == "custom"
        else (call.function.name, json.loads(call.function.arguments))
        for call in calls
    ] == [(call.name, call.input) for call in turn.calls]
    reply = server.replies[0]
    assert reply.text == turn.text
    assert [(call["id"], call["name"], call["input"]) for call in reply.tool_calls] == [
        (sent.id, call.name, call.input) for sent, call in zip(calls, turn.calls, strict=True)
    ]
    assert reply.stop_reason == turn.stop
    assert completion.usage.total_tokens == reply.usage.total_tokens
    assert completion.usage.completion_tokens == reply.usage.output_tokens
    if turn.usage:
        assert reply.usage == turn.usage
        assert completion.usage.prompt_tokens == 11 + 5 + 3
        assert completion.usage.prompt_tokens_details.cached_tokens == 5


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_no_field_is_missing_or_of_another_type(turn):
    types = openai.types.chat
    types.ChatCompletion.model_validate(protocols.render(turn, read(tools=TOOLS)), strict=True)
    *chunks, end = protocols.render_events(turn, read(stream_options={"include_usage": True}))
    for chunk in chunks:
        data = json.loads(chunk.removeprefix(b"data: "))
        types.ChatCompletionChunk.model_validate(data, strict=True)
    assert end == b"data: [DONE]\n\n"


def test_the_clients_own_gatherer_of_events_agrees(serve):
    server = serve(say("Looking.", tool("bash", command="a"), tool("bash", command="b")))
    with (
        client_of(server) as client,
        client.chat.completions.stream(model="gpt-x", messages=[USER]) as events,
    ):
        completion = events.get_final_completion()
    message = completion.choices[0].message
    assert message.content == "Looking."
    assert [call.function.arguments for call in message.tool_calls or []] == [
        '{"command": "a"}',
        '{"command": "b"}',
    ]


def test_usage_is_streamed_only_to_who_asks_for_it(serve):
    server = serve(say("hi"))
    with client_of(server) as client:
        chunks = list(client.chat.completions.create(model="gpt-x", messages=[USER], stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert server.replies[0].usage == Usage()


def test_a_free_text_for_a_tool_that_is_not_offered_as_such_is_an_argument():
    message = protocols.render(tool("bash", input="x"), read())["choices"][0]["message"]
    assert message["tool_calls"][0]["function"] == {"name": "bash", "arguments": '{"input": "x"}'}


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_an_error_is_one_that_the_client_knows(serve, status, raised):
    server = serve(error(status, "no luck", kind="my_kind"), say("unreached"))
    with pytest.raises(raised, match="no luck") as caught:
        ask(server, stream=True)
    assert caught.value.code == "my_kind"


def test_the_client_runs_a_whole_conversation(serve):
    server = serve([tool("bash", c="1"), tool("bash", c="2")], say("done"))
    message = ask(server).choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "ok"} for call in message.tool_calls
    ]
    assert ask(server, USER, message, *results).choices[0].message.content == "done"
    assert [request.turn for request in server.requests] == [0, 1]


def test_system_text_is_gathered_from_wherever_it_is():
    request = read(
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [{"type": "text", "text": "two"}]},
        USER,
        {"role": "system", "content": "three"},
    )
    assert request.system == "one\n\ntwo\n\nthree"


def test_what_was_sent_is_there_unchanged():
    request = read(USER, tools=TOOLS, max_completion_tokens=5)
    assert request.tools == TOOLS
    assert request.tool_names == ["bash", "patch"]
    assert request.body["max_completion_tokens"] == 5


ANSWER = {"role": "assistant", "content": "hi"}
CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "bash", "arguments": "{}"}},
        {"id": "d", "type": "function", "function": {"name": "bash", "arguments": "{}"}},
    ],
}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "ok"}


@pytest.mark.parametrize(
    ("turn", "messages"),
    [
        (0, [{"role": "system", "content": "x"}, USER]),
        (1, [USER, ANSWER, USER]),
        (1, [USER, CALLED, RESULT, RESULT]),
        (2, [USER, CALLED, RESULT, RESULT, ANSWER, USER]),
        (2, [USER, CALLED, RESULT, RESULT, CALLED, RESULT, RESULT]),
        (1, [USER, ANSWER, CALLED, RESULT]),
        (1, [USER, {"role": "assistant", "refusal": "no"}, USER]),
        (1, [USER, ANSWER]),
        (1, [USER, CALLED, {"role": "function", "name": "bash", "content": "ok"}]),
    ],
)
def test_the_turn_is_the_number_of_answers_so_far(turn, messages):
    assert read(*messages).turn == turn


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "messages: must be a list, not null"),
        ({"messages": [5]}, "messages.0: must be an object"),
        ({"messages": [{"role": "robot"}]}, "messages.0.role: must be one of user, assistant"),
        ({"messages": [{"role": []}]}, "messages.0.role"),
        ({"messages": [{**USER, "content": {}}]}, "messages.0.content: must be a text or a list"),
        ({"messages": [{**ANSWER, "tool_calls": {}}]}, "messages.0.tool_calls: must be a list"),
        ({"messages": [{**ANSWER, "tool_calls": [5]}]}, "messages.0.tool_calls.0: must be"),
        ({"messages": [USER]}, "model: must be a text"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_a_reason(body, words):
    with pytest.raises(BadRequestError, match=words):
        protocols.read_request("chat", json.dumps(body).encode(), 0)


def test_images_and_broken_parts_do_not_stand_in_the_way():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    request = read(
        {"role": "user", "content": [{"type": "text", "text": "see"}, image, {}]},
        {**CALLED, "tool_calls": [{"id": 5, "function": 5}]},
        stream_options=5,
        tools=[{"type": "custom", "custom": 5}],
    )
    assert request.turn == 1
    assert protocols.render_events(say("x"), request)


def test_a_real_stream_is_read_first_choice_alone_and_usage_at_its_end():
    chunks = [
        {"choices": [{"index": 1, "delta": {"content": "other"}}], "usage": None},
        {"choices": [{"index": 0, "delta": {"content": "one"}}]},
        {"choices": [{"index": 0, "delta": {"reasoning_content": "hm", "content": None}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]},
        {"choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 2}},
    ]
    reader = protocols.reply_reader("chat", stream=True)
    for chunk in chunks:
        reader.feed(f"data: {json.dumps(chunk)}\n\n".encode())
    reader.feed(b"data: [DONE]\n\n")
    reply = reader.finish()
    assert (reply.text, reply.stop_reason) == ("one", "refusal")
    assert reply.usage == Usage(input_tokens=8, output_tokens=2)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b'{"choices": 5}',
        b'{"choices": [5, {"message": 5}, {"delta": {"tool_calls": 5}}], "usage": 5}',
        b'data: {"choices": [{"delta": {"tool_calls": [5, {"function": []}]}}]}\n\n',
    ],
)
def test_an_answer_that_is_none_is_read_without_an_error(answer, stream):
    reader = protocols.reply_reader("chat", stream=stream)
    reader.feed(answer)
    reply = reader.finish()
    assert (reply.text, reply.usage) == ("", Usage())
