"""Claude Code: how it is started, and what its stream of events tells."""

from __future__ import annotations

import re

import pytest

from pytest_bottle.agents.base import ModelEndpoint
from pytest_bottle.agents.claude import ClaudeAgent
from pytest_bottle.agents.claude import exec_claude_argv
from pytest_bottle.agents.run import Exit
from pytest_bottle.usage import Usage

API_529 = "claude-api-529"
CLAUDE = ClaudeAgent()
ENDPOINT = ModelEndpoint(url="http://127.0.0.1:4000", token="placeholder")


class TestStart:
    """It runs without a terminal and asks nobody."""

    BASE = ("claude", "-p", "--output-format", "stream-json", "--verbose")
    FREE = "--dangerously-skip-permissions"

    def test_no_tool_is_denied_to_it(self, plan):
        assert CLAUDE.argv(plan("claude"), "Review app.py") == (*self.BASE, self.FREE)

    def test_every_option(self, plan):
        argv = CLAUDE.argv(
            plan("claude", "--debug", model="opus"),
            "Review app.py",
            prompt_path="/home/node/.claude-bottle-prompt.txt",
            max_turns=3,
            resume="session-1",
        )
        assert argv == (
            *self.BASE,
            self.FREE,
            "--append-system-prompt-file",
            "/home/node/.claude-bottle-prompt.txt",
            "--model",
            "opus",
            "--max-turns",
            "3",
            "--resume=session-1",
            "--debug",
        )

    @pytest.mark.parametrize(
        "policy",
        [
            ("--permission-mode", "default"),
            ("--permission-mode=plan",),
            ("--allowedTools", "Read", "Bash(git *)"),
        ],
        ids=" ".join,
    )
    def test_a_policy_in_its_arguments_takes_the_place_of_freedom(self, plan, policy):
        assert CLAUDE.argv(plan("claude", *policy), "t") == (*self.BASE, *policy)

    def test_what_is_forbidden_is_so_to_the_free_as_well(self, plan):
        argv = CLAUDE.argv(plan("claude", "--disallowedTools", "WebFetch"), "t")
        assert argv[-3:] == (self.FREE, "--disallowedTools", "WebFetch")

    @pytest.mark.parametrize("task", ["Review app.py", "--help me", "é" * 2**19, "a\nb\n"])
    def test_the_task_comes_by_standard_input_as_it_is(self, plan, task):
        assert CLAUDE.stdin(plan("claude"), task).decode() == task
        assert task not in CLAUDE.argv(plan("claude"), task)

    def test_it_is_quiet(self, plan):
        assert CLAUDE.env(plan("claude")) == {
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        }

    def test_root_is_told_that_it_is_in_a_sandbox(self, plan):
        assert CLAUDE.env(plan("claude"), root=True)["IS_SANDBOX"] == "1"

    def test_it_is_led_to_its_model(self, plan):
        env = CLAUDE.env(plan("claude"), ENDPOINT)
        assert env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:4000"
        assert env["ANTHROPIC_API_KEY"] == "placeholder"

    def test_the_plans_variables_win(self, plan):
        mine = (("ANTHROPIC_API_KEY", "mine"), ("A", "1"))
        env = CLAUDE.env(plan("claude", env=mine), ENDPOINT)
        assert (env["ANTHROPIC_API_KEY"], env["A"]) == ("mine", "1")

    def test_it_needs_its_program_and_a_model_and_no_file(self, plan):
        assert CLAUDE.executable(plan("claude")) == "claude"
        assert CLAUDE.uses_model(plan("claude"))
        assert CLAUDE.files(plan("claude"), ENDPOINT, "/home/node") == {}

    def test_a_callers_own_arguments_follow_the_prompt_file(self):
        assert exec_claude_argv(["--version"], prompt_path=None) == ("claude", "--version")
        assert exec_claude_argv(["-p", "x"], prompt_path="/p.txt") == (
            "claude",
            "--append-system-prompt-file",
            "/p.txt",
            "-p",
            "x",
        )


