"""The exec channel: commands, how they start, what they write, what they leave running."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from pytest_bottle.errors import OutputLimitError
from tests.unit.channel_guest import MIB
from tests.unit.channel_guest import eventually
from tests.unit.channel_guest import guest

__all__ = ["guest"]


class TestCommands:
    def test_the_guest_tells_about_itself(self, guest):
        facts = guest.channel.wait_ready()
        assert facts["uid"] == os.getuid()
        assert facts["user"]
        assert facts["home"].startswith("/")

    def test_output_code_and_duration_come_back(self, guest):
        result = guest.sh("echo out; echo err >&2; sleep 0.2; exit 3")
        assert (result.returncode, result.stdout, result.stderr) == (3, "out\n", "err\n")
        assert 0.2 <= result.duration < 5

    def test_death_by_a_signal_is_128_and_its_number(self, guest):
        assert guest.sh("kill -KILL $$").returncode == 137

    def test_environment_is_added_and_nothing_else_is_seen(self, guest):
        shown = guest.exec("env", "-0", env={"A": "b\nc=d", "PATH": "/bin"}).stdout
        variables = dict(word.split("=", 1) for word in shown.split("\0") if word)
        assert variables.pop("A") == "b\nc=d"
        assert variables.pop("PATH") == "/bin"
        assert set(variables) <= {"LANG"}

    def test_no_descriptor_and_no_signal_setting_is_inherited(self, guest):
        assert guest.exec("ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]
        status = guest.exec("grep", "-E", "^Sig(Ign|Blk):", "/proc/self/status").stdout
        # Signals 32 and 33 are the C library's own, which lets nobody set them.
        others = ~(0b11 << 31)
        assert [int(line.split()[1], 16) & others for line in status.splitlines()] == [0, 0]

    def test_stdin_is_empty_unless_it_is_given(self, guest):
        assert guest.exec("cat").stdout_bytes == b""
        assert guest.exec("cat", input=b"").stdout_bytes == b""
        assert guest.exec("cat", input=b"a\0b").stdout_bytes == b"a\0b"

    def test_fifty_mebibytes_pass_both_ways_at_once(self, guest):
        data = os.urandom(MIB) * 50
        result = guest.exec("cat", input=data, output_limit=51 * MIB)
        assert result.stdout_bytes == data

    def test_input_that_nobody_reads_holds_nothing_up(self, guest):
        assert guest.exec("true", input=bytes(20 * MIB)).success
        assert guest.sh("head -c 3", input=b"abcdef" * MIB).stdout == "abc"

    def test_many_commands_at_once_do_not_mix(self, guest):
        def work(number: int) -> tuple[int, bytes, bytes]:
            script = f"cat; echo {number} >&2; exit {number}"
            result = guest.sh(script, input=bytes([number]) * 100_000)
            return result.returncode, result.stdout_bytes, result.stderr_bytes

        with ThreadPoolExecutor(24) as pool:
            for number, outcome in enumerate(pool.map(work, range(100))):
                assert outcome == (number, bytes([number]) * 100_000, f"{number}\n".encode())

    def test_a_large_request_arrives(self, guest):
        arguments = ["x" * 100_000] * 12
        assert len(guest.exec("printf", "%s", *arguments).stdout) == 1_200_000


class TestStart:
    def test_a_relative_cwd_is_below_the_workdir(self, guest):
        (guest.workdir / "below").mkdir()
        assert guest.exec("pwd", cwd="below").stdout == f"{guest.workdir}/below\n"
        assert guest.exec("pwd").stdout == f"{guest.workdir}\n"
        assert guest.exec("pwd", cwd="/").stdout == "/\n"

    def test_a_cwd_that_cannot_be_is_an_error_that_names_it(self, guest):
        (guest.workdir / "file").touch()
        with pytest.raises(FileNotFoundError, match="missing"):
            guest.exec("true", cwd="missing")
        with pytest.raises(NotADirectoryError, match="file"):
            guest.exec("true", cwd="file")

    def test_a_workdir_that_is_gone_is_named_too(self, guest):
        guest.workdir.rmdir()
        with pytest.raises(FileNotFoundError, match=str(guest.workdir)):
            guest.exec("true")
        guest.workdir.mkdir()

    def test_without_a_workdir_an_absolute_cwd_is_still_good(self, guest):
        """So that a person can see what became of it."""
        guest.workdir.rmdir()
        assert guest.exec("pwd", cwd="/").stdout == "/\n"
        guest.workdir.mkdir()

    def test_a_command_that_is_not_there_is_127(self, guest):
        for argv in ("no-such-command", "/no/such/command", "./command"):
            result = guest.exec(argv)
            assert result.returncode == 127
            assert argv in result.stderr

    def test_a_command_that_cannot_be_executed_is_126(self, guest):
        (guest.workdir / "plain").write_text("#!/bin/sh\n")
        (guest.workdir / "plain").chmod(0o644)
        for argv in ("./plain", "/", "/etc"):
            result = guest.exec(argv)
            assert (result.returncode, result.stderr) == (126, f"{argv}: Permission denied\n")

    def test_a_script_whose_interpreter_is_missing_is_127(self, guest):
        (guest.workdir / "script").write_text("#!/no/such/interpreter\n")
        (guest.workdir / "script").chmod(0o755)
        assert guest.exec("./script").returncode == 127

    def test_too_long_a_command_line_is_126_and_says_so(self, guest):
        result = guest.exec("true", "x" * 200_000)
        assert (result.returncode, result.stderr) == (126, "true: Argument list too long\n")

    @pytest.mark.parametrize("env", [{"A": "b\0c"}, {"A=B": "c"}, {"A": "\ud800"}])
    def test_what_no_process_can_be_given_is_126_and_says_so(self, guest, env):
        result = guest.exec("true", env=env)
        assert (result.returncode, result.stderr) == (126, "true: Invalid argument\n")

    def test_the_path_of_the_request_is_searched(self, guest):
        (guest.workdir / "tool").write_text("#!/bin/sh\necho mine\n")
        (guest.workdir / "tool").chmod(0o755)
        assert guest.exec("tool").returncode == 127
        assert guest.exec("tool", env={"PATH": f"/nowhere:{guest.workdir}"}).stdout == "mine\n"

    def test_no_more_descriptors_fail_a_command_and_not_the_server(self, guest):
        """Background processes hold their command's output open in the server."""
        psutil.Process(guest.process.pid).rlimit(psutil.RLIMIT_NOFILE, (32, 32))
        results = [guest.sh("sleep 60 & exit 5") for _ in range(20)]
        assert results[0].returncode == 5
        assert results[-1].returncode == 126
        assert "cannot start another process: Too many open files" in results[-1].stderr
        for process in guest.living():
            if process.name() == "sleep":
                process.kill()
        assert eventually(lambda: guest.exec("true").success)


