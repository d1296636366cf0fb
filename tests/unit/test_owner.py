"""A process's identity: alive unless proven dead, killed only if proven the same."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from pathlib import Path

import pytest

from pytest_bottle.state.owner import Owner


@pytest.fixture
def child():
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_this_process_is_alive():
    assert Owner.current().pid == os.getpid()
    assert Owner.current().alive()
    assert Owner.current() == Owner.of(os.getpid())


def test_it_survives_being_written_down():
    encoded = Owner.current().encode()
    assert Owner.decode(encoded) == Owner.current()
    assert " " not in encoded


@pytest.mark.parametrize("text", ["", "12", "a:b:c:d", "1:2:3"])
def test_other_text_is_no_owner(text):
    with pytest.raises(ValueError, match=r"not an owner|invalid literal"):
        Owner.decode(text)


def test_a_zombie_is_dead(child):
    owner = Owner.of(child.pid)
    assert owner.alive()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not owner.alive()
    with pytest.raises(ProcessLookupError):
        Owner.of(child.pid)


def test_a_process_that_is_gone_is_dead(child):
    owner = Owner.of(child.pid)
    child.kill()
    child.wait()
    assert not owner.alive()
    assert not owner.kill()
    assert owner.wait(0)


def test_a_later_process_of_the_same_number_is_another(child):
    earlier = dataclasses.replace(Owner.of(child.pid), start=1)
    assert not earlier.alive()
    assert not earlier.kill()
    assert child.poll() is None


def test_a_process_of_an_earlier_boot_is_dead(child):
    earlier = dataclasses.replace(Owner.of(child.pid), boot="another-boot")
    assert not earlier.alive()
    assert not earlier.kill()
    assert child.poll() is None


def test_a_process_of_another_container_cannot_be_judged(child):
    """Its number means nothing here: it counts as alive, and is never killed."""
    elsewhere = dataclasses.replace(Owner.of(child.pid), namespace="1", start=1)
    assert elsewhere.alive()
    assert not elsewhere.kill()
    assert child.poll() is None


def test_a_program_whose_name_looks_like_a_stat_line_is_read_right(tmp_path):
    odd = tmp_path / "a) Z 1 ("
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "60"]) as process:
        deadline = time.monotonic() + 5
        while (
            "a) Z" not in Path(f"/proc/{process.pid}/stat").read_text()
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        owner = Owner.of(process.pid)
        assert owner.alive()
        assert owner.start >= Owner.current().start
        process.kill()


def test_kill_ends_it_and_wait_tells(child):
    owner = Owner.of(child.pid)
    assert not owner.wait(0.01)
    assert owner.kill()
    assert owner.wait(5)
    assert child.wait() == -9


def test_a_process_whose_first_thread_has_ended_is_alive(start_python):
    """The kernel shows it as a zombie, although its other threads work."""
    process = start_python(
        "import threading, time, ctypes, sys\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "print('up', flush=True)\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    process.stdout.readline()
    deadline = time.monotonic() + 5
    while (
        ") Z" not in Path(f"/proc/{process.pid}/stat").read_text() and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    assert ") Z" in Path(f"/proc/{process.pid}/stat").read_text()
    assert Owner.of(process.pid).alive()
