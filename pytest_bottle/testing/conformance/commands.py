"""Checks of commands: what they write, how they end, and what reaches them of their arguments."""
# ruff: noqa: S101, PLR2004 -- checks assert, on codes and sizes of their own

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import CommandError
from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle

MIB = 1024 * 1024

UNICODE = "naïve ☽ 🚀"
ESCAPED = "".join(f"\\{byte:03o}" for byte in UNICODE.encode())
"""For printf, so that the bytes are made in the guest: an encoding that is wrong on the way in and
on the way out does not cancel itself."""


class CommandChecks(Subject):
    """A command's result is what it did; a failing command is a result."""

    def test_stdout_and_stderr_come_apart(self, subject: Bottle) -> None:
        """Each whole and in order."""
        result = subject.sh("echo one; echo oops >&2; echo two; echo again >&2")
        assert (result.stdout, result.stderr) == ("one\ntwo\n", "oops\nagain\n")
        assert (result.stdout_truncated, result.stderr_truncated) == (False, False)

    def test_output_is_utf8(self, subject: Bottle) -> None:
        """On both streams."""
        result = subject.sh(f"printf '{ESCAPED}'; printf '{ESCAPED}' >&2")
        assert (result.stdout, result.stderr) == (UNICODE, UNICODE)

    def test_output_that_is_no_text_is_kept_as_bytes(self, subject: Bottle) -> None:
        """As text it shows U+FFFD."""
        result = subject.sh("printf '\\303\\050\\000\\377'; printf '\\377' >&2")
        assert (result.stdout_bytes, result.stderr_bytes) == (b"\xc3(\0\xff", b"\xff")
        assert result.stdout == "\ufffd(\0\ufffd"

    def test_much_output_on_both_streams(self, subject: Bottle) -> None:
        """Neither waits for the other to be read."""
        script = f"head -c {4 * MIB} /dev/zero; head -c {4 * MIB} /dev/zero >&2"
        result = subject.sh(script)
        assert (len(result.stdout_bytes), len(result.stderr_bytes)) == (4 * MIB, 4 * MIB)

    def test_the_last_output_of_a_child_is_not_lost(self, subject: Bottle) -> None:
        """What was written before the end arrives, time after time."""
        for _ in range(20):
            assert len(subject.sh("head -c 100000 /dev/zero | cat").stdout_bytes) == 100_000

    def test_every_exit_code_arrives(self, subject: Bottle) -> None:
        """From 0 to 255; only 0 is a success."""
        codes = [subject.exec(["sh", "-c", f"exit {code}"]).returncode for code in range(256)]
        assert codes == list(range(256))
        assert subject.sh("exit 0").success
        assert not subject.sh("exit 255").success

    def test_check_raises_for_a_failure(self, subject: Bottle) -> None:
        """With the command's last words."""
        with pytest.raises(CommandError, match=r"(?s)code 3.*last words"):
            subject.sh("echo last words >&2; exit 3").check()

    def test_a_command_that_is_not_there(self, subject: Bottle, place: str) -> None:
        """Return code 127, as in a shell."""
        assert subject.exec(["no-such-command-anywhere"]).returncode == 127
        assert subject.exec([f"{place}/missing"]).returncode == 127

    def test_a_command_that_may_not_be_executed(self, subject: Bottle, place: str) -> None:
        """Return code 126, as in a shell; nothing pretends that it ran."""
        subject.write_file(f"{place}/file", "#!/bin/sh\necho ran\n", mode=0o644)
        for argv in ([f"{place}/file"], [place]):
            result = subject.exec(argv)
            assert (result.returncode, result.stdout) == (126, "")
            assert result.stderr

    @pytest.mark.parametrize(("signal", "code"), [("TERM", 143), ("KILL", 137), ("SEGV", 139)])
    def test_death_by_a_signal_is_a_result(self, subject: Bottle, signal: str, code: int) -> None:
        """128 and the signal's number, at once: it is no timeout."""
        start = time.monotonic()
        result = subject.sh(f"echo before; kill -{signal} $$; sleep 30", timeout=60)
        assert (result.returncode, result.stdout) == (code, "before\n")
        assert time.monotonic() - start < 10

    def test_no_shell_reads_the_arguments(self, subject: Bottle) -> None:
        """Each arrives as it is, the empty one too."""
        arguments = ["$HOME", "*", "`id`", "a  b", "", "it's", 'say "hi"', "\\n", "x\ny", UNICODE]
        result = subject.exec(["printf", "%s|", *arguments])
        assert result.stdout == "".join(f"{argument}|" for argument in arguments)

    def test_a_mebibyte_of_arguments_arrives(self, subject: Bottle) -> None:
        """In arguments of 64 KiB: Linux refuses one of more than 128 KiB itself."""
        arguments = [f"{number:02}" + "x" * 65_534 for number in range(16)]
        result = subject.exec(["printf", "%s", *arguments])
        assert result.success
        assert result.stdout == "".join(arguments)

    def test_a_mebibyte_of_script_runs(self, subject: Bottle) -> None:
        """With the input, the arguments and the `$0` of a short one."""
        padding = "".join(f"# {number:06} ünïcode\n" for number in range(60_000))
        script = f'read -r line; {padding}\necho "$line $# $0"; exit 7'
        assert len(script.encode()) > MIB
        short = subject.sh('read -r line; echo "$line $# $0"; exit 7', input="hello\n")
        result = subject.sh(script, input="hello\n")
        assert (result.returncode, result.stdout) == (7, short.stdout)
        assert result.stderr == ""

    def test_a_long_script_leaves_nothing_behind(self, subject: Bottle) -> None:
        """Neither in the workdir nor in the home nor among temporary files."""
        listing = 'ls -a . ~ "${TMPDIR:-/tmp}" | sort'
        before = subject.sh(listing).stdout
        subject.sh("true\n" * 60_000).check()
        assert subject.sh(listing).stdout == before

    def test_a_broken_pipe_ends_a_command_quietly(self, subject: Bottle) -> None:
        """Signals are as a shell finds them at a login, not as the exec server has them."""
        result = subject.sh("yes | head -n 1")
        assert (result.stdout, result.stderr) == ("y\n", "")

    def test_interrupts_reach_a_command(self, subject: Bottle) -> None:
        """SIGINT, SIGHUP and SIGTERM are not ignored from the start."""
        for signal in ("INT", "HUP", "TERM", "QUIT"):
            assert subject.sh(f"kill -{signal} $$; exit 99", timeout=20).returncode > 128

    def test_the_duration_is_told(self, subject: Bottle) -> None:
        """In seconds."""
        assert 0.5 <= subject.exec(["sleep", "0.5"]).duration < 10
