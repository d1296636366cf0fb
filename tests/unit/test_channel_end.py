"""The exec channel: how commands, clients and servers come to an end."""

from __future__ import annotations

import ast
import json
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.channel import frames
from pytest_bottle.backends.channel.client import Channel
from pytest_bottle.backends.channel.stream import SocketStream
from pytest_bottle.errors import ExecTimeoutError
from pytest_bottle.errors import SandboxLostError
from tests.unit.channel_guest import LOST
from tests.unit.channel_guest import MIB
from tests.unit.channel_guest import ON_A_SOCKET
from tests.unit.channel_guest import SOURCE
from tests.unit.channel_guest import eventually
from tests.unit.channel_guest import guest

__all__ = ["guest"]


class TestTimeout:
    def test_it_is_raised_on_time_with_what_was_written(self, guest):
        start = time.monotonic()
        with pytest.raises(ExecTimeoutError, match=r"after 0\.3 s") as caught:
            guest.sh("echo begun; echo trouble >&2; sleep 60", timeout=0.3)
        assert 0.3 <= time.monotonic() - start < 2
        assert (caught.value.stdout, caught.value.stderr) == (b"begun\n", b"trouble\n")

    @pytest.mark.parametrize(
        "how",
        [
            "sleep 60 &",
            "setsid sleep 60 &",
            "(setsid sleep 60 &);",
            "env -i setsid sleep 60 &",
            "(trap '' TERM INT HUP; sleep 60) &",
        ],
        ids=["child", "session", "orphan", "no-environment", "deaf"],
    )
    def test_everything_of_it_is_killed(self, guest, how):
        with pytest.raises(ExecTimeoutError):
            guest.sh(f"{how} sleep 60", timeout=0.3)
        assert eventually(lambda: [p.pid for p in guest.living()] == [])

    def test_others_are_left_alone(self, guest):
        beside = int(guest.sh("sleep 30 & echo $!").stdout)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(guest.sh, "sleep 0.8; echo done")
            with pytest.raises(ExecTimeoutError):
                guest.exec("sleep", "60", timeout=0.2)
            assert other.result().stdout == "done\n"
        assert psutil.Process(beside).name() == "sleep"


class TestInterrupt:
    @pytest.mark.parametrize("data", [None, bytes(200 * MIB)], ids=["waiting", "sending"])
    def test_an_interrupted_command_is_killed_and_the_channel_lives(self, guest, data):
        """As by Ctrl-C, or by a test's own time limit."""

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.4)
        try:
            with pytest.raises(KeyboardInterrupt):
                guest.sh("touch started; sleep 60", input=data)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert (guest.workdir / "started").exists()
        assert eventually(lambda: not [p for p in guest.living() if p.name() == "sleep"])
        assert guest.exec("echo", "alive").stdout == "alive\n"


class TestEnd:
    def test_a_lost_stream_is_a_lost_sandbox_for_all_that_wait(self, guest):
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(guest.exec, "sleep", "5") for _ in range(3)]
            assert eventually(lambda: len(guest.living()) >= 3)
            guest.process.kill()
            for one in waiting:
                with pytest.raises(SandboxLostError, match=LOST):
                    one.result(5)
        start = time.monotonic()
        with pytest.raises(SandboxLostError, match=LOST):
            guest.exec("true")
        with pytest.raises(SandboxLostError, match=LOST):
            guest.channel.detach()
        assert time.monotonic() - start < 5
        assert guest.channel.wait_ended(0)

    def test_a_client_that_goes_takes_its_commands_along(self, guest):
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(guest.sh, "setsid sleep 60")
            assert eventually(lambda: [p for p in guest.living() if p.name() == "sleep"])
            guest.channel.close()
            with pytest.raises(SandboxLostError):
                waiting.result(5)
        assert guest.process.wait(5) == 0
        assert eventually(lambda: guest.living() == [])

    def test_quit_ends_it_with_what_still_runs(self, guest):
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(guest.exec, "sleep", "60")
            assert eventually(lambda: [p for p in guest.living() if p.name() == "sleep"])
            guest.channel.quit()
            with pytest.raises(SandboxLostError):
                waiting.result(5)
        assert guest.process.wait(5) == 0
        assert eventually(lambda: guest.living() == [])

    def test_a_detached_server_outlives_its_client(self, guest):
        guest.channel.detach()
        guest.channel.close()
        with pytest.raises(subprocess.TimeoutExpired):
            guest.process.wait(0.3)
        guest.process.kill()

    def test_after_close_nothing_is_read_or_written(self, guest):
        guest.channel.close()
        guest.channel.close()
        with pytest.raises(SandboxLostError):
            guest.exec("true")
        guest.channel.quit()


