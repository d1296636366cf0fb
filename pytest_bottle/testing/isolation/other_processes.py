"""Attempts to see or signal processes outside of the bottle."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bottle import process
from pytest_bottle.testing.conformance.heartbeat import wait_until
from pytest_bottle.testing.isolation.walled import WalledSubject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.conformance.subject import Launch

COMMAND_LINES = """\
for file in /proc/[0-9]*/cmdline; do
    tr '\\000' ' ' < "$file" 2> /dev/null
    echo
done | grep -c -F -f patterns
"""
"""The pattern is in a file: as an argument it would find itself."""


class OtherProcessChecks(WalledSubject):
    """The guest's processes are the only ones that it knows of."""

    @pytest.fixture
    def victim(self, canary: str) -> Iterator[process.Process]:
        """Start a process of the host with the canary in its command line."""
        program = "import time; print('up', flush=True); time.sleep(600)"
        with process.start([sys.executable, "-c", program, canary], stdout=process.PIPE) as victim:
            assert victim.stdout is not None
            assert victim.stdout.readline() == b"up\n"
            yield victim
            victim.kill()

    def test_a_process_of_the_host_is_not_seen(
        self, subject: Bottle, place: str, canary: str, victim: process.Process
    ) -> None:
        """One of the guest's own is."""
        subject.write_file(f"{place}/patterns", f"{canary}\n")
        seen_by_host = Path(f"/proc/{victim.pid}/cmdline")
        if seen_by_host.exists():
            assert canary.encode() in seen_by_host.read_bytes()
        assert subject.sh(COMMAND_LINES, cwd=place).stdout == "0\n"
        subject.sh("exec sh -c 'sleep 60; true' $(cat patterns) > /dev/null 2>&1 &", cwd=place)
        assert wait_until(
            lambda: subject.sh(COMMAND_LINES, cwd=place).stdout != "0\n", timeout=10 * self.patience
        )

    def test_a_process_of_the_host_cannot_be_signalled(
        self, subject: Bottle, victim: process.Process
    ) -> None:
        """Not by its number; the host itself can."""
        for signal in ("TERM", "KILL", "STOP"):
            subject.sh(f"kill -{signal} {victim.pid} 2> /dev/null")
        assert victim.poll() is None
        victim.terminate()
        assert victim.wait(10) != 0

    def test_a_process_of_the_host_cannot_be_looked_into(
        self, subject: Bottle, canary: str, victim: process.Process
    ) -> None:
        """Neither its command line nor its root, by its number."""
        shown = subject.sh(f"cat /proc/{victim.pid}/cmdline; ls /proc/{victim.pid}/root")
        assert canary not in shown.stdout
        own = subject.sh("cat /proc/self/cmdline")
        assert "cat" in own.stdout

    def test_killing_everything_kills_nothing_of_the_host(
        self, launch: Launch, victim: process.Process
    ) -> None:
        """`kill -9 -1` reaches the guest's own processes, and no other bottle's."""
        one, other = launch(), launch()
        for bottle in (one, other):
            bottle.sh("sleep 300 > /dev/null 2>&1 & echo $! > pid").check()
            assert bottle.sh("kill -0 $(cat pid)").success
        one.sh("kill -9 -1", timeout=20 * self.patience)
        assert wait_until(
            lambda: not one.sh("kill -0 $(cat pid)").success, timeout=10 * self.patience
        )
        assert other.sh("kill -0 $(cat pid)").success
        assert victim.poll() is None

    def test_the_hosts_abstract_sockets_are_not_seen(self, subject: Bottle, canary: str) -> None:
        """Those unix sockets have no file that a mount could hide."""
        listener = socket.socket(socket.AF_UNIX)
        with contextlib.closing(listener):
            listener.bind(f"\0{canary}")
            listener.listen()
            assert canary in Path("/proc/net/unix").read_text()
            assert canary not in subject.sh("cat /proc/net/unix").stdout
            script = """
import socket
def connect(name):
    try:
        socket.socket(socket.AF_UNIX).connect(name)
    except OSError as problem:
        return type(problem).__name__
    return "connected"
own = socket.socket(socket.AF_UNIX)
own.bind("\\0own-canary")
own.listen()
print(json.dumps([connect("\\0own-canary"), connect("\\0" + arguments[0])]))
"""
            outcome = self.run_python(subject, script, canary)
        assert outcome == ["connected", "ConnectionRefusedError"]

    def test_the_guest_has_its_own_process_numbers(self, subject: Bottle) -> None:
        """The test's own process is not among them."""
        script = f"readlink /proc/{os.getpid()}/exe; readlink /proc/self/ns/pid"
        shown = subject.sh(script).stdout
        assert "python" not in shown
        assert str(Path("/proc/self/ns/pid").readlink()) not in shown
