"""The exec channel: a real server in a process of its own, over pipes and over a socket."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import psutil
import pytest

from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.base import ExecResult
from pytest_bottle.backends.channel import server
from pytest_bottle.backends.channel.client import Channel
from pytest_bottle.backends.channel.stream import PipeStream
from pytest_bottle.backends.channel.stream import SocketStream
from pytest_bottle.errors import ExecTimeoutError
from pytest_bottle.errors import OutputLimitError
from pytest_bottle.errors import SandboxLostError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

MIB = 1024 * 1024
SOURCE = Path(server.__file__).read_text()
ON_A_SOCKET = f"""{SOURCE.rpartition("if __name__")[0]}
served = Server({{"PATH": BASE_PATH}}, sys.argv[1])
served.connect(int(sys.argv[2]), int(sys.argv[2]))
served.serve()
for command in list(served.execs.values()):
    served.kill(command)
"""
LOST = "the guest of this test went away"


class Guest:
    """A server's process and the channel to it."""

    def __init__(self, process: subprocess.Popen[bytes], channel: Channel, workdir: Path) -> None:
        self.process = process
        self.channel = channel
        self.workdir = workdir

    def exec(self, *argv: str, **fields: Any) -> ExecResult:
        return self.channel.exec(ExecRequest(argv=argv, **{"timeout": 20, **fields}))

    def sh(self, script: str, **fields: Any) -> ExecResult:
        return self.exec("/bin/sh", "-c", script, **fields)

    def living(self) -> list[psutil.Process]:
        """Return the processes that call this guest's workdir their own and are no zombies."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(self.workdir) and process.status() != "zombie":
                    found.append(process)
        return found


def eventually(true: Callable[[], object], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def start_on_pipes(workdir: Path) -> tuple[subprocess.Popen[bytes], Channel]:
    """As in a container: the program is sent as text, the stream is its stdin and stdout."""
    settings = json.dumps({"env": {"PATH": server.BASE_PATH}, "workdir": str(workdir)})
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", SOURCE, settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stream = PipeStream(os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno()))
    process.stdin.close()
    process.stdout.close()
    return process, Channel(stream, lost=lambda: LOST)


def start_on_socket(workdir: Path) -> tuple[subprocess.Popen[bytes], Channel]:
    """As for bubblewrap: one descriptor for both directions."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", ON_A_SOCKET, workdir, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    return process, Channel(SocketStream(ours), lost=lambda: LOST)


@pytest.fixture(params=[start_on_pipes, start_on_socket], ids=["pipes", "socket"])
def guest(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guest]:
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    process, channel = request.param(workdir)
    guest = Guest(process, channel, workdir)
    channel.wait_ready()
    yield guest
    channel.quit()
    try:
        process.wait(10)
    finally:
        process.kill()
        process.wait()
        channel.close()
        for left in guest.living():
            left.kill()


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

    def test_environment_is_added_and_the_servers_own_is_not_seen(self, guest):
        result = guest.exec("env", env={"A": "b\nc=d"})
        assert "A=b\nc=d\n" in result.stdout
        assert {line.partition("=")[0] for line in result.stdout.splitlines()} - {"c"} <= {
            "A",
            "PATH",
            server.TAG,
            *os.environ,
        }

    def test_no_descriptor_and_no_signal_setting_is_inherited(self, guest):
        assert guest.exec("ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]
        status = guest.exec("cat", "/proc/self/status").stdout
        for field in ("SigIgn", "SigBlk"):
            assert f"{field}:\t0000000000000000\n" in status

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
        assert psutil.Process(int(result.stdout)).name() == "sleep"

    def test_one_that_writes_without_end_does_not_either(self, guest):
        start = time.monotonic()
        assert guest.sh("yes & sleep 0.1; exit 4", output_limit=100 * MIB).returncode == 4
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
        with pytest.raises(OutputLimitError, match="stdout of 'yes' is larger.*1000 bytes"):
            guest.exec("yes", output_limit=1000)
        assert eventually(lambda: not [p for p in guest.living() if p.name() == "yes"])

    def test_truncation_keeps_the_beginning_and_lets_it_end(self, guest):
        result = guest.sh(
            "printf abc; head -c 3000000 /dev/zero; exit 7", output_limit=5, truncate=True
        )
        assert (result.stdout_bytes, result.returncode) == (b"abc\0\0", 7)
        assert (result.stdout_truncated, result.stderr_truncated) == (True, False)


class TestTimeout:
    def test_it_is_raised_on_time_with_what_was_written(self, guest):
        start = time.monotonic()
        with pytest.raises(ExecTimeoutError, match=r"after 0\.5 s") as caught:
            guest.sh("echo begun; echo trouble >&2; sleep 60", timeout=0.5)
        assert 0.5 <= time.monotonic() - start < 2
        assert (caught.value.stdout, caught.value.stderr) == (b"begun\n", b"trouble\n")

    @pytest.mark.parametrize(
        "how",
        [
            "sleep 60 &",
            "setsid sleep 60 &",
            "(setsid sleep 60 &)",
            "env -i setsid sleep 60 &",
            "(trap '' TERM INT HUP; sleep 60) &",
        ],
        ids=["child", "session", "orphan", "no-environment", "deaf"],
    )
    def test_everything_of_it_is_killed(self, guest, how):
        with pytest.raises(ExecTimeoutError):
            guest.sh(f"{how} echo up; sleep 60", timeout=0.5)
        assert eventually(lambda: [p.pid for p in guest.living()] == [])

    def test_others_are_left_alone(self, guest):
        beside = int(guest.sh("sleep 30 & echo $!").stdout)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(guest.sh, "sleep 1.5; echo done")
            with pytest.raises(ExecTimeoutError):
                guest.exec("sleep", "60", timeout=0.3)
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
            guest.process.wait(0.5)
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
                request = ExecRequest(argv=("sh", "-c", "sleep 1; echo done"), timeout=10)
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
        message = {"argv": ["yes"], "env": {}, "cwd": None, "stdin": False}
        payload = json.dumps(message).encode()
        ours.sendall(server.HEADER.pack(len(payload), server.SPAWN, 1) + payload)
        try:
            time.sleep(1)
            before = psutil.Process(process.pid).memory_info().rss
            time.sleep(1)
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
            server.HEADER.pack(2**32 - 1, server.STDOUT, 1),
            server.HEADER.pack(2, server.DONE, 1) + b"[]",
            server.HEADER.pack(2, server.DONE, 1) + b"{}",
            server.HEADER.pack(2, server.FAILED, 1) + b"{}",
            server.HEADER.pack(1, server.HELLO, 1) + b"x",
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
