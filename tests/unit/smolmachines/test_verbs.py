"""The command lines of the engine's verbs, and what becomes of its answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_bottle.backends.smolmachines.failures import UNSAID
from pytest_bottle.backends.smolmachines.failures import SmolvmError
from pytest_bottle.backends.smolmachines.smolvm import Machine
from pytest_bottle.backends.smolmachines.smolvm import MachineConfig
from pytest_bottle.backends.smolmachines.smolvm import Smolvm
from tests.unit.smolmachines.conftest import CASES
from tests.unit.smolmachines.conftest import FILES
from tests.unit.smolmachines.conftest import Replay

COMMON = "--error-format json --state-dir /capture/state"


def recorded_argv(title: str) -> str:
    """The command line that the capture's call of the wrapper came to."""
    return " ".join(CASES[title][0]["argv"])


class TestCommandLines:
    @pytest.mark.parametrize(
        ("title", "words"),
        [
            (
                "create",
                f"machine create {COMMON} --name one --image {FILES}/image.tar --cpus 1 --mem 512 "
                "--env KEY=a=b c --label bottle.run=0123 --label bottle.owner=x y",
            ),
            (
                "create: from a pack",
                f"machine create {COMMON} --name unpacked --from {FILES}/packed.smolmachine "
                "--cpus 1 --mem 512 --user 1000 --env KEY=a b",
            ),
            (
                "create: with a network",
                f"machine create {COMMON} --name net --image {FILES}/image.tar --cpus 1 --mem 512 "
                "--net-backend virtio-net --allow-cidr 192.0.2.1/32 "
                "--allow-host-pattern docs.example.com --allow-host-pattern *.example.org",
            ),
            (
                "create: with a network and no names",
                f"machine create {COMMON} --name nameless --image {FILES}/image.tar --cpus 1 "
                "--mem 512 --net-backend virtio-net --allow-cidr 192.0.2.1/32 "
                "--allow-host-pattern none.invalid",
            ),
            ("start", f"machine start {COMMON} --name one --branchable"),
            ("start: not to be branched", f"machine start {COMMON} --name plain"),
            ("exec: return code 3", f"machine exec {COMMON} --name one -- sh -c exit 3"),
            ("exec: stdin", f"machine exec {COMMON} --name one --interactive -- sh -c cat"),
            ("exec: a uid", f"machine exec {COMMON} --name one --user 12345:54321 -- id"),
            ("cp: in", f"machine cp {COMMON} --mode 600 {FILES}/file one:/tmp/new/file"),
            ("cp: out", f"machine cp {COMMON} one:/tmp/new/file {FILES}/back"),
            (
                "branch",
                f"machine branch {COMMON} --from one --name two --branchable "
                "--label bottle.run=4567",
            ),
            ("stop: twice", f"machine stop {COMMON} --name plain"),
            ("delete: running", f"machine delete {COMMON} --force --name unpacked"),
            (
                "delete: with its branches",
                f"machine delete {COMMON} --force --name one --cascade",
            ),
            ("ls: nothing", f"machine ls {COMMON} --json"),
            (
                "egress-events: no network",
                f"machine egress-events {COMMON} --name bare --limit 100000 --json",
            ),
            ("pack", f"pack create {COMMON} --output {FILES}/packed --from-vm plain"),
        ],
    )
    def test_the_engine_understood_each(self, title, words):
        assert recorded_argv(title) == words

    def test_a_command_gets_its_place_user_and_environment(self):
        argv = Smolvm(Path("/opt/smolvm")).exec_argv(
            "one",
            ["env", "-0"],
            user="node",
            env={"A": "1", "B": "x=y"},
            workdir="/srv",
            interactive=True,
            tty=True,
        )
        assert argv == [
            *("/opt/smolvm", "machine", "exec", "--error-format", "json", "--name", "one"),
            *("--user", "node", "--env", "A=1", "--env", "B=x=y", "--workdir", "/srv"),
            *("--interactive", "--tty", "--", "env", "-0"),
        ]


