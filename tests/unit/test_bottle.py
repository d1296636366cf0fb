"""The handle that a test holds, on a sandbox of the fake backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import NoReturn

import pytest

from pytest_bottle.agents.registry import BUILTIN
from pytest_bottle.argv import ARGUMENT_LIMIT
from pytest_bottle.bottle import Bottle
from pytest_bottle.bottle import Provisioned
from pytest_bottle.command_log import CommandLog
from pytest_bottle.errors import BottleClosedError
from pytest_bottle.errors import BranchUnsupportedError
from pytest_bottle.errors import DoorError
from pytest_bottle.errors import ManifestError
from pytest_bottle.errors import MarkerError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.errors import UserUnsupportedError
from pytest_bottle.plan import AgentPlan
from pytest_bottle.plan import BottlePlan
from pytest_bottle.testing import FakeBackend

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from pytest_bottle.agents.base import Agent

PROMPT_PATH = "/home/x/.claude-bottle-prompt.txt"

TELL = """#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word"; done
echo "env: $IS_SANDBOX $MODE" >&2
"""
"""Stands for an agent: shows what it was started with."""


def stop(bottle: Bottle) -> None:
    bottle.sandbox.stop()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bottle]]:
    """Make a bottle of a plan's fields; its sandbox ends with the test."""
    bottles: list[Bottle] = []

    def make_one(
        *,
        agent: AgentPlan | None = None,
        kind: Agent | None = None,
        prompt_path: str | None = None,
        backend: FakeBackend | None = None,
        **fields: Any,
    ) -> Bottle:
        state = tmp_path / f"state-{len(bottles)}"
        state.mkdir()
        plan = BottlePlan(
            name=f"bottle-test-main-{len(bottles)}",
            run_id="test",
            worker="main",
            backend="fake",
            state_dir=state,
            agent=agent,
            **fields,
        )
        bottle = Bottle(
            plan=plan,
            wall="none",
            sandbox=(backend or FakeBackend()).launch(plan),
            provisioned=Provisioned(baseline=b"", prompt_path=prompt_path),
            agent_kind=kind or (BUILTIN[agent.kind] if agent else None),
            log=CommandLog(str),
            open_model=no_model,
            on_branch=no_branch,
            on_close=stop,
        )
        bottles.append(bottle)
        return bottle

    yield make_one
    for bottle in bottles:
        bottle.close()


def no_branch(bottle: Bottle) -> NoReturn:
    raise BranchUnsupportedError(bottle.backend, reason="this is a test.", remedy="Go on.")


def no_model(*_: object) -> NoReturn:
    raise DoorError("was opened for a test without a model")


@pytest.fixture
def claude_path(tmp_path: Path) -> tuple[tuple[str, str], ...]:
    """A plan's environment, with a `claude` on its PATH."""
    claude = tmp_path / "bin" / "claude"
    claude.parent.mkdir()
    claude.write_text(TELL)
    claude.chmod(0o755)
    return (("PATH", f"{claude.parent}:/usr/bin:/bin"),)


@pytest.fixture
def bottle(make: Callable[..., Bottle]) -> Bottle:
    return make()


class TestFacts:
    def test_it_knows_what_it_is(self, bottle):
        assert bottle.name == "bottle-test-main-0"
        assert (bottle.backend, bottle.wall, bottle.agent) == ("fake", "none", None)
        assert repr(bottle) == "<Bottle bottle-test-main-0 (fake)>"
        assert bottle.exec(["pwd"]).stdout == f"{bottle.workdir}\n"
        assert bottle.sh("echo ~").stdout == f"{bottle.home}\n"
        assert bottle.exec(["id", "-un"]).stdout == f"{bottle.user}\n"

    def test_the_connection_is_one_line_for_a_shell(self, bottle):
        line = bottle.connection()
        assert bottle.workdir in line
        assert "\n" not in line


