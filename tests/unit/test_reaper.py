"""Removal of what the dead left: of a bottle, a run, and all runs."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import TeardownError
from pytest_bottle.reaper import Report
from pytest_bottle.reaper import end_workers
from pytest_bottle.reaper import reap_run
from pytest_bottle.reaper import remove_run
from pytest_bottle.reaper import sweep
from pytest_bottle.state.journal import read_journals
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.publish import locked
from pytest_bottle.state.resource import Resource
from pytest_bottle.state.run import publish_watchdog

if TYPE_CHECKING:
    from pathlib import Path

WORKER = """
import sys
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.resource import Resource
from pytest_bottle.state.run import Run
run_id, worker, *controller = sys.argv[1:]
run = Run.join(run_id, worker, Owner.decode(*controller) if controller else Owner.current())
def add(bottle, scope_owner):
    run.journal.add(bottle, [Resource(kind="fake:thing", id=bottle)], scope_owner=scope_owner)
add(f"{worker}-own", "worker")
add(f"{worker}-run", "run")
add(f"{worker}-kept", "worker")
run.journal.keep(f"{worker}-kept")
print("ready", flush=True)
sys.stdin.read()
"""
DEAD_RUN = "deadbeef0000"


@pytest.fixture
def removed():
    """The ids of what the removers of backends were given."""
    return []


@pytest.fixture
def remove(removed):
    return lambda resource: removed.append(resource.id)


@pytest.fixture
def dead_run(root, start_python):
    """The directory of a run whose controller was killed."""
    process = start_python(WORKER, DEAD_RUN, "main")
    process.stdout.readline()
    process.kill()
    process.wait()
    return root / "runs" / DEAD_RUN


def bottles(directory: Path) -> list[str]:
    return [entry.bottle for entry in read_journals(directory)]


class TestReapRun:
    def test_what_is_removed_is_settled(self, run, remove, removed):
        thing = Resource(kind="fake:thing", id="t")
        run.journal.add("b1", [thing])
        assert reap_run(run.directory, remove) == Report(removed=(thing,))
        assert removed == ["t"]
        assert bottles(run.directory) == []
        assert reap_run(run.directory, remove) == Report()

    def test_a_failure_is_reported_stays_open_and_stops_nothing(self, run):
        things = [Resource(kind="fake:thing", id=name) for name in ("bad", "good")]
        run.journal.add("b1", things)

        def remove(resource):
            if resource.id == "bad":
                raise TeardownError(resource.id)

        report = reap_run(run.directory, remove)
        assert report.removed == (things[1],)
        assert report.failed == ((things[0], "TeardownError: bad"),)
        assert bottles(run.directory) == ["b1"]

    def test_processes_go_first_and_directories_last(self, run, removed):
        """A process that still writes would bring its directory back."""
        directory = run.bottle_directory("b1")
        (directory / "file").touch()
        with subprocess.Popen(["sleep", "60"]) as process:
            run.journal.add(
                "b1",
                [
                    Resource(kind="directory", id=str(directory)),
                    Resource(kind="fake:thing", id="t"),
                    Resource(kind="process", id=Owner.of(process.pid).encode()),
                ],
            )

            def remove(_):
                removed.append((process.poll() is not None, directory.exists()))

            assert reap_run(run.directory, remove).failed == ()
        assert removed == [(True, True)]
        assert not directory.exists()

    def test_a_later_process_of_the_same_number_is_spared(self, run, remove):
        with subprocess.Popen(["sleep", "60"]) as process:
            owner = Owner.of(process.pid)
            earlier = Owner(owner.pid, owner.start - 1, owner.boot, owner.namespace)
            run.journal.add("b1", [Resource(kind="process", id=earlier.encode())])
            assert reap_run(run.directory, remove).failed == ()
            assert process.poll() is None
            process.kill()

    @pytest.mark.parametrize(
        "outside", ["{tmp}/precious", "{root}", "{root}/runs/..", "{root}/link/precious", "/"]
    )
    def test_directories_outside_the_state_directory_are_refused(
        self, run, root, remove, tmp_path, outside
    ):
        (tmp_path / "precious").mkdir()
        (root / "link").symlink_to(tmp_path)
        path = outside.format(tmp=tmp_path, root=root)
        run.journal.add("b1", [Resource(kind="directory", id=path)])
        ((_, reason),) = reap_run(run.directory, remove).failed
        assert "not below" in reason
        assert (tmp_path / "precious").exists()

    def test_one_workers_bottles_alone(self, run, remove, removed, start_python):
        worker = start_python(WORKER, run.id, "gw0")
        worker.stdout.readline()
        run.journal.add("mine", [Resource(kind="fake:thing", id="mine")])
        reap_run(run.directory, remove, only_owner=Owner.of(worker.pid))
        assert removed == ["gw0-own"]
        assert set(bottles(run.directory)) == {"gw0-run", "gw0-kept", "mine"}

    def test_a_pass_that_is_not_the_last_settles_nothing(self, run, remove, removed):
        run.journal.add("b1", [Resource(kind="fake:thing", id="t")])
        reap_run(run.directory, remove, final=False)
        reap_run(run.directory, remove)
        assert removed == ["t", "t"]


class TestEndWorkers:
    def test_workers_that_outlive_their_run_are_killed(self, run, start_python):
        worker = start_python(WORKER, run.id, "gw0")
        worker.stdout.readline()
        end_workers(run.directory, grace=0.1)
        assert worker.wait(5) == -9

    def test_a_worker_that_ends_in_time_is_left_to_it(self, run, start_python):
        worker = start_python(
            WORKER.replace("sys.stdin.read()", "import time; time.sleep(0.3)"), run.id, "gw0"
        )
        worker.stdout.readline()
        end_workers(run.directory, grace=10)
        assert worker.wait(5) == 0


class TestSweep:
    def test_a_dead_run_goes_except_what_was_kept(self, root, dead_run, remove, removed):
        assert sweep(root, remove).failed == ()
        assert set(removed) == {"main-own", "main-run"}
        assert bottles(dead_run) == ["main-kept"]

    @pytest.mark.usefixtures("dead_run")
    def test_what_was_kept_goes_when_asked(self, root, remove, removed):
        sweep(root, remove)
        sweep(root, remove, kept=True)
        assert removed[-1] == "main-kept"
        assert not list((root / "runs").iterdir())

    def test_a_living_run_is_not_touched(self, root, run, remove, removed):
        run.journal.add("b1", [Resource(kind="fake:thing", id="t")])
        assert sweep(root, remove, kept=True) == Report()
        assert removed == []
        assert run.directory.is_dir()

    def test_a_run_with_a_living_watchdog_is_left_to_it(self, root, dead_run, remove, removed):
        publish_watchdog(dead_run)
        assert sweep(root, remove) == Report()
        assert removed == []

    @pytest.mark.usefixtures("dead_run")
    def test_what_resists_is_there_for_the_next_sweep(self, root, remove, removed):
        def resist(resource):
            raise TeardownError(resource.id)

        assert len(sweep(root, resist).failed) == 2
        sweep(root, remove)
        assert set(removed) == {"main-own", "main-run"}

    def test_an_orphaned_worker_is_ended_first(self, root, dead_run, remove, removed, start_python):
        """It could still launch what nobody would take down."""
        controller = (dead_run / "controller").read_text()
        worker = start_python(WORKER, DEAD_RUN, "gw0", controller)
        worker.stdout.readline()
        sweep(root, remove)
        assert worker.wait(5) == -9
        assert "gw0-own" in removed

    @pytest.mark.usefixtures("dead_run")
    def test_two_sweeps_do_not_meet(self, root, remove, removed):
        with locked(root / "sweep.lock"):
            assert sweep(root, remove) == Report()
        assert removed == []

    def test_a_directory_that_was_being_made_by_the_dead_goes(self, root, dead_run, remove):
        dead = (dead_run / "controller").read_text()
        (root / "runs" / f".{dead}.0011").mkdir()
        (root / "runs" / f".{Owner.current().encode()}.0011").mkdir()
        sweep(root, remove, kept=True)
        assert [path.name for path in (root / "runs").iterdir()] == [
            f".{Owner.current().encode()}.0011"
        ]


def test_a_run_with_open_bottles_is_not_removed(run):
    run.journal.add("b1", [Resource(kind="fake:thing", id="t")])
    assert remove_run(run.directory) is False
    run.journal.settled("b1")
    assert remove_run(run.directory) is True
    assert not run.directory.exists()
