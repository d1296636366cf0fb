"""Checks of the time that a command may take: everything of it is killed, and soon."""
# ruff: noqa: S101, PLR2004 -- checks assert, on times of their own

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import ExecTimeoutError
from pytest_bottle.testing.conformance.heartbeat import Heartbeat
from pytest_bottle.testing.conformance.heartbeat import wait_until
from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.conformance.subject import Launch

MIB = 1024 * 1024

CHILDREN = {
    "child": "({beat}) &",
    "deaf-to-signals": "(trap '' TERM INT HUP; {beat}) &",
    "grandchild": "( ( ({beat}) & wait ) & wait ) &",
    "orphan": "( ({beat}) & ) &",
    "own-session": "{new_session} sh -c '{beat}' &",
    "orphan-in-own-session": "( {new_session} sh -c '{beat}' & ) &",
    "own-environment": "env -i PATH=\"$PATH\" sh -c '{beat}' &",
    "nameless": "( env -i PATH=\"$PATH\" {new_session} sh -c '{beat}' & ) &",
    "daemon": "( {new_session} sh -c 'exec </dev/null >/dev/null 2>&1; ({beat}) &' & ) &",
}
"""Ways in which a command starts a process that beats."""


class TimeoutChecks(Subject):
    """A command that runs out of time is killed in the guest, with all that it started."""

    @pytest.mark.parametrize("seconds", [0.3, 1.5])
    def test_it_is_raised_on_time(self, subject: Bottle, seconds: float) -> None:
        """Not before, and at most `promptness` seconds later; it is a TimeoutError."""
        start = time.monotonic()
        with pytest.raises(TimeoutError, match=f"{seconds:g} s"):
            subject.exec(["sleep", "60"], timeout=seconds)
        assert seconds <= time.monotonic() - start < seconds + self.promptness

    def test_the_bottles_own_timeout_is_the_default(self, launch: Launch) -> None:
        """Where the command has none."""
        bottle = launch(timeout=1.0)
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            bottle.exec(["sleep", "60"])
        assert time.monotonic() - start < 1.0 + self.promptness

    def test_a_command_that_ends_in_time_is_left_alone(self, subject: Bottle) -> None:
        """Whatever its end is."""
        assert subject.sh("sleep 0.3; exit 9", timeout=30).returncode == 9

    def test_the_command_is_killed(self, subject: Bottle, place: str) -> None:
        """It did run, and does no more."""
        beats = Heartbeat(subject, place)
        with pytest.raises(TimeoutError):
            subject.sh(beats.script, timeout=1.5)
        assert beats.has_ended()

    @pytest.mark.parametrize("how", CHILDREN.values(), ids=CHILDREN.keys())
    def test_what_it_started_is_killed(self, subject: Bottle, place: str, how: str) -> None:
        """A process cannot get away by leaving its parent, its group or its session."""
        beats = Heartbeat(subject, place)
        start_it = how.format(beat=beats.script, new_session=self.new_session)
        with pytest.raises(TimeoutError):
            subject.sh(f"{start_it} sleep 60", timeout=1.5)
        assert beats.has_ended()

    def test_many_children_are_killed_on_time(self, subject: Bottle, place: str) -> None:
        """Fifty of them, each with a child of its own."""
        beats = [Heartbeat(subject, place, f"beats-{number}") for number in range(50)]
        script = "".join(f"({beat.script.replace('0.1', '0.5')}) & " for beat in beats)
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            subject.sh(f"{script} sleep 60", timeout=3)
        assert time.monotonic() - start < 3 + self.promptness
        sizes = "cat beats-* | wc -c; ls | wc -l"
        before = subject.sh(sizes, cwd=place).stdout
        time.sleep(1.5)
        assert subject.sh(sizes, cwd=place).stdout == before
        assert before.split()[1] == "50"

    def test_a_stopped_command_is_killed(self, subject: Bottle) -> None:
        """SIGSTOP does not save it."""
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            subject.sh("kill -STOP $$", timeout=1)
        assert time.monotonic() - start < 1 + self.promptness

    def test_what_it_wrote_until_then_is_kept(self, subject: Bottle) -> None:
        """In the error, as bytes."""
        with pytest.raises(ExecTimeoutError) as caught:
            subject.sh("echo before; echo trouble >&2; sleep 60; echo after", timeout=1.5)
        assert caught.value.stdout == b"before\n"
        assert caught.value.stderr == b"trouble\n"
        assert caught.value.timeout == 1.5

    def test_unread_input_does_not_delay_it(self, subject: Bottle) -> None:
        """Nor does the command's refusal to read."""
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            subject.exec(["sleep", "60"], input=b"x" * (20 * MIB), timeout=1.5)
        assert time.monotonic() - start < 1.5 + self.promptness

    def test_the_bottle_is_usable_afterwards(self, subject: Bottle) -> None:
        """Time after time."""
        for number in range(3):
            with pytest.raises(TimeoutError):
                subject.exec(["sleep", "60"], timeout=0.2)
            assert subject.exec(["echo", str(number)]).stdout == f"{number}\n"

    def test_other_commands_are_left_alone(self, subject: Bottle, place: str) -> None:
        """Those that run beside it, and background processes of earlier ones."""
        beats = Heartbeat(subject, place)
        subject.sh(f"({beats.script}) >/dev/null 2>&1 & echo $! > {place}/pid").check()
        with ThreadPoolExecutor(1) as pool:
            beside = pool.submit(
                subject.sh, f"touch {place}/beside; sleep 4; echo done", timeout=30
            )
            assert wait_until(lambda: subject.exists(f"{place}/beside"), timeout=10)
            with pytest.raises(TimeoutError):
                subject.exec(["sleep", "60"], timeout=0.5)
            assert beats.goes_on()
            assert beside.result().stdout == "done\n"
        subject.sh(f"kill -9 $(cat {place}/pid)").check()
