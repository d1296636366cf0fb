"""Agents: which command line and environment each kind makes of a task."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_bottle.agents.base import Agent
from pytest_bottle.agents.claude import exec_claude_argv
from pytest_bottle.agents.registry import BUILTIN
from pytest_bottle.errors import ManifestError
from pytest_bottle.errors import MarkerError
from pytest_bottle.plan import AgentPlan

CLAUDE = BUILTIN["claude"]
COMMAND = BUILTIN["command"]


def plan(kind: str, *args: str, **fields: Any) -> AgentPlan:
    """Make an agent's plan."""
    return AgentPlan(name="a", kind=kind, args=args, **fields)


def test_claude_and_command_are_built_in():
    assert {kind: agent.kind for kind, agent in BUILTIN.items()} == {
        "claude": "claude",
        "command": "command",
    }


@pytest.mark.parametrize("agent", BUILTIN.values(), ids=BUILTIN)
def test_every_built_in_agent_is_one(agent):
    assert isinstance(agent, Agent)


class TestClaude:
    """Claude Code runs without a terminal and asks nobody."""

    BASE = (
        "claude",
        "-p",
        "Review app.py",
        "--output-format",
        "stream-json",
        "--verbose",
        "--dangerously-skip-permissions",
    )

    def test_a_task_alone(self):
        assert CLAUDE.argv(plan("claude"), "Review app.py") == self.BASE

    def test_every_option(self):
        argv = CLAUDE.argv(
            plan("claude", "--debug", model="opus"),
            "Review app.py",
            prompt_path="/home/node/.claude-bottle-prompt.txt",
            max_turns=3,
            resume="session-1",
        )
        assert argv == (
            *self.BASE,
            "--append-system-prompt-file",
            "/home/node/.claude-bottle-prompt.txt",
            "--model",
            "opus",
            "--max-turns",
            "3",
            "--resume",
            "session-1",
            "--debug",
        )

    def test_a_task_that_looks_like_an_option_is_not_one(self):
        assert CLAUDE.argv(plan("claude"), "--help me")[2] == " --help me"

    def test_it_is_quiet_and_knows_that_it_is_in_a_sandbox(self):
        assert CLAUDE.env(plan("claude")) == {
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "IS_SANDBOX": "1",
        }

    def test_the_plans_variables_win(self):
        env = CLAUDE.env(plan("claude", env=(("IS_SANDBOX", "0"), ("A", "1"))))
        assert (env["IS_SANDBOX"], env["A"]) == ("0", "1")

    def test_its_program_is_claude(self):
        assert CLAUDE.executable(plan("claude")) == "claude"

    def test_a_callers_own_arguments_follow_the_prompt_file(self):
        assert exec_claude_argv(["--version"], prompt_path=None) == ("claude", "--version")
        assert exec_claude_argv(["-p", "x"], prompt_path="/p.txt") == (
            "claude",
            "--append-system-prompt-file",
            "/p.txt",
            "-p",
            "x",
        )


class TestCommand:
    """Any command line is an agent; placeholders say what goes where."""

    def test_the_task_is_the_last_argument(self):
        assert COMMAND.argv(plan("command", "my-agent", "--fast"), "do it") == (
            "my-agent",
            "--fast",
            "do it",
        )

    def test_placeholders_are_filled(self):
        argv = COMMAND.argv(
            plan(
                "command",
                "my-agent",
                "--task={prompt}",
                "--system",
                "{prompt_file}",
                "{model}!",
                model="m",
            ),
            "do it",
            prompt_path="/p.txt",
        )
        assert argv == ("my-agent", "--task=do it", "--system", "/p.txt", "m!")

    def test_a_placeholder_in_the_task_is_not_filled(self):
        argv = COMMAND.argv(plan("command", "x", "{prompt}", model="m"), "print {model} {other}")
        assert argv == ("x", "print {model} {other}")

    def test_other_braces_are_left_alone(self):
        assert COMMAND.argv(plan("command", "jq", "{a: .b}"), "t") == ("jq", "{a: .b}", "t")

    @pytest.mark.parametrize(
        ("placeholder", "key"), [("{prompt_file}", "prompt"), ("{model}",) * 2]
    )
    def test_a_placeholder_for_what_the_agent_does_not_have_is_an_error(self, placeholder, key):
        with pytest.raises(ManifestError) as caught:
            COMMAND.argv(plan("command", "x", placeholder), "t")
        assert str(caught.value) == (
            f"manifest: agents.a.{key.strip('{}')}: is needed and not set. "
            f"Set it, or take {placeholder} out of args."
        )

    def test_without_args_there_is_no_command(self):
        with pytest.raises(ManifestError, match=r"agents\.a\.args: is needed and not set\."):
            COMMAND.argv(plan("command"), "t")

    @pytest.mark.parametrize("option", [{"max_turns": 1}, {"resume": "x"}])
    def test_what_only_an_agent_can_do_is_refused_and_not_ignored(self, option):
        (name,) = option
        with pytest.raises(MarkerError, match=f"of kind 'command', which takes no {name}="):
            COMMAND.argv(plan("command", "x"), "t", **option)

    def test_its_program_is_the_first_argument(self):
        assert COMMAND.executable(plan("command", "x", "y")) == "x"

    def test_its_environment_is_the_plans(self):
        assert COMMAND.env(plan("command", env=(("A", "1"),))) == {"A": "1"}
