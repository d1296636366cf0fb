"""A scripted model: which turn a request gets, and what is said of one that has none."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle.errors import AuthorError
from pytest_bottle.errors import UnexpectedRequestError
from pytest_bottle.gateway import protocols
from pytest_bottle.gateway.authoring import TurnFailedError
from pytest_bottle.gateway.authoring import read_script
from pytest_bottle.gateway.script import ScriptSource
from pytest_bottle.gateway.turns import delay
from pytest_bottle.gateway.turns import error
from pytest_bottle.gateway.turns import say
from pytest_bottle.gateway.turns import tool
from pytest_bottle.gateway.values import HttpRequest

if TYPE_CHECKING:
    from pytest_bottle.gateway.turns import Answer
    from pytest_bottle.gateway.turns import Script
    from pytest_bottle.gateway.values import Api
    from pytest_bottle.gateway.values import HttpAnswer
    from pytest_bottle.gateway.values import ModelRequest

HTTP = HttpRequest(method="POST", path="/v1/messages", headers={}, body=b"")


def request_of(
    turn: int = 0,
    *,
    user: str = "hello",
    api: Api = "messages",
    last: str | None = None,
    **fields: Any,
) -> ModelRequest:
    messages = [{"role": "user", "content": user}]
    for _ in range(turn):
        messages.append({"role": "assistant", "content": "an answer"})
        messages.append({"role": "user", "content": "go on"})
    if last is not None:
        messages[-1]["content"] = last
    key = "input" if api == "responses" else "messages"
    return protocols.read_request(api, {"model": "claude-x", key: messages, **fields}, 7)


def script_of(*values: object, match: str | None = None) -> Script:
    return read_script(values, match=match, ask=lambda _: 5)


async def never(_number: int, _request: ModelRequest) -> Answer:
    raise AssertionError("no script of this test asks")


def source_of(*values: object, match: str | None = None, ask: Any = never) -> ScriptSource:
    return ScriptSource([script_of(*values, match=match)], ask)


async def answer(source: ScriptSource, request: ModelRequest) -> tuple[HttpAnswer, Any]:
    http = await source.answer(request, HTTP)
    return http, json.loads(b"".join([chunk async for chunk in http.body]))


def text_of(source: ScriptSource, request: ModelRequest) -> Any:
    http, body = asyncio.run(answer(source, request))
    return body["content"][0]["text"] if http.status == 200 else http.status


def problem_of(source: ScriptSource, request: ModelRequest) -> str:
    with pytest.raises(UnexpectedRequestError) as caught:
        asyncio.run(answer(source, request))
    return str(caught.value)


def test_each_turn_of_the_conversation_has_its_answer():
    source = source_of(say("one"), say("two"), say("three"))
    assert [text_of(source, request_of(turn)) for turn in range(3)] == ["one", "two", "three"]


def test_a_retry_gets_the_same_answer_again():
    source = source_of(say("one"), say("two"))
    turns = [0, 0, 1, 1, 0]
    assert [text_of(source, request_of(turn)) for turn in turns] == [
        "one",
        "one",
        "two",
        "two",
        "one",
    ]


def test_errors_come_once_each_before_the_answer():
    source = source_of(say("one"), error(529), error(500), say("two"))
    assert text_of(source, request_of(0)) == "one"
    assert [text_of(source, request_of(1)) for _ in range(4)] == [529, 500, "two", "two"]


def test_a_delay_holds_the_answer_back_once():
    source = source_of(delay(0.1), delay(0.1), say("one"))
    begun = time.monotonic()
    assert text_of(source, request_of()) == "one"
    assert time.monotonic() - begun >= 0.2
    begun = time.monotonic()
    assert text_of(source, request_of()) == "one"
    assert time.monotonic() - begun < 0.1


def test_a_delay_does_not_hold_others_back():
    source = source_of(delay(0.3), say("slow"), say("quick"))
    done = []

    async def one(turn: int) -> None:
        _, body = await answer(source, request_of(turn))
        done.append(body["content"][0]["text"])

    async def both() -> None:
        await asyncio.gather(one(0), one(1))

    asyncio.run(both())
    assert done == ["quick", "slow"]


def test_a_delay_before_an_error_holds_the_error_back():
    source = source_of(delay(0.1), error(529), say("one"))
    begun = time.monotonic()
    assert text_of(source, request_of()) == 529
    assert time.monotonic() - begun >= 0.1


@pytest.mark.parametrize("api", ["messages", "responses", "chat"])
def test_answers_are_the_scripts_in_every_api(api):
    request = request_of(api=api)
    http, body = asyncio.run(answer(source_of(say("one")), request))
    assert (http.status, http.origin) == (200, "script")
    assert http.headers["content-type"] == "application/json"
    assert "one" in json.dumps(body)


def test_a_stream_is_sent_as_events():
    async def first() -> tuple[str, list[bytes]]:
        http = await source_of(say("one")).answer(request_of(stream=True), HTTP)
        return http.headers["content-type"], [chunk async for chunk in http.body]

    kind, chunks = asyncio.run(first())
    assert kind.startswith("text/event-stream")
    assert len(chunks) > 4
    assert all(chunk.startswith(b"event: ") and chunk.endswith(b"\n\n") for chunk in chunks)


def test_an_error_carries_its_wait():
    http, body = asyncio.run(answer(source_of(error(429, retry_after=1.5)), request_of()))
    assert http.headers["retry-after"] == "1.5"
    assert body["error"] == {"type": "rate_limit_error", "message": "scripted error 429"}


def test_tokens_are_counted_without_a_script():
    request = request_of(api="count_tokens")
    http, body = asyncio.run(answer(ScriptSource([], never), request))
    assert (http.status, body) == (200, protocols.render_count(request))


def test_a_request_beyond_the_script_is_refused_and_shown():
    source = source_of(say("one"))
    assert text_of(source, request_of(0)) == "one"
    text = problem_of(source, request_of(1, last="and now?"))
    assert text.startswith("the agent asked for turn 2 of the script, which has 1. Add the turn ")
    assert text.endswith("user: and now?")


def test_a_conversation_that_began_before_the_script_goes_on_with_it():
    source = source_of(say("one"), say("two"))
    assert [text_of(source, request_of(turn)) for turn in (2, 2, 3)] == ["one", "one", "two"]
    assert "turn 3 of the script" in problem_of(source, request_of(4))


def test_a_new_conversation_begins_the_script_anew():
    source = source_of(say("one"), say("two"))
    assert text_of(source, request_of(5)) == "one"
    assert [text_of(source, request_of(turn)) for turn in (0, 1)] == ["one", "two"]


def test_a_retry_after_the_scripts_last_error_is_explained():
    source = source_of(say("one"), error(529, "overloaded"))
    assert text_of(source, request_of(0)) == "one"
    assert text_of(source, request_of(1)) == 529
    assert "no answer for a retry after error(529, 'overloaded')" in problem_of(
        source, request_of(1)
    )


def test_a_request_without_any_script_is_explained():
    text = problem_of(ScriptSource([], never), request_of())
    assert "request 7" in text
    assert "Call bottle.model.script(say(...), ...) before the agent runs." in text
    assert issubclass(UnexpectedRequestError, AuthorError)


def test_an_excerpt_shows_the_tools_results_and_is_short():
    calls = [
        {"type": "tool_use", "id": "a", "name": "Bash", "input": {}},
        {"type": "tool_use", "id": "b", "name": "Bash", "input": {}},
    ]
    results = [
        {"type": "tool_result", "tool_use_id": "a", "content": "x" * 9000},
        {"type": "tool_result", "tool_use_id": "b", "content": "no such file", "is_error": True},
    ]
    messages = [
        {"role": "user", "content": "the task"},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": results},
    ]
    request = protocols.read_request("messages", {"model": "x", "messages": messages}, 0)
    with pytest.raises(UnexpectedRequestError) as caught:
        asyncio.run(answer(source_of(), request))
    detail = caught.value.detail
    assert detail.startswith("result of a: xxx")
    assert detail.endswith("result of b (an error): no such file")
    assert "characters ...]" in detail
    assert "the task" not in detail
    assert len(detail) <= 2000


def test_a_script_with_match_is_for_the_requests_that_it_matches():
    source = ScriptSource(
        [
            script_of(say("main")),
            script_of(say("explorer"), match="You explore"),
            script_of(say("titles"), match="Write a title"),
        ],
        never,
    )
    assert text_of(source, request_of()) == "main"
    assert text_of(source, request_of(system="You explore code.")) == "explorer"
    assert text_of(source, request_of(user="Write a title for this")) == "titles"
    assert text_of(source, request_of(turn=0, system="x", user="You explore")) == "explorer"
    assert "turn 2 of the script for 'You explore', which has 1" in problem_of(
        source, request_of(1, system="You explore")
    )


def test_only_what_the_user_said_before_the_first_answer_is_matched():
    source = ScriptSource(
        [script_of(say("one"), say("two")), script_of(say("other"), match="go on")], never
    )
    assert [text_of(source, request_of(turn)) for turn in (0, 1)] == ["one", "two"]


def test_without_a_plain_script_what_matches_none_is_unexpected():
    source = source_of(say("one"), match="subagent")
    assert "the test has no script for it" in problem_of(source, request_of())


def test_another_script_begins_anew():
    source = source_of(error(529), say("one"))
    assert text_of(source, request_of()) == 529
    source.replace([script_of(error(500), say("two"))])
    assert [text_of(source, request_of()) for _ in range(2)] == [500, "two"]


def test_a_callable_is_asked_with_the_request():
    async def ask(number, request):
        return say(f"{number}: {request.messages[-1]['content']}")

    source = source_of(say("one"), lambda _: None, ask=ask)
    assert [text_of(source, request_of(turn)) for turn in (0, 1)] == ["one", "5: go on"]


def test_a_callable_may_answer_with_an_error():
    async def ask(_number, _request):
        return error(503)

    assert text_of(source_of(lambda _: None, ask=ask), request_of()) == 503


def test_a_callable_that_fails_is_told_in_its_own_words():
    async def ask(_number, _request):
        raise TurnFailedError("my_turn raised KeyError: 'x' (test_it.py:3)")

    text = problem_of(source_of(lambda _: None, ask=ask), request_of(last="the question"))
    assert text.startswith(
        "turn 1 of the script is a callable that failed. "
        "my_turn raised KeyError: 'x' (test_it.py:3)"
    )
    assert text.endswith("user: the question")


def test_what_was_not_asked_for_is_listed():
    source = ScriptSource(
        [
            script_of(say("one"), error(529), delay(0.01), say("two"), tool("Bash", command="ls")),
            script_of(say("sub"), match="explore"),
        ],
        never,
    )
    assert text_of(source, request_of(0)) == "one"
    assert source.unused() == [
        "turn 2 of the script: error(529, 'scripted error 529'), delay(0.01), say('two')",
        "turn 3 of the script: tool('Bash', command='ls')",
        "turn 1 of the script for 'explore': say('sub')",
    ]
    assert text_of(source, request_of(1)) == 529
    assert source.unused()[0] == "turn 2 of the script: delay(0.01), say('two')"
    for request in (request_of(1), request_of(2), request_of(0, system="explore")):
        asyncio.run(answer(source, request))
    assert source.unused() == []


def test_a_source_may_be_closed_twice():
    source = source_of(say("one"))
    asyncio.run(source.close())
    asyncio.run(source.close())
    assert text_of(source, request_of()) == "one"