class TestEnd:
    """What ended a run is told apart, where the return code is 0 or 1 for all."""

    @pytest.mark.parametrize(
        ("name", "returncode", "end"),
        [
            ("text", 0, Exit.COMPLETED),
            ("tool-fails", 0, Exit.COMPLETED),
            ("denied", 0, Exit.COMPLETED),
            ("resume-2", 0, Exit.COMPLETED),
            ("max-turns", 1, Exit.MAX_TURNS),
            ("api-529", 1, Exit.API_ERROR),
            ("api-401", 1, Exit.API_ERROR),
            ("api-400", 1, Exit.API_ERROR),
            ("api-late", 1, Exit.API_ERROR),
            ("connection-lost", 1, Exit.API_ERROR),
            ("no-key", 1, Exit.API_ERROR),
            ("resume-unknown", 1, Exit.CRASHED),
            ("killed", 137, Exit.CRASHED),
            ("killed", None, Exit.KILLED),
        ],
    )
    def test_each_has_its_own(self, read, name, returncode, end):
        assert read(f"claude-{name}", returncode).exit is end

    @pytest.mark.parametrize(
        ("name", "status", "message"),
        [
            ("api-529", 529, "API Error: 529 Overloaded."),
            ("api-401", 401, "Invalid API key"),
            ("api-400", 400, "Prompt is too long"),
            ("api-late", 500, "API Error: 500 Internal."),
            ("connection-lost", None, "API Error: Connection dropped"),
            ("no-key", None, "Not logged in"),
        ],
    )
    def test_an_api_error_has_status_and_message(self, read, name, status, message):
        run = read(f"claude-{name}", 1)
        assert run.api_error is not None
        assert run.api_error[0] == status
        assert run.api_error[1].startswith(message)
        assert run.transcript[-1].role == "system"

    def test_older_versions_tell_the_status_in_the_text_alone(self, stream):
        old = re.sub(rb'"api_error_status":529,|"is_api_error_message":true,', b"", stream(API_529))
        run = CLAUDE.read(old, b"", 1)
        assert run.exit is Exit.API_ERROR
        assert run.api_error is not None
        assert run.api_error[0] == 529

    def test_other_ends_have_no_api_error(self, read):
        assert read("claude-text").api_error is None
        assert read("claude-max-turns", 1).api_error is None

    def test_a_retry_is_in_the_transcript(self, read):
        first, *_ = read("claude-retry", 1).transcript
        assert first.role == "system"
        assert first.text == "The model answered 529; asked again, attempt 1."

    def test_a_program_that_is_not_there_has_crashed_with_the_shells_words(self):
        run = CLAUDE.read(b"", b"sh: 1: claude: not found\n", 127)
        assert (run.exit, run.text) == (Exit.CRASHED, "sh: 1: claude: not found")

    def test_a_result_does_not_hide_that_the_process_failed_after_it(self, read):
        assert read("claude-text", 139).exit is Exit.CRASHED