class TestBackground:
    def test_a_background_process_does_not_hold_its_command(self, guest):
        start = time.monotonic()
        result = guest.sh("sleep 30 & echo $!")
        assert time.monotonic() - start < 5
        assert eventually(lambda: psutil.Process(int(result.stdout)).name() == "sleep")

    def test_one_that_writes_without_end_does_not_either(self, guest):
        start = time.monotonic()
        assert guest.sh("yes & sleep 0.1; exit 4", truncate=True).returncode == 4
        assert time.monotonic() - start < 5
        assert guest.exec("echo", "alive").stdout == "alive\n"

    def test_it_may_write_later_without_harm(self, guest):
        guest.sh("(sleep 0.2; head -c 300000 /dev/zero; echo $? > code) & true")
        code = guest.workdir / "code"
        assert eventually(lambda: code.exists() and code.read_text() == "0\n")

    def test_the_last_words_of_a_command_are_never_lost(self, guest):
        for _ in range(50):
            assert len(guest.sh("head -c 65536 /dev/zero").stdout_bytes) == 65_536

    def test_nothing_stays_open_after_many_commands(self, guest):
        open_before = psutil.Process(guest.process.pid).num_fds()
        for _ in range(100):
            guest.exec("cat", input=b"x")
        assert psutil.Process(guest.process.pid).num_fds() == open_before


class TestLimits:
    def test_more_than_the_limit_stops_the_command(self, guest):
        with pytest.raises(OutputLimitError, match=r"stdout of 'yes' is larger.*1000 bytes"):
            guest.exec("yes", output_limit=1000)
        assert eventually(lambda: not [p for p in guest.living() if p.name() == "yes"])

    def test_truncation_keeps_the_beginning_and_lets_it_end(self, guest):
        result = guest.sh(
            "printf abc; head -c 3000000 /dev/zero; exit 7", output_limit=5, truncate=True
        )
        assert (result.stdout_bytes, result.returncode) == (b"abc\0\0", 7)
        assert (result.stdout_truncated, result.stderr_truncated) == (True, False)
