"""Commands in containers, with and without Python in the image."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import ExecTimeoutError
from pytest_bottle.errors import OutputLimitError
from pytest_bottle.errors import UserUnsupportedError
from tests.docker.conftest import processes
from tests.docker.conftest import run
from tests.docker.conftest import sh

if TYPE_CHECKING:
    from pytest_bottle.backends.docker.sandbox import DockerSandbox


def test_output_and_return_code_come_back(sandbox: DockerSandbox):
    result = sh(sandbox, "printf out; printf err >&2; exit 3")
    assert (result.stdout, result.stderr, result.returncode) == ("out", "err", 3)


def test_a_signal_is_128_and_its_number(sandbox: DockerSandbox):
    result = sh(sandbox, "kill -9 $$")
    assert (result.returncode, result.stderr) == (137, "")


@pytest.mark.parametrize(
    ("command", "returncode"), [("no-such-command", 127), ("/etc/passwd", 126), ("exit", 127)]
)
def test_what_cannot_be_run_is_a_result(sandbox: DockerSandbox, command: str, returncode: int):
    assert run(sandbox, command).returncode == returncode


def test_the_working_directory_is_the_plans(sandbox: DockerSandbox):
    assert run(sandbox, "pwd").stdout == "/workspace\n"


def test_a_relative_directory_is_below_the_workdir(sandbox: DockerSandbox):
    run(sandbox, "mkdir", "-p", "below").check()
    assert run(sandbox, "pwd", cwd="below").stdout == "/workspace/below\n"


@pytest.mark.parametrize(
    ("cwd", "error"), [("/missing", FileNotFoundError), ("/etc/passwd", NotADirectoryError)]
)
def test_a_wrong_directory_is_the_hosts_own_error(sandbox, cwd, error):
    with pytest.raises(error):
        run(sandbox, "true", cwd=cwd)


def test_variables_are_added(sandbox: DockerSandbox):
    result = sh(sandbox, 'echo "$WORD" "$USER" "$HOME"', env={"WORD": "two words"})
    assert result.stdout == "two words root /root\n"


def test_stdin_ends_where_the_input_ends(sandbox: DockerSandbox):
    data = bytes(range(256)) * 4096 * 20
    result = run(sandbox, "md5sum", input=data)
    assert result.stdout.split()[0] == hashlib.md5(data).hexdigest()


def test_a_command_may_ignore_its_stdin(sandbox: DockerSandbox):
    assert run(sandbox, "true", input=b"x" * (20 << 20)).success


def test_without_input_stdin_is_empty(sandbox: DockerSandbox):
    assert run(sandbox, "cat", timeout=5).stdout == ""


def test_bytes_pass_unchanged(sandbox: DockerSandbox):
    data = bytes(range(256)) * 1000
    assert run(sandbox, "cat", input=data).stdout_bytes == data


def test_a_timeout_kills_all_that_was_started(sandbox: DockerSandbox):
    start = time.monotonic()
    with pytest.raises(ExecTimeoutError) as caught:
        sh(sandbox, "echo begun; env -i setsid sleep 4321 & sleep 4321", timeout=1)
    assert time.monotonic() - start < 4
    assert caught.value.stdout == b"begun\n"
    assert "sleep 4321" not in processes(sandbox)


def test_a_daemon_does_not_keep_its_command_from_ending(sandbox: DockerSandbox):
    start = time.monotonic()
    assert sh(sandbox, "sleep 30 & echo started").stdout == "started\n"
    assert time.monotonic() - start < 1.5
    assert "sleep 30" in processes(sandbox)


def test_too_much_output_stops_the_command(sandbox: DockerSandbox):
    with pytest.raises(OutputLimitError, match="stdout"):
        run(sandbox, "yes", output_limit=100_000)
    assert "yes" not in processes(sandbox)


def test_truncated_output_is_the_beginning(sandbox: DockerSandbox):
    result = sh(sandbox, "seq 100000; exit 4", output_limit=4, truncate=True)
    assert (result.stdout, result.returncode, result.stdout_truncated) == ("1\n2\n", 4, True)


def test_another_user_may_be_asked_for(sandbox: DockerSandbox):
    result = sh(sandbox, "id -un; echo $USER", user="nobody")
    assert result.stdout == "nobody\nnobody\n"
    assert run(sandbox, "id", "-u", user="4321").stdout == "4321\n"


def test_a_user_that_does_not_exist_is_the_authors_error(sandbox: DockerSandbox):
    with pytest.raises(UserUnsupportedError, match="nosuchuser"):
        run(sandbox, "true", user="nosuchuser")


def test_another_users_command_is_killed_as_well(sandbox: DockerSandbox):
    with pytest.raises(ExecTimeoutError):
        sh(sandbox, "sleep 1234 & sleep 1234", user="nobody", timeout=0.5)
    assert "sleep 1234" not in processes(sandbox)


def test_many_commands_at_once_keep_their_outputs_apart(sandbox: DockerSandbox):
    barrier = threading.Barrier(8)

    def echo(number: int) -> str:
        barrier.wait()
        return sh(sandbox, f"sleep 0.1; echo {number}").stdout

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(echo, range(8))) == [f"{number}\n" for number in range(8)]


def test_a_long_command_line_passes(sandbox: DockerSandbox):
    words = ["x" * 100_000] * 10
    assert sh(sandbox, 'printf %s "$@" | wc -c', timeout=20).stdout == "0\n"
    result = run(sandbox, "sh", "-c", 'printf %s "$@" | wc -c', "sh", *words)
    assert result.stdout == "1000000\n"


def test_orphans_are_reaped(sandbox: DockerSandbox):
    sh(sandbox, "(sh -c 'sleep 0.1 & exec true' &)").check()
    time.sleep(0.5)
    assert sh(sandbox, "grep -l '^State:.Z' /proc/[0-9]*/status").stdout == ""