class TestTranscript:
    """Turns, calls and what came of them."""

    def test_a_turn_has_thoughts_and_words(self, read):
        run = read("claude-text")
        (turn,) = run.transcript
        assert (turn.role, turn.thinking, turn.text) == ("assistant", "Let me think.", "Hello.")
        assert run.text == "Hello."

    def test_calls_have_input_and_output_in_order(self, read):
        first, second, third = read("claude-tools").transcript
        (echo,) = first.tool_calls
        assert first.text == "I will look."
        assert (echo.name, echo.output, echo.error) == ("Bash", "one", False)
        assert echo.input["command"] == echo.command == "echo one; echo two > made.txt"
        assert [(call.name, call.output) for call in second.tool_calls] == [
            ("Read", "1\ttwo\n2\t"),
            ("Bash", "made.txt"),
        ]
        assert third.text == "Done."

    def test_a_failed_call_is_an_error_and_not_denied(self, read):
        bash, missing = (turn.tool_calls[0] for turn in read("claude-tool-fails").transcript[:2])
        assert bash.output == "Exit code 3\nout\nerr"
        assert missing.output.startswith("File does not exist.")
        assert [(call.error, call.denied) for call in (bash, missing)] == [(True, False)] * 2

    def test_a_call_that_needs_approval_is_denied(self, read):
        run = read("claude-denied")
        (denial,) = run.permission_denials
        assert denial.tool == "Bash"
        assert denial.input["command"] == "touch made.txt"
        assert "needs approval" in denial.reason
        assert run.transcript[0].tool_calls[0].denied

    def test_a_deny_rule_of_the_settings_denies(self, read):
        run = read("claude-deny-rule")
        assert [denial.tool for denial in run.permission_denials] == ["Bash", "Read"]
        assert run.permission_denials[0].reason == (
            "Permission to use Bash with command touch made.txt has been denied."
        )
        assert [call.denied for turn in run.transcript for call in turn.tool_calls] == [True] * 2

    def test_older_versions_list_denials_at_the_end_alone(self, stream):
        old = b"\n".join(
            re.sub(rb',"tool_result_meta":\[.*\]', b"", line)
            for line in stream("claude-denied").splitlines()
            if b'"subtype":"permission_denied"' not in line
        )
        run = CLAUDE.read(old, b"", 0)
        (denial,) = run.permission_denials
        assert (denial.tool, denial.input["command"]) == ("Bash", "touch made.txt")
        assert "needs approval" in denial.reason
        assert run.transcript[0].tool_calls[0].denied

    def test_denials_are_known_before_the_end(self, stream):
        cut = stream("claude-denied").rpartition(b'{"duration')[0]
        run = CLAUDE.read(cut, b"", None)
        assert run.exit is Exit.KILLED
        assert [denial.tool for denial in run.permission_denials] == ["Bash"]

    def test_a_skill_is_used_where_its_call_succeeded(self, read):
        loaded, body, failed, _ = read("claude-skill").transcript
        assert loaded.tool_calls[0].skill == "sql-audit"
        assert body.role == "user"
        assert "Look for string concatenation." in body.text
        assert failed.tool_calls[0].input == {"skill": "nope"}
        assert failed.tool_calls[0].skill is None

    def test_a_subagents_turns_are_told_from_the_agents(self, read):
        run = read("claude-subagent")
        told = [(turn.parent, turn.text) for turn in run.transcript if turn.text]
        assert told == [
            (None, "All done."),
            ("toolu_00_0", "sub says"),
            (None, "(end of script)"),
        ]
        (call,) = run.transcript[1].tool_calls
        assert (call.command, call.output, call.parent) == ("echo sub", "sub", "toolu_00_0")
        assert run.text == "(end of script)"

    def test_a_stream_that_was_cut_tells_what_there_was(self, read):
        run = read("claude-killed", None)
        assert [turn.text for turn in run.transcript] == ["", "half"]
        assert run.transcript[0].tool_calls[0].output == "one"
        assert run.text == "half"

    def test_every_beginning_of_a_stream_can_be_read(self, stream):
        whole = stream("claude-subagent")
        turns = [
            len(CLAUDE.read(whole[:end], b"", None).transcript) for end in range(0, len(whole), 97)
        ]
        assert turns[0] == 0
        assert turns == sorted(turns)
        assert turns[-1] == 5


class TestFacts:
    """Tokens, session, model and version."""

    def test_tokens_are_those_of_all_answers(self, read):
        assert read("claude-tools").usage == Usage(
            input_tokens=303, output_tokens=63, cache_read_tokens=21, cache_write_tokens=9
        )

    def test_a_subagents_tokens_are_counted(self, read):
        assert read("claude-subagent").usage.input_tokens == 504

    def test_those_before_a_resumption_are_not(self, read):
        assert read("claude-resume-2").usage.input_tokens == 101

    def test_without_a_result_it_is_what_the_messages_began_with(self, read):
        assert read("claude-killed", None).usage.input_tokens == 201

    def test_session_model_and_version_are_known(self, read):
        run = read("claude-text")
        assert run.session == "bc8cb515-b4bf-46d1-abec-89bd29982391"
        assert (run.model, run.version) == ("claude-opus-5-5", "2.1.330")