class TestExec:
    def test_input_is_text_or_bytes(self, bottle):
        assert bottle.exec(["cat"], input="ünï").stdout_bytes == "ünï".encode()
        assert bottle.exec(["cat"], input=b"\xff\0").stdout_bytes == b"\xff\0"

    def test_every_keyword_reaches_the_command(self, bottle):
        bottle.exec(["mkdir", "below"]).check()
        result = bottle.exec(
            ["sh", "-c", 'pwd; echo "$A"; id -un; head -c 50 /dev/zero'],
            cwd="below",
            env={"A": "b"},
            user=bottle.user,
            output_limit=len(f"{bottle.workdir}/below\nb\n{bottle.user}\n") + 3,
            truncate=True,
        )
        assert result.stdout == f"{bottle.workdir}/below\nb\n{bottle.user}\n\0\0\0"
        assert result.stdout_truncated

    def test_a_shell_line_is_not_split(self, bottle):
        with pytest.raises(TypeError, match=r"not 'ls -l': use sh\(\)"):
            bottle.exec("ls -l")

    @pytest.mark.parametrize(
        ("argv", "error", "words"),
        [
            ([], ValueError, "needs a command"),
            (["ls", 1], TypeError, "must be a string, not 1"),
            (["ls", Path("/")], TypeError, "must be a string"),
            (["ls", b"x"], TypeError, "must be a string"),
            (["a\0b"], ValueError, "NUL"),
        ],
    )
    def test_arguments_that_cannot_be_are_refused(self, bottle, argv, error, words):
        with pytest.raises(error, match=words):
            bottle.exec(argv)
        assert bottle.log.count == 0

    def test_any_iterable_of_words_is_a_command(self, bottle):
        assert bottle.exec(word for word in ["echo", "hi"]).stdout == "hi\n"

    def test_the_plans_timeout_is_the_default(self, make):
        bottle = make(timeout=0.3)
        with pytest.raises(TimeoutError, match=r"0\.3 s"):
            bottle.exec(["sleep", "60"])
        assert bottle.exec(["sleep", "0.5"], timeout=20).success

    def test_a_user_that_it_cannot_become(self, bottle):
        with pytest.raises(UserUnsupportedError, match="no-such-user"):
            bottle.exec(["true"], user="no-such-user")


class TestSh:
    def test_it_is_a_shell_line(self, bottle):
        assert bottle.sh("echo $((1 + 1)); exit 3").returncode == 3
        assert bottle.sh("cat; pwd", input="x", cwd="/").stdout == "x/\n"

    @pytest.mark.parametrize("padding", ["# ünïcödé\n", "#" * 70 + "\n"])
    def test_a_script_that_is_too_long_for_an_argument_is_the_same(self, bottle, padding):
        """Arguments, `$0`, input, the last line and its end."""
        script = padding * 12_000 + "read -r line; echo \"$0 $# $line\"; printf 'x\\n\n'"
        assert len(script.encode()) > ARGUMENT_LIMIT
        result = bottle.sh(script, input="hello\nrest")
        assert (result.stdout, result.stderr) == ("/bin/sh 0 hello\nx\n\n", "")

    def test_a_long_script_leaves_no_file(self, bottle):
        bottle.sh("true\n" * ARGUMENT_LIMIT).check()
        assert bottle.listdir() == []


class TestLog:
    def test_the_tests_own_commands_are_recorded(self, bottle):
        bottle.exec(["echo", "hi"])
        bottle.sh("exit 3")
        assert [(r.argv, r.outcome) for r in bottle.log.records] == [
            (("echo", "hi"), "0"),
            (("/bin/sh", "-c", "exit 3"), "3"),
        ]

    def test_what_raised_is_recorded(self, bottle):
        with pytest.raises(TimeoutError):
            bottle.exec(["sleep", "60"], timeout=0.1)
        with pytest.raises(FileNotFoundError):
            bottle.exec(["true"], cwd="missing")
        first, second = (record.outcome for record in bottle.log.records)
        assert first.startswith("ExecTimeoutError: timed out")
        assert second.startswith("FileNotFoundError: ")

    def test_the_handles_own_commands_are_not(self, bottle):
        bottle.write_file("file", "x")
        bottle.read_file("file")
        bottle.exists("file")
        bottle.listdir()
        bottle.diff()
        assert bottle.log.count == 0


