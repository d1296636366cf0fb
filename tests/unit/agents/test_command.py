"""Any command line is an agent; placeholders say what goes where."""

from __future__ import annotations

import pytest

from pytest_bottle.agents.base import Agent
from pytest_bottle.agents.base import ModelEndpoint
from pytest_bottle.agents.command import CommandAgent
from pytest_bottle.agents.registry import BUILTIN
from pytest_bottle.agents.run import Exit
from pytest_bottle.errors import ManifestError
from pytest_bottle.errors import MarkerError

COMMAND = CommandAgent()
ENDPOINT = ModelEndpoint(url="http://127.0.0.1:4000", token="placeholder")


def test_claude_codex_and_command_are_built_in():
    assert {kind: agent.kind for kind, agent in BUILTIN.items()} == {
        "claude": "claude",
        "codex": "codex",
        "command": "command",
    }


class TestStart:
    """The agent's args are its whole command line."""

    def test_the_task_is_the_last_argument(self, plan):
        argv = COMMAND.argv(plan("command", "my-agent", "--fast"), "do it")
        assert argv == ("my-agent", "--fast", "do it")
        assert COMMAND.stdin(plan("command", "my-agent"), "do it") is None

    def test_placeholders_are_filled(self, plan):
        args = ("my-agent", "--task={prompt}", "--system", "{prompt_file}", "{model}!")
        argv = COMMAND.argv(plan("command", *args, model="m"), "do it", prompt_path="/p.txt")
        assert argv == ("my-agent", "--task=do it", "--system", "/p.txt", "m!")

    def test_a_placeholder_in_the_task_is_not_filled(self, plan):
        argv = COMMAND.argv(plan("command", "x", "{prompt}", model="m"), "print {model} {other}")
        assert argv == ("x", "print {model} {other}")

    def test_other_braces_are_left_alone(self, plan):
        assert COMMAND.argv(plan("command", "jq", "{a: .b}"), "t") == ("jq", "{a: .b}", "t")

    @pytest.mark.parametrize(
        ("placeholder", "key"), [("{prompt_file}", "prompt"), ("{model}", "model")]
    )
    def test_a_placeholder_for_what_the_agent_does_not_have_is_an_error(
        self, plan, placeholder, key
    ):
        with pytest.raises(ManifestError) as caught:
            COMMAND.argv(plan("command", "x", placeholder), "t")
        assert str(caught.value) == (
            f"manifest: agents.a.{key}: is needed and not set. "
            f"Set it, or take {placeholder} out of args."
        )

    def test_without_args_there_is_no_command(self, plan):
        with pytest.raises(ManifestError, match=r"agents\.a\.args: is needed and not set\."):
            COMMAND.argv(plan("command"), "t")

    @pytest.mark.parametrize("option", [{"max_turns": 1}, {"resume": "x"}])
    def test_what_only_an_agent_can_do_is_refused_and_not_ignored(self, plan, option):
        (name,) = option
        with pytest.raises(MarkerError, match=f"of kind 'command', which takes no {name}="):
            COMMAND.argv(plan("command", "x"), "t", **option)

    def test_a_task_that_no_argument_can_hold_is_refused(self, plan):
        assert COMMAND.argv(plan("command", "x"), "t" * 131_071)[1:] == ("t" * 131_071,)
        with pytest.raises(MarkerError, match="too long for its command line"):
            COMMAND.argv(plan("command", "x"), "t" * 131_072)

    def test_its_program_is_the_first_argument(self, plan):
        assert COMMAND.executable(plan("command", "x", "y")) == "x"


class TestModel:
    """It has a model only where its environment asks for the model's place."""

    def test_its_environment_is_the_plans(self, plan):
        agent = plan("command", env=(("A", "{prompt}"),))
        assert COMMAND.env(agent, ENDPOINT) == {"A": "{prompt}"}
        assert not COMMAND.uses_model(agent)

    def test_the_models_place_is_filled_in(self, plan):
        env = (("OPENAI_BASE_URL", "{model_url}/v1"), ("OPENAI_API_KEY", "{model_token}"))
        agent = plan("command", env=env)
        assert COMMAND.uses_model(agent)
        assert COMMAND.env(agent, ENDPOINT) == {
            "OPENAI_BASE_URL": "http://127.0.0.1:4000/v1",
            "OPENAI_API_KEY": "placeholder",
        }


class TestRead:
    """What it writes to standard output is its answer, and its return code is its end."""

    @pytest.mark.parametrize(
        ("returncode", "end"), [(0, Exit.COMPLETED), (3, Exit.CRASHED), (None, Exit.KILLED)]
    )
    def test_the_return_code_is_its_end(self, returncode, end):
        assert COMMAND.read(b"found\n", b"", returncode).exit is end

    def test_its_output_is_its_answer(self):
        run = COMMAND.read(b"caf\xc3\xa9 \xff\n", b"noise", 0)
        assert run.text == "café \ufffd\n"
        assert [(turn.role, turn.text) for turn in run.transcript] == [("assistant", run.text)]

    def test_silence_is_no_turn(self):
        assert COMMAND.read(b"", b"", 0).transcript == ()


class Minimal(Agent):
    """The least that a kind of agent has to say."""

    kind = "minimal"

    def executable(self, plan):  # noqa: ARG002
        return "/bin/true"

    def argv(self, plan, prompt, *, prompt_path=None, max_turns=None, resume=None):  # noqa: ARG002
        return ("/bin/true", prompt)


def test_a_kind_of_ones_own_has_sensible_defaults(plan):
    agent = plan("minimal", env=(("A", "1"),))
    mine = Minimal()
    assert mine.env(agent, ENDPOINT, root=True) == {"A": "1"}
    assert mine.files(agent, ENDPOINT, "/root") == {}
    assert mine.stdin(agent, "t") is None
    assert not mine.uses_model(agent)
    assert mine.skills_dir == ".claude/skills"
    assert mine.read(b"yes", b"", 0).text == "yes"
    assert mine.record_argv(mine.read(b"yes", b"", 0)) is None
