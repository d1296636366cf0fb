"""What a sandbox can do to the host's programs that it sees: change them for itself alone."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytest_bottle
from pytest_bottle.plan import Limits
from tests.bubblewrap.conftest import eventually
from tests.bubblewrap.test_death import broker
from tests.bubblewrap.test_death import bwrap
from tests.bubblewrap.test_death import keeper

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.bottle_requires("bubblewrap")
MIB = 1024 * 1024
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="the programs are root's")

PACKAGES = [Path(pytest_bottle.__file__).parents[1], Path(__file__).parents[2]]

MOUNTED = """\
import contextlib, subprocess, sys
from pathlib import Path
from pytest_bottle.backends.bubblewrap.backend import BubblewrapBackend
from tests.bubblewrap.conftest import Box, make_plan

place, state = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
Path(place, "mounted").touch()
backend, plan = BubblewrapBackend(), make_plan(Path(state))
backend.prepare(plan)
with contextlib.ExitStack() as stack:
    stack.callback(backend.shutdown)
    box = Box(plan, backend.launch(plan))
    stack.callback(box.sandbox.stop)
    print(box.exec("ls", place).stdout, end="")
    print(box.sh(f"touch {place}/new").stderr, end="")
"""
"""A program that looks at a directory through a sandbox, once something is mounted there."""


@pytest.fixture
def name() -> str:
    """Of a file that no directory of the host has."""
    return f"bottle-{secrets.token_hex(8)}"


@pytest.mark.parametrize("directory", ["/usr", "/usr/local/bin", "/etc/ssl/certs"])
def test_a_new_file_is_the_sandboxs_alone(launch, name, directory):
    path = f"{directory}/{name}"
    box = launch()
    box.sh(f"echo own > {path}").check()
    assert box.exec("cat", path).stdout == "own\n"
    assert not Path(path).exists()
    assert not launch().exec("test", "-e", path).success


def test_a_new_program_is_run(box, name):
    path = f"/usr/local/bin/{name}"
    box.sh(f"printf '#!/bin/sh\\necho runs' > {path} && chmod +x {path}").check()
    assert box.exec(name).stdout == "runs\n"


def test_what_programs_read_of_etc_is_changed(box):
    before = Path("/etc/services").read_bytes()
    box.sh("echo own 9/tcp >> /etc/services && tail -n 1 /etc/services").check()
    assert Path("/etc/services").read_bytes() == before


@pytest.mark.parametrize("directory", ["/usr/local/bin", "/etc/ssl/certs", "/workspace"])
def test_the_disk_limit_holds_there(launch, name, directory):
    box = launch(limits=Limits(disk=8 * MIB))
    assert not box.sh(f"head -c {32 * MIB} /dev/zero > {directory}/{name}").success
    assert "No space left" in box.sh("head -c 100000 /dev/zero > /tmp/more").stderr


def test_the_memory_limit_holds_there(launch, name):
    """What is written is memory of the sandbox's own."""
    box = launch(limits=Limits(memory=64 * MIB, pids=50))
    if not any("memory" in str(group) for group in box.groups):
        pytest.skip("no memory controller on this host")
    assert not box.sh(f"head -c {256 * MIB} /dev/zero > /usr/local/bin/{name}").success


class TestPermissions:
    """What belongs to others is as it is on any machine, whoever starts the sandbox."""

    def test_a_program_is_not_changed(self, box):
        assert "Permission denied" in box.sh("echo more >> /usr/bin/env").stderr

    def test_a_program_is_removed_and_made_anew(self, box, launch):
        box.sh("cp /bin/true /tmp/env && rm -f /usr/bin/env && mv /tmp/env /usr/bin/env").check()
        assert box.exec("env", "false").success
        assert launch().exec("env", "false").returncode == 1

    def test_the_guests_root_can_do_so_too(self, launch, name):
        launch(user="root").sh(f"touch /usr/bin/{name} && rm -f /usr/bin/env").check()
        assert not Path(f"/usr/bin/{name}").exists()

    @AS_ROOT
    @pytest.mark.parametrize("directory", ["/usr/lib", "/usr/local/etc"])
    def test_what_root_closed_to_others_stays_closed(self, launch, name, directory):
        secret = Path(directory) / name
        secret.touch(0o600)
        try:
            secret.write_text("secret")
            box = launch()
            assert "Permission denied" in box.exec("cat", str(secret)).stderr
            assert "Permission denied" in box.sh(f"mv {secret} /tmp/moved; cat /tmp/moved").stderr
        finally:
            secret.unlink()

    @AS_ROOT
    def test_a_directory_with_mounts_in_it_is_read_only(self, probe, name, tmp_path):
        """What a mount covers must not come to light."""
        if not probe.ok:
            pytest.skip(f"{probe.detail}. {probe.fix}")
        place = Path("/usr/local") / name
        place.mkdir()
        try:
            (place / "covered").touch()
            # In mounts of its own: sandboxes of other tests see the host as it is.
            unshare = ["unshare", "--mount", "--propagation", "private"]
            program = [sys.executable, "-c", MOUNTED, str(place), str(tmp_path)]
            done = subprocess.run(
                [*unshare, *program],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PACKAGES))},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
        finally:
            (place / "covered").unlink()
            place.rmdir()
        assert done.returncode == 0, done.stderr
        listed, refused = done.stdout.splitlines()
        assert listed == "mounted"
        assert "Read-only file system" in refused


class TestRefused:
    """Where a host refuses overlays, its programs are read-only."""

    @pytest.fixture
    def box(self, backend, launch):
        backend._refused.add(None)
        return launch()

    def test_a_sandbox_opens_and_nothing_of_the_host_is_written(self, box, name):
        assert "Read-only file system" in box.sh(f"touch /usr/bin/{name}").stderr
        box.sh("touch ~/own /tmp/own own /own").check()

    def test_the_probe_says_so(self, backend):
        backend._refused.add(None)
        assert "the host's programs are read-only" in backend.probe().detail


def mount_namespaces() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/ns/mnt"):
        with contextlib.suppress(OSError):  # It has ended, or is another's.
            yield str(path.readlink())


@pytest.mark.parametrize("victim", [None, broker, keeper, bwrap])
def test_no_mount_namespace_remains(box, victim):
    """Nor with it a mount, whatever of the sandbox is killed."""
    own = {str(Path(f"/proc/{pid}/ns/mnt").readlink()) for pid in (box.init, bwrap(box))}
    assert len(own) == 2, "bwrap's, where it finds what was staged for it, and the guest's"
    assert own <= set(mount_namespaces())
    assert str(Path("/proc/self/ns/mnt").readlink()) not in own
    if victim is None:
        box.sandbox.stop()
    else:
        os.kill(victim(box), signal.SIGKILL)
    assert eventually(lambda: not own & set(mount_namespaces()))
    assert " /sys tmpfs " not in Path("/proc/self/mounts").read_text()
