"""Anthropic's Messages API, read by Anthropic's own client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from typing import Any

import anthropic
import pytest
from pydantic import TypeAdapter

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
CALL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "app.py"}

TURNS = {
    "a text": say("The answer is 42."),
    "an empty text": say(""),
    "nothing": say(),
    "unicode": say('naïve 🍾 日本語 \u2028 \x00 \\ " </script>'),
    "a long text": say("0123456789" * 30_000),
    "a call": tool("Bash", command="cat app.py"),
    "a call without arguments": tool("Stop"),
    "a nested call": tool("Edit", edits=[{"old": 'a"b', "new": {"deep": [1, None, 2.5, True]}}]),
    "a text and two calls": say("Looking.", tool("Bash", command="ls"), tool("Read", path="é")),
    "a cut answer": say("half of", stop="max_tokens"),
    "usage": say(
        "x",
        usage=Usage(input_tokens=11, output_tokens=7, cache_read_tokens=5, cache_write_tokens=3),
    ),
}


def body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "claude-x", "max_tokens": 100, "messages": list(messages or [USER]), **fields}


def read(*messages: dict[str, Any], **fields: Any) -> ModelRequest:
    return protocols.read_request("messages", json.dumps(body(*messages, **fields)).encode(), 0)


def client_of(server: ScriptedServer) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key="placeholder", max_retries=0)


def ask(server: ScriptedServer, *, stream: bool) -> Any:
    with client_of(server) as client:
        if not stream:
            return client.messages.create(**body())
        with client.messages.stream(**body()) as events:
            return events.get_final_message()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_the_official_client_reads_what_the_script_says(serve, turn, stream):
    server = serve(turn)
    message = ask(server, stream=stream)
    assert "".join(b.text for b in message.content if b.type == "text") == turn.text
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == [
        (call.name, call.input) for call in turn.calls
    ]
    assert message.stop_reason == turn.stop
    assert message.model == "claude-x"
    reply = server.replies[0]
    assert reply.text == turn.text
    assert [(call["id"], call["name"], call["input"]) for call in reply.tool_calls] == [
        (call.id, call.name, call.input) for call in calls
    ]
    assert reply.stop_reason == turn.stop
    assert message.usage.input_tokens == reply.usage.input_tokens
    assert message.usage.output_tokens == reply.usage.output_tokens
    if turn.usage:
        assert reply.usage == turn.usage
        assert message.usage.cache_read_input_tokens == 5
        assert message.usage.cache_creation_input_tokens == 3


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_no_field_is_missing_or_of_another_type(turn):
    types = anthropic.types
    event_type: TypeAdapter[Any] = TypeAdapter(types.RawMessageStreamEvent)
    types.Message.model_validate(protocols.render(turn, read()), strict=True)
    for event in protocols.render_events(turn, read(stream=True)):
        data = json.loads(event.split(b"data: ", 1)[1])
        if data != {"type": "ping"}:
            event_type.validate_python(data, strict=True)


def test_a_stream_is_cut_into_events_as_the_real_one(serve):
    server = serve(say("Some text that is a little longer.", tool("Bash", command="ls")))
    with client_of(server) as client:
        kinds = [event.type for event in client.messages.create(**body(), stream=True)]
    assert kinds == [
        "message_start",
        *["content_block_start", *["content_block_delta"] * 2, "content_block_stop"],
        *["content_block_start", "content_block_delta", "content_block_stop"],
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize(
    ("status", "kind", "raised"),
    [
        (400, "invalid_request_error", anthropic.BadRequestError),
        (401, "authentication_error", anthropic.AuthenticationError),
        (429, "rate_limit_error", anthropic.RateLimitError),
        (500, "api_error", anthropic.InternalServerError),
        (529, "overloaded_error", anthropic.APIStatusError),
    ],
)
def test_an_error_is_one_that_the_client_knows(serve, status, kind, raised):
    server = serve(error(status, "no luck", retry_after=0), say("unreached"))
    with pytest.raises(raised) as caught:
        ask(server, stream=True)
    assert caught.value.status_code == status
    assert caught.value.body == {"type": "error", "error": {"type": kind, "message": "no luck"}}
    assert caught.value.response.headers["retry-after"] == "0"


def test_the_client_retries_an_overload_and_gets_the_answer(serve):
    server = serve(error(529, "overloaded", retry_after=0.01), say("here"))
    with client_of(server) as client:
        message = client.with_options(max_retries=2).messages.create(**body())
    assert message.content[0].text == "here"
    assert [request.turn for request in server.requests] == [0, 0]
    assert server.source.unused() == []


def test_the_client_runs_a_whole_conversation(serve):
    server = serve(
        [tool("Bash", command="ls"), tool("Read", path="a")],
        lambda request: say(f"{len(request.messages)} messages"),
    )
    messages: list[Any] = [USER]
    with client_of(server) as client:
        first = client.messages.create(**body(*messages))
        results = [{**RESULT, "tool_use_id": call.id} for call in first.content]
        messages += [
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": results},
        ]
        second = client.messages.create(**body(*messages))
    assert len({call.id for call in first.content}) == 2
    assert second.content[0].text == "3 messages"
    assert [request.turn for request in server.requests] == [0, 1]


def test_the_client_counts_tokens(serve):
    server = serve()
    with client_of(server) as client:
        few = client.messages.count_tokens(model="claude-x", messages=[USER])
        more = client.messages.count_tokens(
            model="claude-x", messages=[{"role": "user", "content": "hello" * 400}]
        )
    assert more.input_tokens - few.input_tokens == 5 * 399 // 4
    assert server.requests[0].api == "count_tokens"


def test_an_image_counts_alike_whatever_its_size():
    def image(data: str) -> dict[str, Any]:
        return {
            "role": "user",
            "content": [
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": data},
                }
            ],
        }

    counts = [
        protocols.render_count(read(image(data)))["input_tokens"] for data in ("x", "x" * 9000)
    ]
    assert counts[0] == counts[1] > 1600


def test_system_text_is_gathered_from_wherever_it_is():
    system = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    amid = {"role": "system", "content": [{"type": "text", "text": "three"}]}
    request = read(USER, amid, {"role": "system", "content": "four"}, system=system)
    assert request.system == "one\ntwo\n\nthree\n\nfour"
    assert read(system="plain").system == "plain"
    assert read().system == ""


def test_what_was_sent_is_there_unchanged():
    tools = [
        {"name": "Bash", "input_schema": {"type": "object"}},
        {"type": "web_search", "name": "w"},
    ]
    request = read(USER, tools=tools, stream=True, metadata={"user_id": "u"})
    assert request.messages == [USER]
    assert request.tools == tools
    assert request.tool_names == ["Bash", "w"]
    assert request.stream
    assert request.body["metadata"] == {"user_id": "u"}


ANSWER: dict[str, Any] = {"role": "assistant", "content": "hi"}
CALLED = {"role": "assistant", "content": [{"type": "text", "text": "Let me look."}, CALL]}
ANSWERED = {"role": "user", "content": [RESULT]}
SYSTEM = {"role": "system", "content": "a reminder"}
THOUGHT = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        CALL,
    ],
}


@pytest.mark.parametrize(
    ("turn", "messages"),
    [
        (0, [USER]),
        (0, []),
        (0, [USER, SYSTEM]),
        (0, [USER, USER]),
        (1, [USER, ANSWER, USER]),
        (1, [USER, CALLED, ANSWERED]),
        (1, [USER, CALLED, ANSWERED, SYSTEM, USER]),
        (2, [USER, CALLED, ANSWERED, ANSWER, USER]),
        (1, [USER, THOUGHT, ANSWERED]),
        (1, [USER, {"role": "assistant", "content": []}, USER]),
        # An answer that was sent in two messages.
        (1, [USER, ANSWER, CALLED, ANSWERED]),
        # The beginning of an answer, which the model is to go on with.
        (0, [USER, ANSWER]),
        (1, [USER, CALLED, ANSWERED, {"role": "assistant", "content": "{"}]),
        (1, [USER, CALLED]),
    ],
)
def test_the_turn_is_the_number_of_answers_so_far(turn, messages):
    sent = json.dumps({**body(), "messages": messages}).encode()
    assert protocols.read_request("messages", sent, 0).turn == turn


def test_calls_of_one_answer_that_were_sent_apart_are_one_answer(serve):
    server = serve([tool("Bash", command="a"), tool("Bash", command="b")], say("done"))
    calls = ask(server, stream=False).content
    messages: list[Any] = [USER]
    for call in calls:
        messages.append({"role": "assistant", "content": [call.to_dict()]})
        messages.append({"role": "user", "content": [{**RESULT, "tool_use_id": call.id}]})
    assert read(*messages).turn == 1


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{}", "messages: must be a list, not null"),
        (b'{"messages": "x"}', "messages: must be a list, not a text"),
        (b'{"messages": [1]}', "messages.0: must be an object, not a number"),
        (b'{"messages": [{}]}', "messages.0.role"),
        (b'{"messages": [{"role": ["user"]}]}', "messages.0.role"),
        (b'{"messages": [{"role": "user", "content": 5}]}', "messages.0.content: must be a text"),
        (b'{"messages": [{"role": "user", "content": [null]}]}', "messages.0.content.0: must be"),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "text", "text": {}}]}]}',
            "text: must be a text, not an object",
        ),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "tool_result", "content": 1}]}]}',
            "messages.0.content.0.content: must be a text or a list",
        ),
        (b'{"messages": [], "system": {}}', "system: must be a text or a list"),
        (b'{"messages": []}', "model: must be a text, not null"),
        (b'{"messages": [], "model": 1}', "model: must be a text, not a number"),
        (b'{"messages": [], "model": "x", "tools": {}}', "tools: must be a list"),
        (b'{"messages": [], "model": "x", "tools": [[]]}', "tools.0: must be an object"),
        (b'{"messages": [], "model": "x", "tools": [{"function": 1}]}', "tools.0.function"),
        (b'{"messages": [], "model": "x", "stream": "yes"}', "stream: must be true or false"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_a_reason(raw, words):
    with pytest.raises(BadRequestError, match=words):
        protocols.read_request("messages", raw, 0)


@pytest.mark.parametrize(
    "blocks",
    [
        [{}],
        [{"type": 5}],
        [{"type": "image", "source": None}],
        [{"type": "tool_use"}],
        [{"type": "tool_use", "id": [], "name": {}, "input": "x"}],
        [{"type": "tool_result"}],
        [{"type": "tool_result", "content": [{"type": "image"}], "is_error": "maybe"}],
        [{"type": "thinking"}],
    ],
)
def test_unknown_and_broken_blocks_do_not_stand_in_the_way(blocks):
    request = read({"role": "user", "content": blocks}, {"role": "assistant", "content": blocks})
    assert request.messages[0]["content"] == blocks


def test_a_stream_is_read_however_it_is_cut():
    request = read(stream=True)
    turn = TURNS["a text and two calls"]
    events = b"".join(protocols.render_events(turn, request))
    whole = protocols.reply_reader("messages", stream=True)
    whole.feed(events)
    apart = protocols.reply_reader("messages", stream=True)
    for start in range(len(events)):
        apart.feed(events[start : start + 1])
    assert apart.finish() == whole.finish()


def test_a_stream_that_breaks_off_is_read_as_far_as_it_came():
    events = protocols.render_events(say("Some text that is a little longer."), read(stream=True))
    reader = protocols.reply_reader("messages", stream=True)
    for event in events[:4]:
        reader.feed(event)
    reply = reader.finish()
    assert reply.text
    assert "Some text that is a little longer.".startswith(reply.text)
    assert reply.stop_reason is None
    assert reply.usage.input_tokens > 0


def test_a_real_stream_is_read_with_its_thinking_pings_and_unknown_events():
    stream = (
        b": a comment\r\n\r\n"
        b'event: message_start\r\ndata: {"type":"message_start","message":{"usage":'
        b'{"input_tokens":9,"cache_read_input_tokens":100,"cache_creation_input_tokens":null,'
        b'"output_tokens":1}}}\r\n\r\n'
        b'data: {"type":"ping"}\r\n\r\n'
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking",'
        b'"thinking":"","signature":""}}\r\n\r\n'
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta",'
        b'"thinking":"hm"}}\r\n\r\n'
        b'data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}'
        b"\r\n\r\n"
        b'data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta",'
        b'"text":"caf\xc3\xa9"}}\r\n\r\n'
        b'data: {"type":"something_new","index":[]}\r\n\r\n'
        b"data: not json\r\n\r\n"
        b'data: {"type":"message_delta","delta":{"stop_reason":"pause_turn"},'
        b'"usage":{"output_tokens":15}}\r\n\r\n'
        b'data: {"type":"message_stop"}'
    )
    reader = protocols.reply_reader("messages", stream=True)
    for start in range(0, len(stream), 7):
        reader.feed(stream[start : start + 7])
    reply = reader.finish()
    assert reply.text == "café"
    assert reply.tool_calls == []
    assert reply.stop_reason == "pause_turn"
    assert reply.usage == Usage(input_tokens=9, output_tokens=15, cache_read_tokens=100)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"type": "error", "error": {"type": "x"}}',
        b'{"type": "message", "content": {}, "usage": []}',
        b'{"type": "message", "content": [1, {"type": "tool_use", "input": 5}]}',
        b'data: {"type": "content_block_delta", "delta": 5}\n\n',
        b'data: {"type": "message_start", "message": {"usage": {"input_tokens": "x"}}}\n\n',
    ],
)
def test_an_answer_that_is_none_is_read_as_nothing(answer, stream):
    reader = protocols.reply_reader("messages", stream=stream)
    reader.feed(answer)
    reply = reader.finish()
    assert reply.text == ""
    assert reply.usage == Usage()
    assert all(call["input"] == {} for call in reply.tool_calls)


def test_an_answer_that_came_whole_though_a_stream_was_asked_for_is_read():
    whole = protocols.render(say("hello"), read())
    reader = protocols.reply_reader("messages", stream=True)
    for byte in b" " + json.dumps(whole).encode():
        reader.feed(bytes([byte]))
    assert reader.finish().text == "hello"


def test_ids_are_the_same_in_every_run():
    turn = TURNS["a text and two calls"]
    assert protocols.render(turn, read()) == protocols.render(turn, read())
