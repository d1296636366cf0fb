"""What a test's author writes as a script, and how it crosses to the door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pytest_bottle
from pytest_bottle.gateway.authoring import TurnFailedError
from pytest_bottle.gateway.authoring import ask
from pytest_bottle.gateway.authoring import read_script
from pytest_bottle.gateway.turns import Ask
from pytest_bottle.gateway.turns import Script
from pytest_bottle.gateway.turns import ToolCall
from pytest_bottle.gateway.turns import Turn
from pytest_bottle.gateway.turns import answer_from_json
from pytest_bottle.gateway.turns import delay
from pytest_bottle.gateway.turns import error
from pytest_bottle.gateway.turns import from_json
from pytest_bottle.gateway.turns import say
from pytest_bottle.gateway.turns import tool
from pytest_bottle.gateway.values import ModelRequest
from pytest_bottle.usage import Usage

REQUEST = ModelRequest(
    number=0,
    api="messages",
    body={},
    system="",
    messages=[],
    tools=[],
    model="m",
    stream=False,
    turn=0,
)


def script_of(*values: object, match: Any = None) -> Script:
    return read_script(values, match=match, ask=lambda _: 0)


def test_the_package_offers_what_a_script_is_made_of():
    assert pytest_bottle.say("x") == say("x")
    assert {pytest_bottle.tool, pytest_bottle.error, pytest_bottle.delay} == {tool, error, delay}


def test_say_takes_texts_and_calls_in_their_order():
    turn = say("one", tool("Bash", command="ls"), "two")
    assert turn.parts == ("one", ToolCall("Bash", {"command": "ls"}), "two")
    assert turn.text == "onetwo"
    assert turn.calls == [ToolCall("Bash", {"command": "ls"})]


def test_a_turn_stops_for_its_tools_unless_it_says_otherwise():
    assert say("x").stop == "end_turn"
    assert tool("Bash").stop == "tool_use"
    assert say("x", tool("Bash")).stop == "tool_use"
    assert say("x", tool("Bash"), stop="max_tokens").stop == "max_tokens"


def test_a_tool_takes_keywords_a_mapping_or_a_free_text():
    assert tool("Bash", command="ls") == tool("Bash", {"command": "ls"})
    assert tool("apply_patch", "text") == tool("apply_patch", input="text")
    assert tool("Bash").calls == [ToolCall("Bash", {})]
    assert tool("Skill", name="sql").calls == [ToolCall("Skill", {"name": "sql"})]
    assert tool("f", input="x", more=1).calls == [ToolCall("f", {"input": "x", "more": 1})]


def test_the_arguments_are_a_copy():
    files = ["a"]
    turn = tool("Read", files=files)
    files.append("b")
    assert turn.calls[0].input == {"files": ["a"]}


def anyhow(function: Any, *arguments: object, **named: object) -> object:
    """Call a function as somebody does who checks no types."""
    return function(*arguments, **named)


@pytest.mark.parametrize(
    ("make", "raised", "words"),
    [
        (lambda: anyhow(say, 5), TypeError, "say.. takes texts and tool.* not int: 5"),
        (lambda: anyhow(say, ["x"]), TypeError, "not list"),
        (lambda: anyhow(say, "x", stop="done"), ValueError, "must be one of end_turn, tool_use"),
        (lambda: say("\ud800"), ValueError, "half a character"),
        (lambda: anyhow(tool, 5), TypeError, "must be a text, not 5"),
        (lambda: tool(""), ValueError, "give the tool's name"),
        (lambda: anyhow(tool, "Read", Path("x")), TypeError, "must be a mapping or a text"),
        (lambda: tool("Read", path=Path("x")), TypeError, "must be JSON: .*PosixPath"),
        (lambda: tool("Read", at=float("nan")), TypeError, "must be JSON"),
        (lambda: tool("Read", path="\udc80"), ValueError, "half a character"),
        (lambda: tool("Read", {"a": 1}, b=2), TypeError, "as keywords or as one mapping"),
        (lambda: tool("Read", input={"a": 1}), TypeError, "is `input` the only argument"),
        (lambda: error(200), ValueError, "must be an HTTP status from 400 to 599"),
        (lambda: anyhow(error, "529"), ValueError, "must be an HTTP status"),
        (lambda: error(True), ValueError, "must be an HTTP status"),
        (lambda: anyhow(error, 529, 5), TypeError, "must be a text, not 5"),
        (lambda: error(429, retry_after=-1), ValueError, "must be seconds"),
        (lambda: delay(-1), ValueError, "must be seconds, 0 or more"),
        (lambda: delay(float("inf")), ValueError, "must be seconds"),
        (lambda: anyhow(delay, "1"), ValueError, "must be seconds"),
        (lambda: script_of("hello"), TypeError, "value 1 of the script is 'hello'"),
        (lambda: script_of(say("x"), None), TypeError, "value 2 of the script is None"),
        (lambda: script_of([]), TypeError, "value 1 of the script is ..:"),
        (lambda: script_of([say("x"), error(529)]), TypeError, "value 1 of the script"),
        (lambda: script_of(say("x"), delay(1)), ValueError, "ends with delay.1., which waits"),
        (lambda: script_of(say("x"), match=""), ValueError, "would match every request"),
        (lambda: script_of(say("x"), match=5), TypeError, "takes a text, not 5"),
    ],
)
def test_what_is_wrong_is_said_where_it_is_written(make, raised, words):
    with pytest.raises(raised, match=words):
        make()


def test_several_calls_in_a_list_are_one_turn():
    calls = [tool("A", x=1), tool("B", y=2)]
    (turn,) = script_of(calls).steps
    assert turn == script_of(tuple(calls)).steps[0] == say(*calls)
    assert [call.name for call in say(*calls).calls] == ["A", "B"]


def test_usage_of_calls_in_a_list_is_added_up():
    calls = [say(tool(name), usage=Usage(output_tokens=2)) for name in "AB"]
    (turn,) = script_of([*calls, tool("C")]).steps
    assert isinstance(turn, Turn)
    assert turn.usage == Usage(output_tokens=4)


def test_a_script_crosses_as_json():
    script = script_of(
        say("é", tool("Bash", command="ls"), usage=Usage(input_tokens=1, cache_read_tokens=2)),
        tool("apply_patch", "text"),
        error(529, "overloaded", kind="k", retry_after=1),
        delay(0.5),
        lambda _: say("x"),
        say(stop="refusal"),
        match="subagent",
    )
    assert Script.from_json(json.loads(json.dumps(script.to_json()))) == script


def test_a_callable_crosses_as_its_number():
    asked = []

    def register(function):
        asked.append(function)
        return 40 + len(asked)

    def first(request):
        return say(request.system)

    script = read_script([first, say("x"), first], ask=register)
    assert [step for step in script.steps if isinstance(step, Ask)] == [
        Ask(41, first.__qualname__),
        Ask(42, first.__qualname__),
    ]
    assert asked == [first, first]


@pytest.mark.parametrize("data", [{}, {"say": "x"}, {"parts": "x", "usage": None, "stop": "x"}])
def test_what_no_script_wrote_is_refused(data):
    with pytest.raises(ValueError, match="no step of a script"):
        from_json(data)


def test_an_answer_is_a_turn_or_an_error():
    assert answer_from_json(say("x").to_json()) == say("x")
    assert answer_from_json(error(500).to_json()) == error(500)
    with pytest.raises(ValueError, match=r"no answer: delay\(1\)"):
        answer_from_json(delay(1).to_json())


def test_values_show_themselves_as_they_are_written():
    assert str(say("hi")) == "say('hi')"
    assert str(say()) == "say()"
    assert str(tool("Bash", command="ls", n=1)) == "tool('Bash', command='ls', n=1)"
    assert str(tool("apply_patch", "x")) == "tool('apply_patch', 'x')"
    assert str(say("hi", tool("Bash"))) == "say('hi', tool('Bash'))"
    assert str(error(529, "overloaded")) == "error(529, 'overloaded')"
    assert str(delay(0.5)) == "delay(0.5)"
    assert str(Ask(3)) == "callable 3"
    assert len(str(say("x" * 9000))) < 100


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (lambda _: say("x"), say("x")),
        (lambda _: [tool("A"), tool("B")], say(tool("A"), tool("B"))),
        (lambda _: error(500), error(500)),
        (lambda request: say(request.model), say("m")),
    ],
)
def test_a_callable_answers_with_what_a_script_may_hold(function, answer):
    assert ask(function, REQUEST) == answer


@pytest.mark.parametrize("value", [None, "text", delay(1), [], [delay(1)], 5])
def test_a_callable_that_answers_with_something_else_failed(value):
    with pytest.raises(TurnFailedError, match=r"<lambda> returned .*: it must return say"):
        ask(lambda _: value, REQUEST)


def test_a_callable_that_raises_failed_and_the_words_say_where():
    def careless(request):
        return json.loads(request.system)

    with pytest.raises(
        TurnFailedError, match=r"careless raised JSONDecodeError: Expecting"
    ) as caught:
        ask(careless, REQUEST)
    line = careless.__code__.co_firstlineno + 1
    assert f"({__file__}:{line})" in str(caught.value)


def test_a_callable_may_fail_the_test():
    with pytest.raises(TurnFailedError, match="raised Failed: not so"):
        ask(lambda _: pytest.fail("not so"), REQUEST)


def test_an_interrupt_is_no_failure_of_a_callable():
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(interrupted, REQUEST)
