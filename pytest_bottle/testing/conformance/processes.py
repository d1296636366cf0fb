"""Checks of processes that outlive their command, and of a guest that kills its own."""
# ruff: noqa: S101, PLR2004 -- checks assert, on times of their own

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from pytest_bottle.testing.conformance.heartbeat import Heartbeat
from pytest_bottle.testing.conformance.heartbeat import wait_until
from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle


class ProcessChecks(Subject):
    """Background processes live on without holding their command; the dead are reaped."""

    def test_a_background_process_does_not_hold_its_command(
        self, subject: Bottle, place: str
    ) -> None:
        """Although it keeps the command's output open; and it goes on."""
        beats = Heartbeat(subject, place)
        start = time.monotonic()
        result = subject.sh(f"({beats.script}) & echo $! > {place}/pid; echo started")
        assert (result.stdout, result.returncode) == ("started\n", 0)
        assert time.monotonic() - start < 5
        assert beats.goes_on()
        subject.sh(f"kill -9 $(cat {place}/pid)").check()
        assert beats.has_ended()

    def test_a_background_process_may_write_after_its_command(
        self, subject: Bottle, place: str
    ) -> None:
        """Its output goes nowhere, but is no broken pipe that kills it."""
        subject.sh(f"(sleep 0.5; head -c 300000 /dev/zero; echo $? > {place}/code) & true").check()
        assert wait_until(lambda: subject.exists(f"{place}/code"), timeout=10)
        assert wait_until(lambda: subject.read_file(f"{place}/code") == "0\n", timeout=5)

    def test_a_background_process_serves_later_commands(self, subject: Bottle, place: str) -> None:
        """As a development server does, here through a pipe."""
        subject.sh("mkfifo ask answer", cwd=place).check()
        server = '(read -r word < ask; echo "got $word" > answer) > /dev/null 2>&1 &'
        subject.sh(server, cwd=place).check()
        assert subject.sh("echo hello > ask; cat answer", cwd=place, timeout=10).stdout == (
            "got hello\n"
        )

    def test_orphans_are_reaped(self, subject: Bottle, place: str) -> None:
        """A process whose parent is gone leaves no zombie, which `kill -0` would still find."""
        _assert_reaped(subject, place)

    def test_killing_every_process_leaves_the_bottle_usable(
        self, subject: Bottle, place: str
    ) -> None:
        """All that the guest can signal, the command itself and background processes among them.

        Where its processes are not its own, it is shown that it could signal the host's.
        """
        if not self.private_processes:
            assert subject.sh(f"kill -0 {os.getpid()}").success
            return
        beats = Heartbeat(subject, place)
        subject.sh(f"({beats.script}) > /dev/null 2>&1 &").check()
        assert beats.goes_on()
        subject.sh("kill -9 -1", timeout=10)
        assert beats.has_ended()
        assert subject.sh("echo alive").stdout == "alive\n"
        assert subject.sh(f"kill -0 {os.getpid()}").returncode != 0 or os.getpid() < 100
        _assert_reaped(subject, place)

    def test_the_guest_cannot_end_its_first_process(self, subject: Bottle) -> None:
        """By no signal that it may send."""
        if not self.private_processes:
            assert subject.sh("kill -0 $PPID").success
            return
        for signal in ("TERM", "KILL", "INT", "STOP"):
            subject.sh(f"kill -{signal} 1 2> /dev/null")
        assert subject.sh("echo alive").stdout == "alive\n"

    def test_a_thousand_commands_leave_nothing_open(self, subject: Bottle) -> None:
        """Neither descriptors nor processes run out."""
        for _ in range(1000):
            assert subject.exec(["true"]).success


def _assert_reaped(bottle: Bottle, place: str) -> None:
    """Check that the pid of an orphan is free soon after its end, and was not before."""
    bottle.sh("rm -f pid; (sh -c 'echo $$ > pid; exec sleep 1' > /dev/null 2>&1 &)", cwd=place)
    assert wait_until(lambda: bottle.exists(f"{place}/pid"), timeout=5)
    assert bottle.sh("kill -0 $(cat pid)", cwd=place).success
    assert wait_until(lambda: not bottle.sh("kill -0 $(cat pid)", cwd=place).success, timeout=10)