class TestFiles:
    def test_text_keeps_its_line_ends(self, bottle):
        bottle.write_file("a/file", "one\r\ntwo\n")
        assert bottle.read_file("a/file") == "one\r\ntwo\n"
        assert bottle.read_file("a/file", text=False) == b"one\r\ntwo\n"

    def test_what_is_not_utf8_is_no_text(self, bottle):
        bottle.write_file("file", b"\xff")
        with pytest.raises(UnicodeDecodeError):
            bottle.read_file("file")

    def test_copies_go_both_ways(self, bottle, tmp_path):
        (tmp_path / "source").write_text("x")
        bottle.copy_in(tmp_path / "source", "file")
        bottle.cp_in(str(tmp_path / "source"), "into/")
        assert bottle.listdir() == ["file", "into"]
        assert bottle.copy_out("file", str(tmp_path / "out")) == tmp_path / "out"
        assert (tmp_path / "out").read_text() == "x"

    def test_a_difference_is_against_what_was_provisioned(self, bottle):
        assert not bottle.diff()
        bottle.write_file("new", "x\n")
        assert bottle.diff().added == ("new",)
        assert "+x" in bottle.diff().text


class TestAgents:
    def test_a_command_agent_is_given_the_task(self, make):
        agent = AgentPlan(
            name="a",
            kind="command",
            args=("sh", "-c", 'echo "$MODE: $1"', "sh", "{prompt}"),
            env=(("MODE", "careful"),),
        )
        assert make(agent=agent).run_agent("do it").stdout == "careful: do it\n"

    def test_an_agent_with_a_model_is_not_started_where_no_door_opens(self, make, claude_path):
        bottle = make(agent=AgentPlan(name="a", kind="claude"), env=claude_path)
        with pytest.raises(DoorError):
            bottle.run_agent("do it")
        assert bottle.log.count == 0

    def test_exec_claude_adds_the_prompt_to_arguments_of_the_tests_own(self, make, claude_path):
        agent = AgentPlan(name="a", kind="claude", prompt="Be terse.")
        bottle = make(agent=agent, prompt_path=PROMPT_PATH, env=claude_path)
        result = bottle.exec_claude(["mcp", "list"], env={"MODE": "own"})
        assert result.stdout.splitlines() == [
            "--append-system-prompt-file",
            PROMPT_PATH,
            "mcp",
            "list",
        ]
        assert result.stderr == "env: 1 own\n"

    def test_without_a_prompt_no_option_is_added(self, make, claude_path):
        for agent in (None, AgentPlan(name="a", kind="claude")):
            bottle = make(agent=agent, env=claude_path)
            assert bottle.exec_claude(["--version"]).stdout == "--version\n"

    def test_a_task_needs_an_agent(self, bottle):
        with pytest.raises(MarkerError, match="has no agent"):
            bottle.run_agent("do it")

    def test_what_the_agent_cannot_do_is_told(self, make):
        bottle = make(agent=AgentPlan(name="a", kind="command", args=("true",)))
        with pytest.raises(MarkerError, match="max_turns"):
            bottle.run_agent("do it", max_turns=1)
        with pytest.raises(ManifestError, match="args"):
            make(agent=AgentPlan(name="a", kind="command")).run_agent("do it")

    def test_an_agent_has_the_time_that_it_is_given(self, make):
        agent = AgentPlan(name="a", kind="command", args=("sleep", "60", "{model}"), model="0")
        with pytest.raises(TimeoutError):
            make(agent=agent).run_agent("0", timeout=0.2)


class TestEnd:
    def test_nothing_works_after_close(self, bottle, tmp_path):
        bottle.close()
        bottle.close()
        assert bottle.closed
        for use in (
            lambda: bottle.exec(["true"]),
            lambda: bottle.sh("true"),
            lambda: bottle.read_file("x"),
            lambda: bottle.write_file("x", ""),
            lambda: bottle.copy_in(tmp_path, "x"),
            lambda: bottle.copy_out("x", tmp_path / "x"),
            lambda: bottle.exists("x"),
            bottle.listdir,
            bottle.diff,
            lambda: bottle.exec_claude([]),
        ):
            with pytest.raises(BottleClosedError, match="bottle-test-main-0 was torn down already"):
                use()

    def test_it_closes_at_the_end_of_a_with_statement(self, make):
        with make() as bottle:
            assert bottle.exec(["true"]).success
        assert bottle.closed
        assert not Path(bottle.workdir).exists()

    @pytest.mark.parametrize(
        "use", [lambda bottle: bottle.exec(["true"]), lambda bottle: bottle.exists("x")]
    )
    def test_a_lost_sandbox_is_remembered(self, make, use):
        bottle = make(backend=FakeBackend(lose_after=1))
        bottle.exec(["true"])
        assert not bottle.lost
        with pytest.raises(SandboxLostError, match="keeper was killed"):
            use(bottle)
        assert bottle.lost
