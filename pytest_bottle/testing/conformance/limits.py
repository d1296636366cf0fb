"""Checks of the limits on what a command writes."""
# ruff: noqa: S101, PLR2004 -- checks assert, on sizes and times of their own

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.base import OUTPUT_LIMIT
from pytest_bottle.errors import OutputLimitError
from pytest_bottle.testing.conformance.heartbeat import Heartbeat
from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle


class LimitChecks(Subject):
    """A stream over its limit is an error, or cut where that was asked for."""

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    def test_endless_output_is_an_error_soon(self, subject: Bottle, stream: str) -> None:
        """It names the stream and the limit."""
        script = "exec yes" if stream == "stdout" else "exec yes >&2"
        start = time.monotonic()
        with pytest.raises(OutputLimitError, match=f"{stream}.*1000000 bytes"):
            subject.sh(script, output_limit=1_000_000)
        assert time.monotonic() - start < 10

    def test_the_writer_and_its_children_are_stopped(self, subject: Bottle, place: str) -> None:
        """Nothing of it runs on."""
        beats = Heartbeat(subject, place)
        with pytest.raises(OutputLimitError):
            subject.sh(f"({beats.script}) & sleep 1; exec yes", output_limit=1000)
        assert beats.has_ended()

    def test_the_default_limit(self, subject: Bottle) -> None:
        """Exactly ten mebibytes pass; a byte more does not."""
        result = subject.exec(["head", "-c", str(OUTPUT_LIMIT), "/dev/zero"])
        assert len(result.stdout_bytes) == OUTPUT_LIMIT
        with pytest.raises(OutputLimitError):
            subject.exec(["head", "-c", str(OUTPUT_LIMIT + 1), "/dev/zero"])

    def test_each_stream_has_the_limit_to_itself(self, subject: Bottle) -> None:
        """Two streams of 600 bytes pass a limit of 1000."""
        result = subject.sh("head -c 600 /dev/zero; head -c 600 /dev/zero >&2", output_limit=1000)
        assert (len(result.stdout_bytes), len(result.stderr_bytes)) == (600, 600)

    def test_truncated_output_is_told(self, subject: Bottle, place: str) -> None:
        """The first bytes are kept, and the command runs to its end."""
        script = f"printf head; head -c 500000 /dev/zero; echo short >&2; touch {place}/ran; exit 3"
        result = subject.sh(script, output_limit=1000, truncate=True)
        assert result.returncode == 3
        assert result.stdout_bytes == b"head" + bytes(996)
        assert result.stderr == "short\n"
        assert (result.stdout_truncated, result.stderr_truncated) == (True, False)
        assert subject.exists(f"{place}/ran")

    def test_output_at_the_limit_is_not_called_truncated(self, subject: Bottle) -> None:
        """Nothing is missing from it."""
        result = subject.sh("head -c 1000 /dev/zero", output_limit=1000, truncate=True)
        assert (len(result.stdout_bytes), result.stdout_truncated) == (1000, False)
