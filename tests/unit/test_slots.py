"""Host-wide admission: bounded, fair, visible, and free of the dead."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import SlotTimeoutError
from pytest_bottle.state.slots import Slots

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import pathlib, sys
from pytest_bottle.state.slots import Slots
slots = Slots(pathlib.Path(sys.argv[1]), "bottles", int(sys.argv[2]))
def show(*seen): print("waits", flush=True)
with slots.acquire(label=sys.argv[3], deadline=20, on_wait=show):
    print("holds", flush=True)
    sys.stdin.read()
"""

CROWD = """
import pathlib, sys, time
from pytest_bottle.state.slots import Slots
slots = Slots(pathlib.Path(sys.argv[1]), "bottles", 3)
sys.stdin.readline()
for _ in range(15):
    with slots.acquire(label="crowd", deadline=30):
        print(len(slots.holders()), flush=True)
        time.sleep(0.002)
"""


@pytest.fixture
def slots(tmp_path):
    return Slots(tmp_path, "bottles", 1)


def wait_until_waiting(tmp_path: Path, number: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if sum(",waiting," in path.name for path in (tmp_path / "bottles").iterdir()) == number:
            return
        time.sleep(0.005)
    pytest.fail(f"there were never {number} in the line")


def test_a_free_slot_is_taken_at_once_and_given_back(slots):
    with slots.acquire(label="mine", deadline=0) as ticket:
        assert slots.holders() == ["mine"]
    assert slots.holders() == []
    ticket.release()


def test_a_full_host_is_an_error_at_the_deadline_that_names_the_holders(slots):
    with slots.acquire(label="run 1 gw0", deadline=0):
        began = time.monotonic()
        with pytest.raises(SlotTimeoutError, match=r"all 1 slots.*held by run 1 gw0"):
            slots.acquire(label="late", deadline=0.2)
        assert 0.2 <= time.monotonic() - began < 2
    with slots.acquire(label="next", deadline=0):
        assert slots.holders() == ["next"]


def test_a_capacity_that_admits_nobody_is_refused(tmp_path):
    with pytest.raises(ValueError, match="capacity of 0"):
        Slots(tmp_path, "bottles", 0)


def test_kinds_do_not_meet(tmp_path):
    with Slots(tmp_path, "launches", 1).acquire(label="a", deadline=0):
        Slots(tmp_path, "bottles", 1).acquire(label="b", deadline=0).release()


def test_first_come_first_served(tmp_path, slots):
    served = []

    def enter(number):
        with slots.acquire(label=f"{number}", deadline=20):
            served.append(number)

    with ExitStack() as stack:
        ticket = stack.enter_context(slots.acquire(label="holder", deadline=0))
        threads = []
        for number in range(6):
            threads.append(threading.Thread(target=enter, args=(number,)))
            threads[-1].start()
            wait_until_waiting(tmp_path, number + 1)
        ticket.release()
        for thread in threads:
            thread.join()
    assert served == list(range(6))


def test_waiting_is_shown(slots):
    """About every second, with the place in the line and who is in the way."""
    seen = []
    with slots.acquire(label="holder", deadline=0), pytest.raises(SlotTimeoutError):
        slots.acquire(label="late", deadline=1.3, on_wait=lambda *shown: seen.append(shown))
    assert [(position, holders) for position, holders, _ in seen] == [(1, ["holder"])] * 2
    assert [round(waited) for _, _, waited in seen] == [0, 1]


def test_each_requester_brings_its_own_capacity(tmp_path):
    """A narrow one at the head of the line does not hold up those whom the host can still take."""
    narrow, wide = Slots(tmp_path, "bottles", 1), Slots(tmp_path, "bottles", 2)
    with narrow.acquire(label="first", deadline=0) as first, ThreadPoolExecutor() as pool:
        waiting = pool.submit(narrow.acquire, label="narrow", deadline=20)
        wait_until_waiting(tmp_path, 1)
        second = wide.acquire(label="wide", deadline=0)
        first.release()
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        second.release()
        waiting.result(5).release()


def test_a_wait_that_is_interrupted_leaves_the_line(tmp_path, slots):
    def interrupt(*_):
        raise KeyboardInterrupt

    with slots.acquire(label="holder", deadline=0):
        with pytest.raises(KeyboardInterrupt):
            slots.acquire(label="interrupted", deadline=20, on_wait=interrupt)
        assert slots.holders() == ["holder"]
    slots.acquire(label="next", deadline=0).release()
    assert [path.name for path in (tmp_path / "bottles").iterdir()] == ["lock"]


def test_a_killed_holder_gives_way(tmp_path, slots, start_python):
    holder = start_python(HOLD, tmp_path, 1, "doomed")
    assert holder.stdout.readline() == "holds\n"
    with pytest.raises(SlotTimeoutError, match="doomed"):
        slots.acquire(label="late", deadline=0.1)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with slots.acquire(label="heir", deadline=5):
        assert slots.holders() == ["heir"]


def test_a_killed_waiter_does_not_hold_up_the_line(tmp_path, slots, start_python):
    with slots.acquire(label="holder", deadline=0):
        waiter = start_python(HOLD, tmp_path, 1, "doomed")
        assert waiter.stdout.readline() == "waits\n"
        waiter.send_signal(signal.SIGKILL)
        waiter.wait()
    slots.acquire(label="next", deadline=5).release()
    assert [path.name for path in (tmp_path / "bottles").iterdir()] == ["lock"]


def test_processes_never_exceed_the_capacity(tmp_path, start_python):
    crowd = [start_python(CROWD, tmp_path) for _ in range(5)]
    for process in crowd:
        process.stdin.write("go\n")
        process.stdin.flush()
    seen = [int(line) for process in crowd for line in process.stdout]
    assert len(seen) == 5 * 15
    assert max(seen) <= 3
    assert [path.name for path in (tmp_path / "bottles").iterdir()] == ["lock"]


def test_threads_never_exceed_the_capacity(tmp_path):
    slots = Slots(tmp_path, "bottles", 3)
    inside = []
    most = []

    def enter(number):
        with slots.acquire(label=str(number), deadline=30):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.002)
            inside.remove(number)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(enter, range(100)))
    assert len(most) == 100
    assert max(most) == 3


def test_a_free_slot_costs_less_than_a_millisecond(slots):
    """The best of many: this machine may be busy."""
    costs = []
    for _ in range(50):
        began = time.perf_counter()
        slots.acquire(label="quick", deadline=0).release()
        costs.append(time.perf_counter() - began)
    assert min(costs) < 0.001
