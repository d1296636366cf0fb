"""Limits of a sandbox by control groups: written, felt, and gone with it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from pytest_bottle.backends.base import Resource
from pytest_bottle.backends.bubblewrap import cgroup
from pytest_bottle.backends.bubblewrap.backend import CGROUP_KIND
from pytest_bottle.errors import TeardownError
from pytest_bottle.plan import Limits
from tests.bubblewrap.conftest import commands_in
from tests.bubblewrap.conftest import eventually
from tests.bubblewrap.conftest import make_plan

pytestmark = pytest.mark.bottle_requires("bubblewrap")
MIB = 1024 * 1024


@pytest.fixture
def hierarchy() -> cgroup.Hierarchy:
    found = cgroup.find_hierarchy()
    if found is None:
        pytest.skip("this host lets nobody make control groups here")
    return found


@pytest.fixture
def needs(hierarchy):
    """Skip a test where the host does not have a controller."""

    def check(controller: str) -> None:
        if controller not in hierarchy.parents:
            pytest.skip(f"no {controller} controller on this host")

    return check


def written(group: Path, *names: str) -> str:
    """Return what is in the first of the files that is there."""
    return next((group / name).read_text().strip() for name in names if (group / name).exists())


def test_limits_are_written_in_either_versions_files(hierarchy):
    name = f"limits-{os.getpid()}"
    fds = cgroup.create(hierarchy, name, Limits(memory=64 * MIB, pids=17, cpus=0.5))
    try:
        for controller, files, value in (
            ("memory", ("memory.max", "memory.limit_in_bytes"), str(64 * MIB)),
            ("pids", ("pids.max",), "17"),
            ("cpu", ("cpu.max", "cpu.cfs_quota_us"), "50000"),
        ):
            if controller in hierarchy.parents:
                group = hierarchy.parents[controller] / name
                assert written(group, *files).split()[0] == value
        assert len(fds) == len(hierarchy.paths(name))
    finally:
        for fd in fds:
            os.close(fd)
        cgroup.remove(hierarchy.paths(name))
    assert not any(path.exists() for path in hierarchy.paths(name))


def test_what_is_not_limited_is_not_written(hierarchy, needs):
    needs("pids")
    name = f"limits-{os.getpid()}"
    for fd in cgroup.create(hierarchy, name, Limits()):
        os.close(fd)
    try:
        assert written(hierarchy.parents["pids"] / name, "pids.max") == "max"
    finally:
        cgroup.remove(hierarchy.paths(name))


def test_a_refused_limit_leaves_no_group(hierarchy, needs):
    needs("pids")
    name = f"limits-{os.getpid()}"
    with pytest.raises(OSError, match="Invalid argument"):
        cgroup.create(hierarchy, name, Limits(pids=-5))
    assert not any(path.exists() for path in hierarchy.paths(name))


def test_removing_what_is_not_there_is_fine(hierarchy):
    cgroup.remove(hierarchy.paths("never-made"))


def test_a_group_in_use_is_not_removed_and_says_so(hierarchy, monkeypatch):
    monkeypatch.setattr(cgroup, "_REMOVE_DEADLINE", 0.2)
    name = f"busy-{os.getpid()}"
    for fd in cgroup.create(hierarchy, name, Limits()):
        os.close(fd)
    paths = hierarchy.paths(name)
    with subprocess.Popen(["sleep", "60"]) as process:
        for path in paths:
            (path / "cgroup.procs").write_text(str(process.pid))
        with pytest.raises(TeardownError, match="still in use"):
            cgroup.remove(paths)
        cgroup.remove(paths, kill=True)
        assert process.wait(5) == -9
    assert not any(path.exists() for path in paths)


class TestSandbox:
    def test_its_groups_are_told_before_and_gone_after(self, launch, backend, hierarchy, tmp_path):
        planned = backend.planned_resources(make_plan(tmp_path))
        assert {resource.kind for resource in planned} <= {CGROUP_KIND}
        box = launch(limits=Limits(pids=50))
        told = backend.planned_resources(box.plan)
        assert (
            [Path(resource.id) for resource in told] == box.groups == hierarchy.paths(box.plan.name)
        )
        assert all(path.is_dir() for path in box.groups)
        assert box.sandbox.stop()
        assert not any(path.exists() for path in box.groups)

    def test_its_commands_are_in_its_groups(self, launch, hierarchy):
        box = launch(limits=Limits(pids=50))
        box.sh("sleep 30 > /dev/null 2>&1 &").check()
        groups = hierarchy.paths(box.plan.name)
        assert eventually(lambda: all("sleep" in commands_in(group) for group in groups))

    def test_a_memory_hog_is_killed_and_the_sandbox_lives(self, launch, needs):
        needs("memory")
        box = launch(limits=Limits(memory=64 * MIB, pids=50))
        assert box.sh("head -c 300m /dev/zero | tail", timeout=30).returncode != 0
        assert box.sh("echo alive").stdout == "alive\n"

    def test_a_fork_bomb_is_contained_and_the_sandbox_lives(self, launch, needs):
        needs("pids")
        box = launch(limits=Limits(pids=30))
        bomb = "i=0; while [ $i -lt 100 ]; do sleep 20 & i=$((i+1)); done; wait"
        assert box.sh(bomb, timeout=30).returncode != 0
        assert eventually(lambda: box.sh("echo alive").stdout == "alive\n")

    def test_a_busy_guest_has_its_share_of_a_cpu_and_is_still_heard(self, launch, needs):
        """What it starts later, what it is told and what it is killed by are not starved."""
        needs("cpu")
        box = launch(limits=Limits(cpus=0.5))
        box.sh("for i in 1 2 3; do (while :; do :; done) > /dev/null 2>&1 & done").check()
        start = time.monotonic()
        assert box.exec("echo", "heard").stdout == "heard\n"
        with pytest.raises(TimeoutError):
            box.exec("sleep", "20", timeout=0.3)
        assert time.monotonic() - start < 5

    def test_what_a_dead_keeper_left_is_removed_by_its_resource(self, backend, hierarchy):
        """As the reaper does it, from the journal."""
        name = f"left-{os.getpid()}"
        for fd in cgroup.create(hierarchy, name, Limits()):
            os.close(fd)
        with subprocess.Popen(["sleep", "60"]) as process:
            for path in hierarchy.paths(name):
                (path / "cgroup.procs").write_text(str(process.pid))
            for path in hierarchy.paths(name):
                backend.remove(Resource(kind=CGROUP_KIND, id=str(path)))
                backend.remove(Resource(kind=CGROUP_KIND, id=str(path)))
            assert process.wait(5) == -9
        assert not any(path.exists() for path in hierarchy.paths(name))