class TestFurtherClients:
    def test_each_has_commands_of_its_own(self, tmp_path):
        """As for a bottle that several workers share: the end of one is not the end of another."""
        ours, theirs = socket.socketpair()
        script = ON_A_SOCKET.replace(
            "served.serve()",
            "import socket as s; one = s.socket(s.AF_UNIX); one.bind('exec.sock'); one.listen();"
            "served.listen(one); served.serve()",
        )
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", script, tmp_path, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=tmp_path,
        )
        theirs.close()
        first = Channel(SocketStream(ours), lost=lambda: LOST)
        first.wait_ready()
        first.detach()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(tmp_path / "exec.sock"))
        second = Channel(SocketStream(connection), lost=lambda: LOST)
        second.wait_ready()
        try:
            with ThreadPoolExecutor(1) as pool:
                request = ExecRequest(argv=("sh", "-c", "sleep 0.5; echo done"), timeout=10)
                waiting = pool.submit(second.exec, request)
                first.close()
                assert waiting.result().stdout == "done\n"
            second.quit()
            assert process.wait(5) == 0
        finally:
            process.kill()
            process.wait()
            second.close()


class TestSlowClient:
    def test_a_client_that_does_not_read_stops_the_writer(self, tmp_path):
        """Neither end keeps what the other does not take."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", ON_A_SOCKET, tmp_path, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        message: dict[str, Any] = {"argv": ["yes"], "env": {}, "cwd": None, "user": None}
        message["stdin"] = False
        payload = json.dumps(message).encode()
        ours.sendall(frames.HEADER.pack(len(payload), frames.SPAWN, 1) + payload)
        try:
            time.sleep(0.7)
            before = psutil.Process(process.pid).memory_info().rss
            time.sleep(0.7)
            assert psutil.Process(process.pid).memory_info().rss - before < MIB
            taken = 0
            while taken < 20 * MIB:
                assert select.select([ours], [], [], 5)[0]
                taken += len(ours.recv(MIB))
            ours.close()
            assert process.wait(5) == 0
        finally:
            process.kill()
            process.wait()


class TestHostileServer:
    """What a guest could answer if it had got hold of its end."""

    @pytest.mark.parametrize(
        "answer",
        [
            b"no frame at all " * 100,
            frames.HEADER.pack(2**32 - 1, frames.STDOUT, 1),
            frames.HEADER.pack(2, frames.DONE, 1) + b"[]",
            frames.HEADER.pack(2, frames.DONE, 1) + b"{}",
            frames.HEADER.pack(2, frames.FAILED, 1) + b"{}",
            frames.HEADER.pack(1, frames.HELLO, 1) + b"x",
        ],
        ids=["noise", "endless-frame", "list", "no-code", "no-stage", "no-json"],
    )
    def test_nonsense_is_a_lost_sandbox(self, answer):
        ours, theirs = socket.socketpair()
        channel = Channel(SocketStream(ours), lost=lambda: LOST)
        threading.Timer(0.1, theirs.sendall, [answer]).start()
        with pytest.raises(SandboxLostError):
            channel.exec(ExecRequest(argv=("true",), timeout=5))
        assert channel.wait_ended(1)
        theirs.close()
        channel.close()

    def test_silence_is_a_lost_sandbox(self):
        ours, theirs = socket.socketpair()
        channel = Channel(SocketStream(ours), lost=lambda: LOST)
        with pytest.raises(SandboxLostError, match=r"did not answer within 0\.1 s"):
            channel.wait_ready(0.1)
        theirs.close()
        channel.close()


def test_the_server_stands_on_its_own_in_any_guests_python():
    """It is sent as text: the standard library only, and the grammar of Python 3.7."""
    tree = ast.parse(SOURCE, feature_version=(3, 7))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= {*sys.stdlib_module_names, "__future__"}
