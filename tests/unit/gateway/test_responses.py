"""OpenAI's Responses API, read by OpenAI's own client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from typing import Any

import openai
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

PATCH = "*** Begin Patch\n*** Add File: é.txt\n+x\n*** End Patch"
TOOLS: list[Any] = [
    {"type": "function", "name": "exec_command", "parameters": {"type": "object"}},
    {"type": "custom", "name": "apply_patch", "format": {"type": "text"}},
    {"type": "function", "name": "ask", "parameters": {"type": "object"}},
    {
        "type": "namespace",
        "name": "mcp__docs__",
        "description": "Documentation",
        "tools": [{"type": "function", "name": "search", "parameters": {"type": "object"}}],
    },
    {"type": "web_search"},
]

TURNS = {
    "a text": say("The answer is 42."),
    "an empty text": say(""),
    "nothing": say(),
    "unicode": say('naïve 🍾 日本語 \u2028 \x00 \\ "'),
    "a long text": say("0123456789" * 30_000),
    "a call": tool("exec_command", cmd="cat app.py"),
    "a call without arguments": tool("exec_command"),
    "a nested call": tool("exec_command", env=[{"a": 'b"c', "new": {"deep": [1, None, 2.5]}}]),
    "a text and two calls": say("Looking.", tool("ask", q="1"), tool("exec_command", cmd="é")),
    "a free text": tool("apply_patch", input=PATCH),
    "a call of a server's tool": tool("mcp__docs__search", query="x"),
    "a cut answer": say("half of", stop="max_tokens"),
    "usage": say(
        "x",
        usage=Usage(input_tokens=11, output_tokens=7, cache_read_tokens=5, cache_write_tokens=3),
    ),
}


def read(given: object = "hello", **fields: Any) -> ModelRequest:
    body = {"model": "gpt-x", "input": given, **fields}
    return protocols.read_request("responses", json.dumps(body).encode(), 0)


def client_of(server: ScriptedServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="placeholder", max_retries=0)


def ask(
    server: ScriptedServer, given: Any = "hello", *, stream: bool = False, **fields: Any
) -> Any:
    with client_of(server) as client:
        if not stream:
            return client.responses.create(model="gpt-x", input=given, tools=TOOLS, **fields)
        last: Any = None
        for event in client.responses.create(
            model="gpt-x", input=given, tools=TOOLS, stream=True, **fields
        ):
            last = event
        return last.response


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_the_official_client_reads_what_the_script_says(serve, turn, stream):
    server = serve(turn)
    response = ask(server, stream=stream)
    assert response.output_text == turn.text
    calls = [item for item in response.output if item.type != "message"]
    read_calls = [
        call.input if call.type == "custom_tool_call" else json.loads(call.arguments)
        for call in calls
    ]
    assert read_calls == [call.input for call in turn.calls]
    assert response.status == ("incomplete" if turn.stop == "max_tokens" else "completed")
    assert response.model == "gpt-x"
    reply = server.replies[0]
    assert reply.text == turn.text
    assert [(call["name"], call["input"]) for call in reply.tool_calls] == [
        (call.name, call.input) for call in turn.calls
    ]
    assert [call["id"] for call in reply.tool_calls] == [call.call_id for call in calls]
    assert reply.stop_reason == turn.stop
    total = reply.usage.total_tokens
    assert response.usage.total_tokens == total
    assert response.usage.input_tokens == total - reply.usage.output_tokens
    if turn.usage:
        assert reply.usage == turn.usage
        assert response.usage.input_tokens_details.cached_tokens == 5


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_the_clients_own_gatherer_of_events_agrees(serve, turn):
    server = serve(turn)
    texts = []
    with (
        client_of(server) as client,
        client.responses.stream(model="gpt-x", input="hello", tools=TOOLS) as events,
    ):
        texts += [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(texts) == turn.text


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_no_field_is_missing_or_of_another_type(turn):
    types = openai.types.responses
    event_type: TypeAdapter[Any] = TypeAdapter(types.ResponseStreamEvent)
    types.Response.model_validate(protocols.render(turn, read(tools=TOOLS)))
    for event in protocols.render_events(turn, read(tools=TOOLS, stream=True)):
        event_type.validate_python(json.loads(event.split(b"data: ", 1)[1]))


def test_each_item_has_its_own_kind_of_event(serve):
    server = serve(say("Hi.", tool("exec_command", cmd="ls"), tool("apply_patch", PATCH)))
    with client_of(server) as client:
        events = list(client.responses.create(model="gpt-x", input="x", tools=TOOLS, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = list(dict.fromkeys(event.type.removeprefix("response.") for event in events))
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "completed",
    ]


@pytest.mark.parametrize(
    ("turn", "tools", "item"),
    [
        (tool("ask", input="x"), TOOLS, {"type": "function_call", "arguments": '{"input": "x"}'}),
        (tool("apply_patch", input="x"), TOOLS, {"type": "custom_tool_call", "input": "x"}),
        (tool("apply_patch", patch="x"), TOOLS, {"type": "custom_tool_call", "input": "x"}),
        (
            tool("apply_patch", a=1),
            TOOLS,
            {"type": "custom_tool_call", "input": '{"a": 1}'},
        ),
        (tool("unknown", input="x"), [], {"type": "custom_tool_call", "input": "x"}),
        (tool("unknown", a=1), [], {"type": "function_call", "arguments": '{"a": 1}'}),
    ],
)
def test_a_call_takes_the_form_that_the_offered_tool_has(turn, tools, item):
    (rendered,) = protocols.render(turn, read(tools=tools))["output"]
    assert item.items() <= rendered.items()


@pytest.mark.parametrize("name", ["mcp__docs__search", "mcp__docs__.search"])
def test_a_tool_in_a_namespace_is_called_in_it(name):
    (rendered,) = protocols.render(tool(name, query="x"), read(tools=TOOLS))["output"]
    assert (rendered["namespace"], rendered["name"]) == ("mcp__docs__", "search")


def test_tools_are_named_as_a_script_calls_them():
    assert read(tools=TOOLS).tool_names == [
        "exec_command",
        "apply_patch",
        "ask",
        "mcp__docs__search",
        "web_search",
    ]


def test_tools_that_came_with_the_input_are_known_as_well():
    carrier = {"type": "additional_tools", "role": "developer", "tools": TOOLS}
    request = read([{"role": "user", "content": "x"}, carrier])
    (rendered,) = protocols.render(tool("mcp__docs__search", query="x"), request)["output"]
    assert rendered["namespace"] == "mcp__docs__"
    assert request.turn == 0


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [
        (400, None, openai.BadRequestError),
        (401, "invalid_api_key", openai.AuthenticationError),
        (429, "rate_limit_exceeded", openai.RateLimitError),
        (500, None, openai.InternalServerError),
        (529, "server_is_overloaded", openai.APIStatusError),
    ],
)
def test_an_error_is_one_that_the_client_knows(serve, status, code, raised):
    server = serve(error(status, "no luck"), say("unreached"))
    with pytest.raises(raised, match="no luck") as caught:
        ask(server, stream=True)
    assert caught.value.status_code == status
    assert caught.value.code == code


def test_the_client_retries_an_overload_and_gets_the_answer(serve):
    server = serve(error(503, retry_after=0.01), say("here"))
    with client_of(server) as client:
        response = client.with_options(max_retries=2).responses.create(model="m", input="x")
    assert response.output_text == "here"


def test_system_text_is_gathered_from_wherever_it_is():
    request = read(
        [
            {"role": "developer", "content": [{"type": "input_text", "text": "two"}]},
            {"type": "message", "role": "system", "content": "three"},
            {"role": "user", "content": "hello"},
        ],
        instructions="one",
    )
    assert request.system == "one\n\ntwo\n\nthree"
    assert read(instructions=[{"role": "developer", "content": "a list"}]).system == "a list"


def test_an_input_of_one_text_is_one_message():
    request = read("hello")
    assert request.messages == [{"role": "user", "content": "hello"}]
    assert request.body["input"] == "hello"


USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
ANSWER = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "hi"}],
}
REASONING = {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}
CALL = {"type": "function_call", "call_id": "c", "name": "exec_command", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "app.py"}
PATCH_CALL = {"type": "custom_tool_call", "call_id": "d", "name": "apply_patch", "input": "x"}
PATCH_RESULT = {
    "type": "custom_tool_call_output",
    "call_id": "d",
    "output": [{"type": "input_text", "text": "done"}],
}
DEVELOPER = {"role": "developer", "content": "a reminder"}
EASY = {"role": "assistant", "content": "hi"}


@pytest.mark.parametrize(
    ("turn", "items"),
    [
        (0, "hello"),
        (0, []),
        (0, None),
        (0, [DEVELOPER, USER, USER]),
        (1, [USER, ANSWER]),
        (1, [USER, EASY, USER]),
        (1, [USER, REASONING, ANSWER, CALL, CALL, RESULT, RESULT]),
        (2, [USER, REASONING, CALL, RESULT, REASONING, PATCH_CALL, PATCH_RESULT]),
        (3, [USER, CALL, RESULT, PATCH_CALL, PATCH_RESULT, ANSWER, DEVELOPER, USER]),
        (1, [USER, {"type": "local_shell_call", "call_id": "s", "action": {}}]),
        (1, [USER, {"type": "web_search_call", "status": "completed"}, ANSWER, USER]),
        (1, [USER, {"type": "compaction", "encrypted_content": "g"}, USER]),
        (1, [USER, CALL, {**RESULT, "output": {"content": "x", "success": True}}]),
        (1, [USER, {"type": "something_new"}, RESULT]),
    ],
)
def test_the_turn_is_the_number_of_answers_so_far(turn, items):
    assert read(items).turn == turn


def test_calls_whose_results_stand_between_them_are_one_answer(serve):
    server = serve([tool("ask", q="1"), tool("ask", q="2")], say("done"))
    given: list[Any] = [{"role": "user", "content": "x"}]
    for call in ask(server).output:
        given += [call.to_dict(), {**RESULT, "call_id": call.call_id}]
    assert read(given).turn == 1
    assert ask(server, given).output_text == "done"


def test_a_conversation_that_the_server_keeps_goes_on(serve):
    server = serve(tool("ask", q="1"), say("two"), say("three"))
    first = ask(server)
    result = {**RESULT, "call_id": first.output[0].call_id}
    second = ask(server, [result], previous_response_id=first.id)
    third = ask(server, "go on", stream=True, previous_response_id=second.id)
    assert [second.output_text, third.output_text] == ["two", "three"]
    assert read("x", previous_response_id="resp_of_somebody_else").turn == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"input": 5}, "input: must be a list, not a number"),
        ({"input": ["x"]}, "input.0: must be an object, not a text"),
        ({"input": [{}]}, "input.0.role: must be one of user, assistant, system, developer"),
        ({"input": [{"role": {}}]}, "input.0.role"),
        ({"input": [{"type": 5}]}, "input.0.type: must be a text, not a number"),
        ({"input": [{"role": "user", "content": 5}]}, "input.0.content: must be a text or a list"),
        ({"input": [{**RESULT, "output": 5}]}, "input.0.output: must be a text or a list"),
        ({"instructions": 5}, "instructions: must be a text, not a number"),
        ({"input": "x"}, "model: must be a text, not null"),
        ({"model": "x", "tools": "y"}, "tools: must be a list"),
        ({"model": "x", "stream": 1}, "stream: must be true or false, not a number"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_a_reason(body, words):
    with pytest.raises(BadRequestError, match=words):
        protocols.read_request("responses", json.dumps(body).encode(), 0)


@pytest.mark.parametrize(
    "tools",
    [[{}], [{"type": "namespace"}], [{"type": "namespace", "name": "a", "tools": [5, {}]}]],
)
def test_broken_tools_do_not_stand_in_the_way(tools):
    request = read([{"type": "additional_tools", "tools": 5}], tools=tools)
    assert protocols.render(tool("x"), request)["output"]
    assert all(isinstance(name, str) for name in request.tool_names)


def test_a_stream_that_breaks_off_is_read_as_far_as_it_came():
    request = read(stream=True)
    events = protocols.render_events(say(tool("ask", q="1"), "Some text that is long."), request)
    reader = protocols.reply_reader("responses", stream=True)
    for event in events[:-4]:
        reader.feed(event)
    reply = reader.finish()
    assert reply.text == "Some text that is long."
    assert [call["name"] for call in reply.tool_calls] == ["ask"]
    assert reply.stop_reason is None
    assert reply.usage == Usage()


def test_a_real_stream_is_read_with_its_reasoning_and_unknown_events():
    message = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
    events = [
        {"type": "response.created", "response": {}},
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "hm"},
        {"type": "response.output_item.done", "output_index": 0, "item": REASONING},
        {"type": "response.output_item.done", "output_index": 1, "item": message},
        {"type": "something.new", "item": 5},
        {
            "type": "response.completed",
            "response": {
                "status": "completed",
                "output": [REASONING, message],
                "usage": {
                    "input_tokens": 100,
                    "input_tokens_details": {"cached_tokens": 64},
                    "output_tokens": 20,
                    "output_tokens_details": {"reasoning_tokens": 12},
                    "total_tokens": 120,
                },
            },
        },
    ]
    reader = protocols.reply_reader("responses", stream=True)
    for event in events:
        reader.feed(f"data: {json.dumps(event)}\n\n".encode())
    reply = reader.finish()
    assert reply.text == "No."
    assert reply.stop_reason == "end_turn"
    assert reply.usage == Usage(input_tokens=36, output_tokens=20, cache_read_tokens=64)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"oops",
        b'{"object": "response", "output": 5, "usage": 5, "status": 5}',
        b'{"object": "response", "output": [5, {"type": "message", "content": [5]}]}',
        b'{"object": "response", "usage": {"input_tokens": 1, "input_tokens_details": 5}}',
        b'data: {"type": "response.output_item.done", "output_index": {}, "item": 5}\n\n',
    ],
)
def test_an_answer_that_is_none_is_read_without_an_error(answer, stream):
    reader = protocols.reply_reader("responses", stream=stream)
    reader.feed(answer)
    assert reader.finish().text == ""