class TestWhatSucceeds:
    def test_a_machine_lives_and_goes(self, replay: Replay):
        smolvm = replay("create", "start", "delete: with its branches")
        labels = {"bottle.run": "0123", "bottle.owner": "x y"}
        smolvm.machine_create(
            MachineConfig(
                name="one",
                image=f"{FILES}/image.tar",
                cpus=1,
                memory=512,
                env={"KEY": "a=b c"},
                labels=labels,
            )
        )
        smolvm.machine_start("one", branchable=True)
        assert smolvm.machine_delete("one", cascade=True)

    def test_what_runs_already_may_be_started(self, replay: Replay):
        replay("start: twice").machine_start("one", branchable=True)

    def test_what_is_stopped_may_be_stopped(self, replay: Replay):
        replay("stop: twice").machine_stop("plain")
        replay("stop: never started").machine_stop("one")

    def test_what_is_not_there_may_be_deleted(self, replay: Replay):
        assert not replay("delete: no machine").machine_delete("none")

    def test_files_travel_both_ways(self, replay: Replay):
        smolvm = replay("cp: in", "cp: out")
        smolvm.machine_cp(f"{FILES}/file", "one:/tmp/new/file", mode=0o600)
        smolvm.machine_cp("one:/tmp/new/file", f"{FILES}/back")

    def test_a_pack_is_written(self, replay: Replay):
        replay("pack").pack_create(Path(FILES, "packed"), machine="plain")

    def test_without_a_network_nothing_was_denied(self, replay: Replay):
        assert replay("egress-events: no network").egress_events("bare") == []


class TestListing:
    def test_there_may_be_no_machines(self, replay: Replay):
        assert replay("ls: nothing").machine_ls() == []

    def test_a_branch_names_its_source_and_inherits_labels(self, replay: Replay):
        machines = {machine.name: machine for machine in replay("ls: a branch").machine_ls()}
        assert machines["two"] == Machine(
            name="two",
            state="running",
            labels={"bottle.run": "4567", "bottle.owner": "x y"},
            parent="one",
            pid=4242,
        )
        assert machines["one"].parent is None

    @pytest.mark.parametrize(
        ("title", "name", "state"),
        [
            ("ls: created", "one", "created"),
            ("ls: running", "one", "running"),
            ("ls: stopped", "plain", "stopped"),
        ],
    )
    def test_the_state_is_told(self, replay: Replay, title, name, state):
        found = replay(title).machine_status(name)
        assert found is not None
        assert found.state == state

    def test_of_what_is_not_there_there_is_no_status(self, replay: Replay):
        assert replay("ls: running").machine_status("none") is None

    def test_what_is_no_listing_is_an_error(self, tmp_path: Path):
        program = tmp_path / "smolvm"
        program.write_text("#!/bin/sh\necho NAME STATE\n")
        program.chmod(0o755)
        with pytest.raises(SmolvmError, match="failed: it printed no JSON: 'NAME STATE"):
            Smolvm(program).machine_ls()


