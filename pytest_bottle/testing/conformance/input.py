"""Checks of what a command reads from its standard input."""
# ruff: noqa: S101, PLR2004 -- checks assert, on sizes of their own

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle

MIB = 1024 * 1024


class InputChecks(Subject):
    """All of the input arrives, as it is, and ends."""

    @pytest.mark.parametrize("nothing", [None, "", b""], ids=["none", "text", "bytes"])
    def test_no_input_ends_at_once(self, subject: Bottle, nothing: str | bytes | None) -> None:
        """A command that reads does not hang."""
        result = subject.exec(["cat"], input=nothing, timeout=10)
        assert (result.returncode, result.stdout) == (0, "")

    @pytest.mark.parametrize(
        "text",
        ["hello\nworld\n", "no newline", "ünïcode 🚀\r\n", "$HOME `id` 'a' \"b\" \\c\n*"],
        ids=["lines", "unended", "unicode", "shell-special"],
    )
    def test_text_arrives(self, subject: Bottle, text: str) -> None:
        """As UTF-8."""
        assert subject.exec(["cat"], input=text).stdout_bytes == text.encode()

    def test_every_byte_arrives(self, subject: Bottle, place: str) -> None:
        """NUL and what is not UTF-8, too."""
        data = bytes(range(256)) + b"\xc3\x28\0\xff"
        subject.sh("cat > file", cwd=place, input=data).check()
        assert subject.read_file(f"{place}/file", text=False) == data

    def test_a_large_input_arrives_and_comes_back(self, subject: Bottle) -> None:
        """While it is written it is read: neither end waits for the other to finish."""
        data = bytes(range(256)) * (self.large_input // 256)
        result = subject.exec(
            ["cat"], input=data, output_limit=60 * MIB, timeout=60 * self.patience
        )
        assert result.stdout_bytes == data

    @pytest.mark.parametrize(
        "script", ["true", "head -c 1", "exec 0<&-; echo x"], ids=["ignores", "stops", "closes"]
    )
    def test_a_command_need_not_read_it_all(self, subject: Bottle, script: str) -> None:
        """Its end is its own, whatever is left unread."""
        start = time.monotonic()
        result = subject.sh(script, input=b"x" * (20 * MIB), timeout=30)
        assert result.success
        assert result.stderr == ""
        assert time.monotonic() - start < 20

    def test_a_shell_reads_its_script_from_it(self, subject: Bottle) -> None:
        """Line by line, as from a file."""
        script = 'word=there\necho "hello $word"\nexit 5\necho never\n'
        result = subject.exec(["sh"], input=script)
        assert (result.returncode, result.stdout) == (5, "hello there\n")
