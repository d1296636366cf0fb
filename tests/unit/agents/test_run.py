"""A run: what its assertions find, and what they say where they find nothing."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_bottle.agents.run import AgentRun
from pytest_bottle.agents.run import Exit
from pytest_bottle.agents.run import ReadRun
from pytest_bottle.agents.run import ToolCall
from pytest_bottle.agents.run import Turn
from pytest_bottle.backends.base import ExecResult
from pytest_bottle.errors import AgentError
from pytest_bottle.matchers import anything
from pytest_bottle.matchers import contains
from pytest_bottle.usage import Usage


def bash(command: str, **fields: Any) -> ToolCall:
    """Make a call of Claude's shell."""
    fields.setdefault("output", "")
    return ToolCall(name="Bash", input={"command": command}, command=command, **fields)


def make_run(*turns: Turn, end: Exit = Exit.COMPLETED, stderr: bytes = b"", **fields: Any):
    """Make a run with these turns."""
    result = ExecResult(
        argv=("claude",), returncode=1, stdout_bytes=b"", stderr_bytes=stderr, duration=2.5
    )
    misses = fields.pop("misses", None)
    usage = fields.pop("usage", None)
    return AgentRun.of(
        ReadRun(exit=end, transcript=turns, **fields),
        agent="reviewer",
        kind="claude",
        prompt="Review app.py",
        result=result,
        usage=usage,
        misses=misses,
    )


RUN = make_run(
    Turn(role="assistant", text="I will look.", tool_calls=(bash("ls", output="app.py"),)),
    Turn(
        role="assistant",
        tool_calls=(
            bash("cat app.py"),
            ToolCall(name="Skill", input={"skill": "sql-audit"}, skill="sql-audit", output="ok"),
        ),
    ),
    Turn(role="assistant", text="Done."),
)


class TestRun:
    """What a run says of itself."""

    def test_calls_and_their_names_are_in_order(self):
        assert RUN.tools_called == ["Bash", "Bash", "Skill"]
        assert [call.command for call in RUN.tool_calls] == ["ls", "cat app.py", None]

    def test_its_repr_is_a_line(self):
        assert repr(RUN) == "<AgentRun reviewer (claude): completed; tools: Bash, Bash, Skill>"
        assert repr(make_run(Turn(role="assistant", tool_calls=(bash("ls"),) * 9))).endswith(
            "tools: Bash, Bash, Bash, Bash, Bash, ...>"
        )

    def test_the_process_is_at_hand(self):
        assert (RUN.returncode, RUN.duration, RUN.stderr) == (1, 2.5, "")

    def test_tokens_counted_outside_replace_the_agents_own(self):
        told, counted = Usage(input_tokens=1), Usage(input_tokens=2)
        read = ReadRun(exit=Exit.COMPLETED, usage=told)
        arguments = {"agent": "a", "kind": "claude", "prompt": "t", "result": RUN.result}
        assert AgentRun.of(read, **arguments).usage == told
        assert AgentRun.of(read, usage=counted, **arguments).usage == counted

    def test_completing_is_success_whatever_the_return_code(self):
        assert RUN.success
        assert RUN.check() is RUN

    @pytest.mark.parametrize("end", [end for end in Exit if end is not Exit.COMPLETED])
    def test_every_other_end_is_none(self, end):
        run = make_run(end=end)
        assert not run.success
        with pytest.raises(AgentError, match=f"'reviewer' ended with {end} "):
            run.check()

    def test_the_error_has_the_end_of_the_transcript(self):
        run = make_run(
            *[Turn(role="assistant", text=f"step {number}") for number in range(8)],
            end=Exit.API_ERROR,
            api_error=(529, "Overloaded"),
            stderr=b"\x1b[31mred\n",
        )
        with pytest.raises(AgentError) as caught:
            run.check()
        assert str(caught.value).splitlines() == [
            "agent 'reviewer' ended with api_error (return code 1)",
            "the model's answer: 529 Overloaded",
            "  task:",
            "    Review app.py",
            "  ... 3 turns before",
            *[
                line
                for number in range(3, 8)
                for line in (f"  turn {number}, assistant:", f"    step {number}")
            ],
            "  stderr:",
            r"    \x1b[31mred",
        ]