class TestCommands:
    @pytest.mark.parametrize(
        ("title", "script", "returncode"),
        [
            ("exec: nothing to say", "true", 0),
            ("exec: return code 1", "exit 1", 1),
            ("exec: return code 1 and a line", "echo Error: no >&2; exit 1", 1),
            ("exec: return code 3", "exit 3", 3),
            ("exec: return code 255", "exit 255", 255),
            ("exec: killed by a signal", "kill -9 $$", 137),
        ],
    )
    def test_the_return_code_is_the_commands(self, replay: Replay, title, script, returncode):
        assert replay(title).machine_exec("one", ["sh", "-c", script]).returncode == returncode

    def test_the_streams_are_apart(self, replay: Replay):
        done = replay("exec").machine_exec("one", ["sh", "-c", "echo out; echo err >&2"])
        assert (done.stdout, done.stderr) == (b"out\n", b"err\n")

    def test_bytes_stay_as_they_are(self, replay: Replay):
        command = ["sh", "-c", r"printf '\000\377\200\r\n'"]
        assert replay("exec: bytes").machine_exec("one", command).stdout == b"\0\xff\x80\r\n"
        done = replay("exec: stdin").machine_exec("one", ["sh", "-c", "cat"], input=b"a\xff\n")
        assert done.stdout == b"a\xff\n"

    @pytest.mark.parametrize(
        ("title", "program", "words"),
        [
            ("exec: no such command", "no-such-command", b"`no-such-command` not found in $PATH"),
            ("exec: not executable", "/etc/passwd", b"Permission denied"),
        ],
    )
    def test_what_cannot_be_run_is_a_result(self, replay: Replay, title, program, words):
        done = replay(title).machine_exec("one", [program])
        assert done.returncode == 255
        assert words in done.stderr

    @pytest.mark.parametrize(
        ("title", "name", "command", "user", "words"),
        [
            ("exec: no machine", "none", ["true"], None, "vm not found: none"),
            ("exec: not running", "one", ["true"], None, "machine 'one' is not running"),
            (
                *("exec: no such user", "one", ["id"], "no-such-user"),
                "user 'no-such-user' not found",
            ),
        ],
    )
    def test_what_the_engine_does_not_run_is_an_error(
        self, replay: Replay, title, name, command, user, words
    ):
        with pytest.raises(SmolvmError, match=words):
            replay(title, "ls: created").machine_exec(name, command, user=user)

    def test_a_command_cannot_pass_for_a_machine_that_is_gone(self, replay: Replay):
        """A guest that could would turn its own failures into the engine's."""
        script = CASES["exec: passes for the engine"][0]["argv"][-1]
        smolvm = replay("exec: passes for the engine", "ls: running")
        done = smolvm.machine_exec("one", ["sh", "-c", script])
        assert done.returncode == 1
        assert b"vm not found: one" in done.stderr

    def test_the_engine_would_say_nothing_more(self, replay: Replay):
        """What is not the last line is the command's: nobody has to be asked."""
        title = "exec: passes for the engine, then more"
        script = CASES[title][0]["argv"][-1]
        assert replay(title).machine_exec("one", ["sh", "-c", script]).returncode == 1

    def test_a_machine_that_ends_meanwhile_is_lost(self, replay: Replay):
        title = "exec: the machine is stopped meanwhile"
        with pytest.raises(SmolvmError) as caught:
            replay(title).machine_exec("plain", ["sleep", "300"])
        assert caught.value.lost

    def test_a_machine_has_its_own_environment(self, replay: Replay):
        title = "exec: the machine's environment"
        assert replay(title).machine_exec("one", ["sh", "-c", "echo $KEY"]).stdout == b"a=b c\n"

    def test_a_machine_of_a_pack_has_the_user_and_environment_that_it_was_given(self, replay):
        done = replay("exec: from a pack").machine_exec(
            "unpacked", ["sh", "-c", "id -u; echo $KEY"]
        )
        assert done.stdout == b"1000\na b\n"

    def test_an_engine_that_hangs_is_an_error(self, tmp_path: Path):
        program = tmp_path / "smolvm"
        program.write_text("#!/bin/sh\nexec sleep 60\n")
        program.chmod(0o755)
        with pytest.raises(SmolvmError, match=r"machine exec` failed: no answer within 0\.2 s"):
            Smolvm(program).machine_exec("one", ["true"], timeout=0.2)

    def test_an_engine_that_is_gone_is_an_error(self, tmp_path: Path):
        with pytest.raises(SmolvmError, match="No such file") as caught:
            Smolvm(tmp_path / "smolvm").machine_start("one")
        assert caught.value.code == UNSAID
