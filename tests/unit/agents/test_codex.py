"""Codex: how it is started and configured, and what its stream and its record tell."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle.agents.base import ModelEndpoint
from pytest_bottle.agents.codex import CodexAgent
from pytest_bottle.agents.run import Exit
from pytest_bottle.agents.run import ReadRun
from pytest_bottle.errors import MarkerError
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from pytest_bottle.plan import AgentPlan

CODEX = CodexAgent()
ENDPOINT = ModelEndpoint(url="http://127.0.0.1:4000", token="placeholder")
SESSION = "01a20944-d679-70e2-b4b4-a4b8da21a751"


class TestStart:
    """It runs without a terminal and asks nobody."""

    BASE = ("codex", "exec", "--json", "--skip-git-repo-check", "--profile", "bottle")
    FREE = "--dangerously-bypass-approvals-and-sandbox"

    def test_nothing_is_denied_to_it_and_the_task_comes_by_standard_input(self, plan):
        assert CODEX.argv(plan("codex"), "Review app.py") == (*self.BASE, self.FREE, "-")
        assert CODEX.stdin(plan("codex"), "--help me") == b"--help me"

    def test_every_option(self, plan):
        argv = CODEX.argv(plan("codex", "--enable", "x", model="gpt"), "t", resume=SESSION)
        assert argv == (
            *self.BASE,
            self.FREE,
            "--model",
            "gpt",
            "--enable",
            "x",
            "resume",
            SESSION,
            "-",
        )

    @pytest.mark.parametrize(
        "policy",
        [("--sandbox", "read-only"), ("-s", "read-only"), ("-c", 'sandbox_mode="read-only"')],
        ids=" ".join,
    )
    def test_a_policy_in_its_arguments_takes_the_place_of_freedom(self, plan, policy):
        assert CODEX.argv(plan("codex", *policy), "t") == (*self.BASE, *policy, "-")

    def test_it_knows_no_bound_of_turns(self, plan):
        with pytest.raises(MarkerError) as caught:
            CODEX.argv(plan("codex"), "t", max_turns=3)
        assert str(caught.value) == (
            "agent 'a' is of kind 'codex', which takes no max_turns=. "
            "Bound it by timeout= or by a budget."
        )

    def test_what_is_no_session_is_not_resumed(self, plan):
        with pytest.raises(MarkerError, match="'--last' is no session of Codex"):
            CODEX.argv(plan("codex"), "t", resume="--last")

    def test_its_token_is_in_the_environment(self, plan):
        assert CODEX.env(plan("codex", env=(("A", "1"),)), ENDPOINT) == {
            "BOTTLE_MODEL_TOKEN": "placeholder",
            "A": "1",
        }

    def test_its_skills_have_their_own_place(self):
        assert CODEX.skills_dir == ".codex/skills"

    def test_it_needs_its_program_and_a_model(self, plan):
        assert CODEX.executable(plan("codex")) == "codex"
        assert CODEX.uses_model(plan("codex"))


class TestProfile:
    """A file beside the user's own configuration has the prompt and the model's place."""

    def profile(
        self, plan: AgentPlan, endpoint: ModelEndpoint | None = ENDPOINT
    ) -> tuple[str, dict[str, Any]]:
        """Return where the profile is, and what is in it."""
        ((path, text),) = CODEX.files(plan, endpoint, "/home/node").items()
        return path, tomllib.loads(text)

    def test_it_is_read_after_the_users_own(self, plan):
        path, _ = self.profile(plan("codex"))
        assert path == "/home/node/.codex/bottle.config.toml"

    def test_it_leads_to_the_model_and_is_quiet(self, plan):
        _, profile = self.profile(plan("codex"))
        assert profile == {
            "model_provider": "bottle",
            "check_for_update_on_startup": False,
            "analytics": {"enabled": False},
            "features": {"plugins": False, "apps": False},
            "model_providers": {
                "bottle": {
                    "name": "bottle",
                    "base_url": "http://127.0.0.1:4000/v1",
                    "env_key": "BOTTLE_MODEL_TOKEN",
                    "wire_api": "responses",
                }
            },
        }

    @pytest.mark.parametrize("prompt", ["Be terse.", 'a "b"\n\\c\t\x7f\x01 é', "'''\n[x]\ny = 1"])
    def test_it_has_the_prompt_as_it_is(self, plan, prompt):
        _, profile = self.profile(plan("codex", prompt=prompt))
        assert profile["developer_instructions"] == prompt

    def test_without_a_door_the_users_own_provider_stays(self, plan):
        _, profile = self.profile(plan("codex", prompt="Be terse."), endpoint=None)
        assert "model_provider" not in profile
        assert profile["developer_instructions"] == "Be terse."


class TestEnd:
    """What ended a run is told apart."""

    @pytest.mark.parametrize(
        ("name", "returncode", "end"),
        [
            ("text", 0, Exit.COMPLETED),
            ("tool-fails", 0, Exit.COMPLETED),
            ("deny-rule", 0, Exit.COMPLETED),
            ("api-529", 1, Exit.API_ERROR),
            ("api-401", 1, Exit.API_ERROR),
            ("api-400", 1, Exit.API_ERROR),
            ("api-late", 1, Exit.API_ERROR),
            ("no-key", 1, Exit.API_ERROR),
            ("killed", 137, Exit.CRASHED),
            ("killed", None, Exit.KILLED),
        ],
    )
    def test_each_has_its_own(self, read, name, returncode, end):
        assert read(f"codex-{name}", returncode).exit is end

    @pytest.mark.parametrize(
        ("name", "status", "message"),
        [
            ("api-529", 529, "unexpected status 529"),
            ("api-401", 401, "unexpected status 401 Unauthorized: invalid key"),
            ("api-400", None, "prompt is too long"),
            ("no-key", None, "Missing environment variable"),
        ],
    )
    def test_an_api_error_has_its_message_and_a_status_where_codex_tells_it(
        self, read, name, status, message
    ):
        run = read(f"codex-{name}", 1)
        assert run.api_error is not None
        assert run.api_error[0] == status
        assert run.api_error[1].startswith(message)

    def test_a_configuration_that_it_cannot_read_is_a_crash(self):
        run = CODEX.read(b"", b"Error loading config.toml:\nduplicate key\n", 1)
        assert (run.exit, run.text) == (
            Exit.CRASHED,
            "Error loading config.toml:\nduplicate key",
        )


class TestStream:
    """What the stream tells by itself, as after a kill."""

    def test_words_and_thoughts(self, read):
        run = read("codex-text")
        (turn,) = run.transcript
        assert (turn.thinking, turn.text, run.text) == ("Let me think.", "Hello.", "Hello.")

    def test_calls_and_their_outputs(self, read):
        calls = [call for turn in read("codex-tools").transcript for call in turn.tool_calls]
        assert [(call.name, call.command, call.output) for call in calls] == [
            ("exec_command", "echo one; echo two > made.txt", "one\n"),
            ("exec_command", "cat made.txt", "two\n"),
            ("exec_command", "ls", "made.txt\n"),
            ("apply_patch", None, ""),
        ]
        assert calls[3].input == {"changes": [{"path": "/workspace/new.txt", "kind": "add"}]}

    def test_a_failed_command_is_an_error(self, read):
        (call,) = read("codex-tool-fails").transcript[0].tool_calls
        assert (call.error, call.output) == (True, "out\nerr\n")

    def test_a_stream_that_was_cut_tells_what_there_was(self, read):
        run = read("codex-killed", None)
        assert [turn.text for turn in run.transcript] == ["", "half"]
        assert run.text == "half"

    def test_an_unanswered_call_has_no_output(self, stream):
        cut = stream("codex-tools").partition(b'"output":"one')[0].splitlines()[:4]
        run = CODEX.read(b"\n".join(cut), b"", None)
        (call,) = run.transcript[0].tool_calls
        assert (call.command, call.output) == ("echo one; echo two > made.txt", None)

    def test_session_and_tokens(self, read):
        run = read("codex-resume-2")
        assert run.session == SESSION
        assert run.usage == Usage(input_tokens=121, output_tokens=40, cache_read_tokens=80)


class TestRecord:
    """What Codex keeps of a session in its home has every call as the model made it."""

    def test_it_is_printed_by_its_session(self):
        argv = CODEX.record_argv(ReadRun(exit=Exit.COMPLETED, session=SESSION))
        assert argv is not None
        assert argv[-1] == SESSION

    @pytest.mark.parametrize("session", [None, "", "../../*", "x; reboot"])
    def test_what_is_no_session_is_not_looked_for(self, session):
        assert CODEX.record_argv(ReadRun(exit=Exit.COMPLETED, session=session)) is None

    def test_turns_and_calls_are_the_models(self, read):
        run = read("codex-tools", record=True)
        assert [[call.name for call in turn.tool_calls] for turn in run.transcript] == [
            ["exec_command"],
            ["exec_command", "exec_command"],
            ["apply_patch"],
            [],
        ]
        echo, cat, ls, patch = (call for turn in run.transcript for call in turn.tool_calls)
        assert (echo.input, echo.output) == ({"cmd": "echo one; echo two > made.txt"}, "one\n")
        assert (cat.output, ls.output) == ("two\n", "made.txt\n")
        assert patch.input["input"].startswith("*** Begin Patch\n*** Add File: new.txt")
        assert not patch.error

    def test_it_has_the_patch_that_did_not_apply(self, read):
        run = read("codex-tool-fails", record=True)
        bash, patch = (turn.tool_calls[0] for turn in run.transcript[:2])
        assert (bash.error, bash.output) == (True, "out\nerr\n")
        assert patch.error
        assert patch.output.startswith("apply_patch verification failed")
        assert not patch.denied

    def test_it_has_the_command_that_a_rule_forbids(self, read):
        run = read("codex-deny-rule", record=True)
        (denial,) = run.permission_denials
        assert (denial.tool, denial.input) == ("exec_command", {"cmd": "touch made.txt"})
        assert denial.reason.endswith("rejected: policy forbids commands starting with `touch`")
        assert run.transcript[0].tool_calls[0].denied
        assert read("codex-deny-rule").permission_denials == ()

    def test_it_has_the_command_that_codexs_own_sandbox_stopped(self, read):
        (call,) = read("codex-readonly", record=True).transcript[0].tool_calls
        assert (call.error, call.denied) == (True, False)
        assert "Read-only file system" in call.output

    def test_a_skill_is_used_where_its_file_was_read(self, read):
        for record in (False, True):
            (call,) = read("codex-skill", record=record).transcript[0].tool_calls
            assert call.skill == "sql-audit"

    def test_only_the_last_task_of_a_session_counts(self, read):
        run = read("codex-resume-2", record=True)
        assert [turn.text for turn in run.transcript] == ["Second."]
        assert run.usage == Usage(input_tokens=61, output_tokens=20, cache_read_tokens=40)

    def test_model_and_version_are_known(self, read):
        run = read("codex-text", record=True)
        assert (run.model, run.version) == ("gpt-6.1-sol", "0.169.0")

    def test_a_record_that_was_cut_tells_what_there_was(self, stream):
        record = stream("codex-killed.record")
        run = CODEX.read(stream("codex-killed"), b"", None, record[: len(record) * 3 // 4])
        assert run.exit is Exit.KILLED
        assert run.transcript[0].tool_calls[0].command == "echo one"
