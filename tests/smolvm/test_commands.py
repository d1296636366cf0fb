"""What commands in a microVM are and leave, beyond what every backend promises."""

from __future__ import annotations

import pytest

from pytest_bottle.testing.conformance.heartbeat import Heartbeat

MIB = 1024 * 1024


def test_each_user_runs_commands(reviewer):
    """Through the one server, which is root's."""
    for user in ("root", "nobody", "65534"):
        name = "nobody" if user == "65534" else user
        assert reviewer.exec(["id", "-un"], user=user).stdout == f"{name}\n"


def test_a_user_without_a_name_runs_commands(reviewer):
    assert reviewer.exec(["id", "-u"], user="4711").stdout == "4711\n"


def test_the_guest_cannot_kill_the_server(reviewer):
    """Not even its root."""
    reviewer.sh("kill -9 -1; kill -9 1; kill -STOP 1")
    assert reviewer.sh("echo alive").stdout == "alive\n"


def test_no_process_is_left_after_a_timeout(reviewer):
    beats = Heartbeat(reviewer, reviewer.workdir, "beats-of-a-timeout")
    with pytest.raises(TimeoutError):
        reviewer.sh(f"(setsid sh -c '{beats.script}' &) ; sleep 60", timeout=3)
    assert beats.has_ended()
    reviewer.exec(["rm", "-f", "beats-of-a-timeout"])


def test_limits_bound_all_that_a_bottle_runs(reviewer):
    group = "/sys/fs/cgroup" + reviewer.sh("cut -d: -f3 /proc/self/cgroup").stdout.strip()
    assert reviewer.read_file(f"{group}/memory.max") == f"{512 * MIB}\n"
    assert reviewer.read_file(f"{group}/pids.max") == "512\n"


def test_the_engines_own_variables_are_not_there(reviewer):
    names = {line.partition("=")[0] for line in reviewer.exec(["env"]).stdout.splitlines()}
    assert not {name for name in names if name.startswith("SMOLVM")}
