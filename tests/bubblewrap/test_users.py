"""Who a sandbox runs as: on the host nobody that matters, in the guest without any power."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_bottle.backends.bubblewrap.backend import UNPRIVILEGED_BASE
from pytest_bottle.errors import UserUnsupportedError

pytestmark = pytest.mark.bottle_requires("bubblewrap")
NOBODY = "65534"
"""Where a container has no other uid to give."""

AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root has a uid to give up")


def status(pid: int, field: str) -> list[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (found,) = [line for line in lines if line.startswith(f"{field}:")]
    return found.split()[1:]


@AS_ROOT
def test_no_process_of_a_sandbox_is_root_on_the_host(box):
    for process in (box.keeper, box.init):
        (uid,) = set(status(process, "Uid"))
        assert int(uid) >= UNPRIVILEGED_BASE or uid == NOBODY
        assert status(process, "Groups") == []


@AS_ROOT
def test_two_sandboxes_have_two_uids(launch):
    """Neither could touch the other's processes, even outside of its walls."""
    first, second = (status(launch().init, "Uid") for _ in range(2))
    assert first != second or first[0] == NOBODY


def test_a_command_has_no_capability_and_can_gain_none(launch):
    """Nor has the guest's root."""
    for user in (None, "root"):
        lines = launch(user=user).exec("cat", "/proc/self/status").stdout
        for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert f"{field}:\t0000000000000000\n" in lines


def test_the_default_user_is_an_ordinary_one(box):
    assert "uid=1000(bottle) gid=1000(bottle)" in box.exec("id").stdout
    assert box.sandbox.guest.home == "/home/bottle"
    assert box.sh("cd && pwd && touch here && test -O .").stdout == "/home/bottle\n"


def test_the_plans_user_is_the_guests(launch):
    root = launch(user="root")
    assert root.sh("id -un; id -u; echo $HOME").stdout == "root\n0\n/root\n"
    named = launch(user="reviewer")
    assert named.sh("id -un; echo $USER $HOME").stdout == "reviewer\nreviewer /home/reviewer\n"


def test_a_sandbox_has_one_user(box):
    for same in ("bottle", "1000", None):
        assert box.exec("true", user=same).success
    with pytest.raises(UserUnsupportedError, match="one user, 'bottle'"):
        box.exec("true", user="root")


def test_a_guest_cannot_write_kernel_settings(launch):
    """As its root neither."""
    box = launch(user="root")
    assert "Read-only file system" in box.sh("echo x > /proc/sys/kernel/hostname").stderr


def test_a_guest_sees_only_its_own_processes(box):
    pids = box.sh("ls /proc | grep '^[0-9]*$'").stdout.split()
    assert "1" in pids
    assert all(int(pid) < 100 for pid in pids)
    assert str(box.keeper) not in pids
