"""The page of a test: all that happened, nothing that runs, no secret."""

from __future__ import annotations

import re

import pytest

from pytest_bottle.agents.run import AgentRun
from pytest_bottle.agents.run import Denial
from pytest_bottle.agents.run import Exit
from pytest_bottle.agents.run import ReadRun
from pytest_bottle.agents.run import ToolCall
from pytest_bottle.agents.run import Turn
from pytest_bottle.backends.base import ExecResult
from pytest_bottle.changes import Diff
from pytest_bottle.changes import FileState
from pytest_bottle.command_log import CommandRecord
from pytest_bottle.gateway.values import Exchange
from pytest_bottle.gateway.values import ModelReply
from pytest_bottle.gateway.values import ModelRequest
from pytest_bottle.transcript.page import OUTPUT_LIMIT
from pytest_bottle.transcript.page import render_page
from pytest_bottle.transcript.story import BottleStory
from pytest_bottle.transcript.story import TestStory
from pytest_bottle.usage import Usage

HOSTILE = "<script>alert('x')</script><img src=http://example.org/x.png>\x1b[2J"


def run_with(*turns: Turn, prompt: str = "Mend it.") -> AgentRun:
    read = ReadRun(
        exit=Exit.COMPLETED,
        transcript=turns,
        usage=Usage(input_tokens=11, output_tokens=7),
        permission_denials=(Denial(tool="Bash", input={"command": "rm -rf /"}),),
    )
    result = ExecResult(
        argv=("claude",), returncode=0, stdout_bytes=b"", stderr_bytes=b"", duration=1.5
    )
    return AgentRun.of(
        read, agent="developer", kind="claude", prompt=prompt, result=result, cost=0.25
    )


def exchange(problem: str = "") -> Exchange:
    request = ModelRequest(
        number=0,
        api="messages",
        body={},
        system="",
        messages=[],
        tools=[],
        model="model-x",
        stream=True,
        turn=0,
    )
    return Exchange(
        request=request,
        status=400 if problem else 200,
        origin="script",
        reply=ModelReply(usage=Usage(input_tokens=11, output_tokens=7)),
        cost=0.25,
        started=0.0,
        duration=0.125,
        problem=problem,
    )


def story(
    *runs: AgentRun, exchanges: tuple[Exchange, ...] = (), diff: Diff | None = None
) -> TestStory:
    bottle = BottleStory(
        name="bottle-1",
        backend="docker",
        wall="container",
        agent="developer (claude)",
        prompt="You mend things.",
        runs=runs,
        exchanges=exchanges,
        commands=[CommandRecord(0.0, 0.5, ("ls", "-l"), "2", "out", "no such file")],
        diff=diff,
        diff_problem="",
    )
    return TestStory(
        nodeid="test_it.py::test_it",
        outcome="failed",
        failure="assert False",
        misses=["app.py was not touched"],
        bottles=[bottle],
    )


def test_all_that_happened_is_on_the_page():
    turn = Turn(
        role="assistant",
        text="Let me see.",
        thinking="hm",
        tool_calls=(ToolCall(name="Bash", input={"command": "ls"}, output="app.py"),),
    )
    diff = Diff({"app.py": FileState("a", "old\n")}, {"app.py": FileState("b", "new\n")})

    page = render_page(story(run_with(turn), exchanges=(exchange(),), diff=diff), str)

    for shown in (
        *("test_it.py::test_it", "assert False", "app.py was not touched", "docker (container)"),
        *("You mend things.", "Mend it.", "Let me see.", "Bash", "11 tokens in, 7 out", "$0.2500"),
        *("model-x", "0.125", "-old", "+new", "modified", "ls -l", "no such file", "rm -rf /"),
    ):
        assert shown in page


def test_what_a_guest_wrote_stays_text():
    call = ToolCall(name=HOSTILE, input={HOSTILE: HOSTILE}, output=HOSTILE, error=True)
    diff = Diff({}, {HOSTILE: FileState("a", HOSTILE)})
    run = run_with(Turn(role="assistant", text=HOSTILE, tool_calls=(call,)), prompt=HOSTILE)

    page = render_page(story(run, exchanges=(exchange(HOSTILE),), diff=diff), str)

    assert "<script" not in page
    assert "<img" not in page
    assert "\x1b" not in page


def test_it_needs_nothing_but_itself():
    page = render_page(story(run_with()), str)

    assert "default-src 'none'" in page
    assert not re.search(r"\b(?:src|href)=|url\(|@import", page)


def test_secrets_are_taken_out_of_all_that_is_shown():
    call = ToolCall(name="Bash", input={"command": "echo hunter2"}, output="hunter2")
    run = run_with(Turn(role="assistant", text="hunter2", tool_calls=(call,)), prompt="hunter2")

    page = render_page(
        story(run, exchanges=(exchange("hunter2"),)),
        lambda text: text.replace("hunter2", "[secret]"),
    )

    assert "hunter2" not in page
    assert "[secret]" in page


@pytest.mark.parametrize("length", [OUTPUT_LIMIT, OUTPUT_LIMIT + 1])
def test_only_very_long_outputs_lose_their_middle(length):
    call = ToolCall(name="Bash", input={}, output="x" * length)

    page = render_page(story(run_with(Turn(role="assistant", tool_calls=(call,)))), str)

    assert ("characters more" in page) == (length > OUTPUT_LIMIT)
