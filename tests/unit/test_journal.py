"""The journal: written before creation, readable after any death."""

from __future__ import annotations

import shutil
import signal

import pytest

from pytest_bottle.errors import RunEndedError
from pytest_bottle.state.journal import Journal
from pytest_bottle.state.journal import journals
from pytest_bottle.state.journal import read_journals
from pytest_bottle.state.journal import settle
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.resource import Resource

CONTAINER = Resource(kind="docker:container", id="c1", data={"engine": "unix:///x", "n": [1]})
DIRECTORY = Resource(kind="directory", id="/some/where")


@pytest.fixture
def other(run):
    """The journal of another worker of the run."""
    journal = Journal(run.directory, "gw1")
    yield journal
    journal.close()


def bottles(run) -> list[str]:
    return [entry.bottle for entry in read_journals(run.directory)]


def test_a_bottle_is_open_until_it_is_settled(run):
    run.journal.add("b1", [CONTAINER, DIRECTORY])
    (entry,) = read_journals(run.directory)
    assert entry.resources == (CONTAINER, DIRECTORY)
    assert entry.owner == Owner.current()
    assert (entry.bottle, entry.scope_owner, entry.kept) == ("b1", "worker", False)
    run.journal.settled("b1")
    assert read_journals(run.directory) == []


def test_resources_that_become_known_later_are_added(run):
    run.journal.add("b1", [DIRECTORY])
    run.journal.add("b1", [CONTAINER, DIRECTORY])
    (entry,) = read_journals(run.directory)
    assert entry.resources == (DIRECTORY, CONTAINER)


def test_a_bottle_of_the_run_says_so(run):
    run.journal.add("b1", [CONTAINER], scope_owner="run")
    run.journal.add("b1", [DIRECTORY])
    (entry,) = read_journals(run.directory)
    assert entry.scope_owner == "run"


def test_another_process_may_settle_or_keep_a_bottle(run, other):
    run.journal.add("b1", [CONTAINER])
    run.journal.add("b2", [CONTAINER])
    other.settled("b1")
    other.keep("b2")
    (entry,) = read_journals(run.directory)
    assert (entry.bottle, entry.kept) == ("b2", True)


def test_a_bottle_that_two_processes_wrote_of_is_one(run, other):
    run.journal.add("b1", [CONTAINER])
    other.add("b1", [DIRECTORY], scope_owner="run")
    (entry,) = read_journals(run.directory)
    assert set(map(repr, entry.resources)) == {repr(CONTAINER), repr(DIRECTORY)}
    assert entry.scope_owner == "run"
    settle(entry)
    assert bottles(run) == []


def test_a_name_that_is_used_again_is_open_again(run):
    run.journal.add("b1", [CONTAINER])
    run.journal.settled("b1")
    run.journal.add("b1", [DIRECTORY])
    (entry,) = read_journals(run.directory)
    assert entry.resources == (DIRECTORY,)


def test_a_torn_record_hides_no_other(run):
    """A writer that died in a write, or a disk that was full."""
    run.journal.add("b1", [CONTAINER])
    (path,) = journals(run.directory)
    with path.open("ab") as file:
        file.write(b'\n{"add": "torn", "resour')
    assert bottles(run) == ["b1"]
    run.journal.add("b2", [CONTAINER])
    assert bottles(run) == ["b1", "b2"]


def test_a_journal_that_is_just_being_made_is_passed_over(run):
    run.journal.add("b1", [CONTAINER])
    (run.directory / "journal" / "gw7-1-1.jsonl").touch()
    assert bottles(run) == ["b1"]


def test_what_cannot_be_written_is_refused(run, start_python):
    """The caller must not create what nobody would take down."""
    process = start_python(
        "import resource, signal, sys\n"
        "from pytest_bottle.state.owner import Owner\n"
        "from pytest_bottle.state.run import Run\n"
        "from pytest_bottle.state.resource import Resource\n"
        "run = Run.join(sys.argv[1], 'full', Owner.current())\n"
        "run.journal.add('fits', [])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
        "try: run.journal.add('b1', [Resource(kind='directory', id='x' * 200)])\n"
        "except OSError as error: print(error)\n",
        run.id,
    )
    assert "No space left" in process.stdout.read()
    assert bottles(run) == ["fits"]


def test_a_removed_run_takes_no_more_records(run):
    run.journal.add("b1", [CONTAINER])
    shutil.rmtree(run.directory)
    with pytest.raises(RunEndedError, match="has been removed"):
        run.journal.add("b2", [CONTAINER])
    with pytest.raises(RunEndedError):
        Journal(run.directory, "gw2")


def test_what_a_killed_process_wrote_is_there(run, start_python):
    process = start_python(
        "import os, signal, sys\n"
        "from pytest_bottle.state.owner import Owner\n"
        "from pytest_bottle.state.run import Run\n"
        "from pytest_bottle.state.resource import Resource\n"
        "run = Run.join(sys.argv[1], 'gw3', Owner.current())\n"
        "run.journal.add('b3', [Resource(kind='directory', id='x')])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n",
        run.id,
    )
    assert process.wait(10) == -signal.SIGKILL
    (entry,) = read_journals(run.directory)
    assert entry.bottle == "b3"
    assert not entry.owner.alive()
