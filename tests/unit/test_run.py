"""A run's directory, shared by all its processes."""

from __future__ import annotations

import shutil
import stat
import threading

import pytest

from pytest_bottle.errors import RunEndedError
from pytest_bottle.state.journal import read_journals
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.resource import Resource
from pytest_bottle.state.run import Run
from pytest_bottle.state.run import has_ended
from pytest_bottle.state.run import list_drafts
from pytest_bottle.state.run import list_runs
from pytest_bottle.state.run import read_controller

RUN_ID = "feedc0ffee12"

pytestmark = pytest.mark.usefixtures("root")


def test_all_who_join_share_a_private_directory(root):
    first = Run.join(RUN_ID, "gw0", Owner.current())
    second = Run.join(RUN_ID, "gw1", Owner.current())
    assert first.directory == second.directory == root / "runs" / RUN_ID
    assert stat.S_IMODE(first.directory.stat().st_mode) == 0o700
    assert read_controller(first.directory) == Owner.current()
    assert list_runs(root) == [first.directory]


def test_joining_at_the_same_time_makes_one_directory(root):
    """Nobody ever sees a run without its controller."""
    start = threading.Barrier(8)
    joined = []

    def join():
        start.wait()
        joined.append(read_controller(Run.join(RUN_ID, "gw0", Owner.current()).directory))

    threads = [threading.Thread(target=join) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert joined == [Owner.current()] * 8
    assert [path.name for path in (root / "runs").iterdir()] == [RUN_ID]
    assert list_drafts(root) == []


@pytest.mark.parametrize("run_id", ["", "short", "../../etc", "FEEDC0FFEE", "g" * 12])
def test_an_id_that_is_not_hexadecimal_is_refused(run_id):
    with pytest.raises(ValueError, match="hexadecimal"):
        Run.join(run_id, "main", Owner.current())


@pytest.mark.parametrize(
    ("worker", "expected"),
    [
        ("main", "main"),
        ("gw12", "gw12"),
        ("../GW 1", "gw-1"),
        ("é", "worker"),
        ("a" * 99, "a" * 20),
    ],
)
def test_a_workers_name_is_made_safe(worker, expected):
    run = Run.join(RUN_ID, worker, Owner.current())
    assert run.worker == expected
    assert run.next_name() == f"bottle-feedc0ff-{expected}-1"


def test_names_are_unique():
    """Among threads, and for a second process that took the same worker's name."""
    runs = [Run.join(RUN_ID, "gw0", Owner.current()) for _ in range(4)]
    names: list[str] = []
    threads = [
        threading.Thread(target=lambda run=run: names.extend(run.next_name() for _ in range(20)))
        for run in runs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 80


def test_a_bottle_has_a_private_directory():
    run = Run.join(RUN_ID, "main", Owner.current())
    directory = run.bottle_directory(run.next_name())
    assert directory.parent == run.directory
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert run.bottle_directory(directory.name) == directory
    directory.rmdir()
    assert run.bottle_directory(directory.name).is_dir()


def test_a_bottles_directory_is_journalled_with_its_name():
    """It would go with this process, however early that died."""
    run = Run.join(RUN_ID, "main", Owner.current())
    name = run.next_name()
    (entry,) = read_journals(run.directory)
    directory = Resource(kind="directory", id=str(run.directory / name))
    assert (entry.bottle, entry.resources) == (name, (directory,))


def test_a_name_is_not_given_twice():
    """Not even where all of the first bottle is gone: it may be in a report."""
    run, again = (Run.join(RUN_ID, "main", Owner.current()) for _ in range(2))
    name = run.next_name()
    run.bottle_directory(name).rmdir()
    assert again.next_name() != name


def test_a_part_in_a_run_makes_no_directory(root):
    run = Run.of(RUN_ID, "main", Owner.current())
    assert not run.ended
    assert not list((root / "runs").iterdir())
    with pytest.raises(RunEndedError):
        run.next_name()


def test_a_removed_run_names_no_more_bottles():
    run = Run.join(RUN_ID, "main", Owner.current())
    shutil.rmtree(run.directory)
    with pytest.raises(RunEndedError):
        run.next_name()


def test_a_run_ends_with_its_controller(start_python):
    process = start_python("import sys; sys.stdin.read()")
    run = Run.join(RUN_ID, "gw0", Owner.of(process.pid))
    assert not has_ended(run.directory)
    process.kill()
    process.wait()
    assert has_ended(run.directory)


def test_a_run_that_ends_with_nothing_left_leaves_nothing(root):
    run = Run.join(RUN_ID, "main", Owner.current())
    run.journal.add("b1", [Resource(kind="directory", id="x")])
    run.journal.settled("b1")
    run.end()
    run.end()
    assert not list((root / "runs").iterdir())


def test_a_run_that_ends_with_something_left_stays_for_the_sweep(root):
    run = Run.join(RUN_ID, "main", Owner.current())
    run.journal.add("b1", [Resource(kind="directory", id="x")])
    run.end()
    assert list_runs(root) == [run.directory]
    assert has_ended(run.directory)