class TestCalled:
    """`run.called(...)` finds calls by tool and input."""

    @pytest.mark.parametrize(
        ("name", "inputs", "count"),
        [
            ("Bash", {}, 2),
            ("Bash", {"command": "ls"}, 1),
            ("Bash", {"command": contains("app")}, 1),
            ("Bash", {"command": anything}, 2),
            ("Bash", {"command": "l"}, 0),
            ("Bash", {"path": anything}, 0),
            ("bash", {}, 0),
            ("Read", {}, 0),
        ],
    )
    def test_it_counts(self, name, inputs, count):
        found = RUN.called(name, **inputs)
        assert (found.count, len(found), bool(found)) == (count, count, count > 0)

    def test_it_gives_the_calls(self):
        found = RUN.called("Bash", command=contains("app"))
        assert [call.command for call in found] == ["cat app.py"]
        assert found[0].command == "cat app.py"

    def test_a_call_that_is_not_there_cannot_be_had(self):
        with pytest.raises(LookupError, match="no call of Read"):
            RUN.called("Read")[0]

    def test_its_repr_says_what_was_found(self):
        assert repr(RUN.called("Bash")) == "<call of Bash(): Bash(command='ls'), and 1 more>"

    def test_its_repr_says_what_was_not_found_and_what_was_nearest(self):
        assert repr(RUN.called("Bash", command=contains("pytest"))) == (
            "<no call of Bash(command=contains('pytest')); "
            "nearest, in turn 1: Bash(command='cat app.py')>"
        )

    def test_its_repr_fits_into_what_pytest_shows(self):
        run = make_run(Turn(role="assistant", tool_calls=(bash("x" * 5_000),)))
        found = run.called("Bash", command=contains("y" * 5_000), other=anything)
        assert len(repr(found)) <= 200

    def test_the_nearest_is_the_one_with_most_inputs_that_fit(self):
        calls = [
            ToolCall(name="Edit", input={"path": path, "text": "b"}) for path in ("a", "b", "c")
        ]
        run = make_run(Turn(role="assistant", tool_calls=(*calls, bash("Edit"))))
        assert "nearest, in turn 0: Edit(path='b', text='b')" in repr(
            run.called("Edit", path="b", text="x")
        )

    def test_an_agent_that_called_nothing_is_said_to(self):
        run = make_run(Turn(role="assistant", text="No need."))
        found = run.called("Bash")
        assert repr(found) == "<no call of Bash(); the agent called no tool>"
        assert found.explanation.splitlines() == [
            "no call of Bash(); the agent called no tool",
            "the last words:",
            "  turn 0, assistant:",
            "    No need.",
        ]

    def test_a_run_without_a_turn_has_an_explanation_too(self):
        assert make_run().called("Bash").explanation.startswith("no call of Bash()")

    def test_the_explanation_has_all_calls_and_the_turns_around_the_nearest(self):
        assert RUN.called("Bash", command="lx").explanation.splitlines() == [
            "no call of Bash(command='lx'); nearest, in turn 0: Bash(command='ls')",
            "all calls, in order:",
            "  turn 0: Bash(command='ls')",
            "  turn 1: Bash(command='cat app.py')",
            "  turn 1: Skill(skill='sql-audit')",
            "around the nearest:",
            "  turn 0, assistant:",
            "    I will look.",
            "    Bash(command='ls')",
            "      answered:",
            "        app.py",
            "  turn 1, assistant:",
            "    Bash(command='cat app.py')",
            "      answered:",
            "    Skill(skill='sql-audit')",
            "      answered:",
            "        ok",
        ]

    def test_a_guests_text_cannot_command_a_terminal(self):
        call = ToolCall(name="B\x1b[2J", input={"a\r": "\x9b1m"}, output="\x1b]0;title\x07")
        run = make_run(Turn(role="assistant", text="\x1b[31m", tool_calls=(call,)))
        text = repr(run.called("Read")) + run.called("Read").explanation
        assert all(char.isprintable() or char == "\n" for char in text)

    def test_many_calls_are_compared_in_bounded_time(self):
        run = make_run(Turn(role="assistant", tool_calls=(bash("x" * 5_000),) * 50_000))
        assert not run.ran("y" * 5_000)


class TestMisses:
    """What was looked for in vain goes to the failure report."""

    def test_only_once_somebody_asks(self):
        misses: list[str] = []
        run = make_run(misses=misses)
        found = run.called("Bash")
        assert misses == []
        assert not found
        assert not run.called("Bash")
        assert misses == [found.explanation]

    def test_a_hit_is_none(self):
        run = make_run(*RUN.transcript)
        assert run.called("Bash")
        assert run.misses == []

    def test_runs_do_not_share_theirs(self):
        assert not make_run().called("Bash")
        assert make_run().misses == []


class TestRan:
    """`run.ran(...)` finds shell commands, whatever the agent calls its shell."""

    def test_it_is_the_same_for_all_agents(self):
        codex = ToolCall(name="exec_command", input={"cmd": "pytest -q"}, command="pytest -q")
        for call in (codex, bash("pytest -q")):
            run = make_run(Turn(role="assistant", tool_calls=(call,)))
            assert run.ran("pytest -q")
            assert run.ran(contains("pytest"))
            assert not run.ran("pytest")

    def test_the_nearest_command_is_shown(self):
        assert repr(make_run(*RUN.transcript[2:]).ran("cat")) == (
            "<no shell command 'cat'; the agent called no tool>"
        )
        assert repr(RUN.ran("cat main.py")) == (
            "<no shell command 'cat main.py'; nearest, in turn 1: Bash(command='cat app.py')>"
        )


class TestUsedSkill:
    """`run.used_skill(...)` finds the calls that loaded a skill."""

    def test_it_finds_its_name(self):
        assert RUN.used_skill("sql-audit").count == 1

    def test_another_is_not_it(self):
        found = RUN.used_skill("audit")
        assert not found
        assert repr(found) == (
            "<no use of the skill 'audit'; nearest, in turn 1: Skill(skill='sql-audit')>"
        )

    def test_where_none_was_used_none_is_near(self):
        run = make_run(Turn(role="assistant", tool_calls=(bash("ls"),)))
        assert repr(run.used_skill("x")) == "<no use of the skill 'x'; the agent made none>"
