"""A person's command in a running sandbox, by the command line that failure reports print."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_bottle.errors import SandboxLostError
from tests.bubblewrap.conftest import commands_in
from tests.bubblewrap.conftest import eventually

pytestmark = [
    pytest.mark.bottle_requires("bubblewrap"),
    pytest.mark.bottle(backend="bubblewrap", scope="module", memory="256 MiB", pids=50),
]


def enter(bottle, *argv: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_bottle", "enter", bottle.name, "--", *argv],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        **options,
    )


def test_it_is_the_same_guest(bottle):
    bottle.write_file("file", "x")
    done = enter(bottle, "sh", "-c", 'cat file; pwd; id -un; echo "$HOME $0 $1"', "a b", "-c")
    assert done.stdout == f"x{bottle.workdir}\n{bottle.user}\n{bottle.home} a b -c\n"
    assert done.stderr == ""


def test_the_printed_line_opens_a_shell(bottle):
    line = bottle.connection()
    done = subprocess.run(
        shlex.split(line),
        input="echo in $PWD; exit 4\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 4
    assert f"in {bottle.workdir}\n" in done.stdout


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -KILL $$", 137)])
def test_the_exit_status_is_the_commands(bottle, script, code):
    assert enter(bottle, "sh", "-c", script).returncode == code


def test_a_command_that_is_not_there_is_told(bottle):
    done = enter(bottle, "no-such-command")
    assert (done.returncode, done.stderr) == (
        127,
        "pytest-bottle: no-such-command: No such file or directory\n",
    )


def test_commands_are_looked_up_in_the_path_alone(bottle):
    """The guest's own files are not run in the place of its tools."""
    bottle.write_file("ls", "#!/bin/sh\necho planted\n", mode=0o755)
    assert enter(bottle, "ls").stdout != "planted\n"
    assert enter(bottle, "./ls").stdout == "planted\n"


def test_it_is_confined_as_the_tests_commands_are(bottle):
    """No capability, no new privilege, under the filter, the same namespaces, uid and groups."""
    fields = ("Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp:")
    script = "cat /proc/self/status; readlink /proc/self/ns/*; cat /proc/self/cgroup"

    def shown(text: str) -> list[str]:
        lines = text.splitlines()
        return [line for line in lines if "\t" not in line or line.startswith(fields)]

    own = shown(bottle.sh(script).stdout)
    assert shown(enter(bottle, "sh", "-c", script).stdout) == own
    assert any(line.startswith("CapEff:\t0000000000000000") for line in own)


def test_it_counts_for_the_sandboxes_limits(bottle):
    groups = [Path(path) for path in bottle.sandbox.reference()["keeper"]["cgroups"]]
    if not groups:
        pytest.skip("this host lets nobody make control groups here")
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest_bottle",
            "enter",
            bottle.name,
            "--",
            "sh",
            "-c",
            "echo $$ > pid; echo up; exec sleep 60",
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert eventually(lambda: all("sleep" in commands_in(group) for group in groups))
        bottle.sh("kill $(cat pid)").check()
        assert process.wait(10) == 143


@pytest.mark.skipif(os.getuid() != 0, reason="only root has a uid to give up")
def test_the_helper_is_not_root_while_it_waits(bottle):
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest_bottle",
            "enter",
            bottle.name,
            "--",
            "sh",
            "-c",
            "echo up; read -r line",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        (uids,) = [line.split()[1:] for line in lines if line.startswith("Uid:")]
        assert "0" not in uids
        process.communicate("\n")
        assert process.returncode == 0


def test_a_sandbox_that_is_gone_is_told(bottle_factory):
    bottle = bottle_factory(backend="bubblewrap")
    os.kill(int(bottle.sandbox.reference()["keeper"]["owner"].partition(":")[0]), 9)
    with pytest.raises(SandboxLostError):
        bottle.exec(["true"])
    done = enter(bottle, "true")
    assert done.returncode == 1
    assert "the bubblewrap sandbox ended" in done.stderr
