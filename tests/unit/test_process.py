"""Host processes: run to the end, started, and detached."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from pytest_bottle import process
from pytest_bottle.errors import ProcessStartError
from pytest_bottle.state.owner import Owner

DAEMON = (
    "import os, sys, time; print(os.getpid(), flush=True);"
    'os.write(int(sys.argv[1]), b"ready\\n"); time.sleep(30)'
)


def is_running(pid: int) -> bool:
    """Whether a process, which was sent SIGKILL, goes on."""
    try:
        return not Owner.of(pid).wait(5)
    except ProcessLookupError:
        return False


class TestRun:
    def test_returns_what_a_process_wrote_and_returned(self):
        done = process.run(["sh", "-c", "cat; echo oops >&2; exit 3"], input=b"hi\0", timeout=10)
        assert done == process.Completed(3, b"hi\0", b"oops\n")

    def test_without_input_it_reads_an_empty_stdin(self):
        assert process.run(["cat"], timeout=10).stdout == b""

    def test_environment_and_directory_are_the_ones_given(self, tmp_path):
        done = process.run(
            ["/bin/sh", "-c", "echo $A $HOME; pwd"], timeout=10, env={"A": "b"}, cwd=tmp_path
        )
        assert done.stdout.decode() == f"b\n{tmp_path}\n"

    def test_a_missing_program_is_a_file_not_found_error(self):
        with pytest.raises(FileNotFoundError):
            process.run(["no-such-program"], timeout=10)

    def test_a_timeout_kills_the_children_too(self, tmp_path):
        """The child holds the pipe open: nobody waits for it beyond the timeout."""
        child = tmp_path / "child"
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"no end after 0\.5 s"):
            process.run(["sh", "-c", f"sleep 60 & echo $! > {child}; wait"], timeout=0.5)
        assert time.monotonic() - began < 5
        assert not is_running(int(child.read_text()))


class TestStart:
    def test_a_started_process_leads_a_session_of_its_own(self):
        started = process.start(["sleep", "60"])
        try:
            assert os.getsid(started.pid) == started.pid
        finally:
            started.kill()
            started.wait()

    def test_descriptors_are_passed_on_by_number(self):
        reader, writer = os.pipe()
        started = process.start(["sh", "-c", f"echo passed > /dev/fd/{writer}"], pass_fds=(writer,))
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            assert pipe.read() == b"passed\n"
        assert started.wait() == 0


class TestDaemon:
    def test_it_is_ready_on_return_and_not_our_child(self, tmp_path):
        log = tmp_path / "log"
        process.start_daemon(
            [sys.executable, "-c", DAEMON, process.READY_FD], ready_timeout=10, log=log
        )
        pid = int(log.read_text())
        daemon = Owner.of(pid)
        try:
            assert os.getsid(pid) != os.getsid(0)
            assert Path(f"/proc/{pid}/stat").read_text().split()[3] != str(os.getpid())
            assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
            with pytest.raises(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        finally:
            assert daemon.kill()
        assert daemon.wait(5)

    def test_one_that_dies_before_it_is_ready_says_why(self, tmp_path):
        with pytest.raises(ProcessStartError, match=r"ended before it was ready(?s:.*)no luck"):
            process.start_daemon(
                ["sh", "-c", "echo no luck >&2", process.READY_FD],
                ready_timeout=10,
                log=tmp_path / "log",
            )

    def test_one_that_stays_silent_is_killed(self, tmp_path):
        log = tmp_path / "log"
        with pytest.raises(ProcessStartError, match="was not ready in time"):
            process.start_daemon(
                ["sh", "-c", "echo $$; exec sleep 60", process.READY_FD], ready_timeout=0.5, log=log
            )
        assert not is_running(int(log.read_text()))
