"""What all workers of a run share: launched by the first, taken down by the last."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from pytest_bottle.state import leases

WORKER = """
import pathlib, sys
from pytest_bottle.state import leases
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run
run = Run.join(sys.argv[1], sys.argv[2], Owner.current())
log = run.directory / "log"
def write(word):
    with log.open("a") as file: file.write(word + "\\n")
def launch():
    write("launch")
    return {"id": 7}
reference, lease = leases.acquire(run, "key", launch)
print(reference["id"], flush=True)
sys.stdin.readline()
print(lease.release(lambda reference: write(f"stop {reference['id']}")), flush=True)
"""


def never() -> Any:
    pytest.fail("launched twice")


def fail(*_: object) -> Any:
    raise ConnectionError


@pytest.fixture
def stopped():
    """The references that were taken down."""
    return []


def test_the_first_launches_and_the_last_takes_down(run, stopped):
    reference, first = leases.acquire(run, "key", lambda: {"id": 1})
    again, second = leases.acquire(run, "key", never)
    assert reference == again == {"id": 1}
    assert first.release(stopped.append) is False
    assert first.release(stopped.append) is False
    assert second.release(stopped.append) is True
    assert stopped == [{"id": 1}]
    assert second.release(stopped.append) is False


def test_after_the_last_it_is_launched_anew(run, stopped):
    _, lease = leases.acquire(run, "key", lambda: 1)
    lease.release(stopped.append)
    assert leases.acquire(run, "key", lambda: 2)[0] == 2


def test_keys_are_distinct(run):
    assert leases.acquire(run, "a", lambda: 1)[0] == 1
    assert leases.acquire(run, "b", lambda: 2)[0] == 2


def test_a_failed_launch_is_the_callers_and_the_next_one_tries(run):
    with pytest.raises(ConnectionError):
        leases.acquire(run, "key", fail)
    assert leases.acquire(run, "key", lambda: 2)[0] == 2


def test_a_failed_stop_leaves_nothing_to_attach_to(run):
    _, lease = leases.acquire(run, "key", lambda: 1)
    with pytest.raises(ConnectionError):
        lease.release(fail)
    assert leases.acquire(run, "key", lambda: 2)[0] == 2


def test_a_process_that_is_killed_in_its_stop_leaves_nothing_to_attach_to(run, start_python):
    script = WORKER.replace(
        "write(f\"stop {reference['id']}\")", "os.kill(os.getpid(), signal.SIGKILL)"
    ).replace("import pathlib, sys", "import os, signal, sys")
    worker = start_python(script, run.id, "gw0")
    worker.stdout.readline()
    worker.stdin.write("\n")
    worker.stdin.flush()
    assert worker.wait(5) == -signal.SIGKILL
    assert leases.acquire(run, "key", lambda: 2)[0] == 2


def test_a_lost_one_is_replaced_once(run, stopped):
    """Both holders saw it lost; the second gets what the first launched."""
    lost, first = leases.acquire(run, "key", lambda: "lost")
    _, second = leases.acquire(run, "key", never)
    assert first.replace(lost, lambda: "new") == "new"
    assert second.replace(lost, never) == "new"
    first.release(stopped.append)
    second.release(stopped.append)
    assert stopped == ["new"]


def test_a_replacement_that_fails_is_tried_again(run):
    lost, first = leases.acquire(run, "key", lambda: "lost")
    with pytest.raises(ConnectionError):
        first.replace(lost, fail)
    assert first.replace(lost, lambda: "new") == "new"


def test_threads_launch_once(run):
    launched = []

    def launch():
        launched.append(1)
        return 1

    threads = [threading.Thread(target=leases.acquire, args=(run, "key", launch)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert launched == [1]


def test_workers_launch_once_and_the_last_alive_takes_down(run, start_python):
    """One of them is killed with its lease."""
    workers = [start_python(WORKER, run.id, f"gw{number}") for number in range(3)]
    assert [worker.stdout.readline() for worker in workers] == ["7\n"] * 3
    workers[0].send_signal(signal.SIGKILL)
    workers[0].wait()
    for worker, last in zip(workers[1:], ("False\n", "True\n"), strict=True):
        worker.stdin.write("\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == last
    assert (run.directory / "log").read_text() == "launch\nstop 7\n"
