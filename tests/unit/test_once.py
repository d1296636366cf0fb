"""What is made once for all processes that share a directory."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from pytest_bottle.state.once import once

SCRIPT = """
import pathlib, sys, time
from pytest_bottle.state.once import once
directory = pathlib.Path(sys.argv[1])
def make():
    with open(directory / "made", "a") as file: file.write("x")
    time.sleep(0.1)
    return "image"
sys.stdin.readline()
print(once(directory, "build", make), flush=True)
"""


def never() -> Any:
    pytest.fail("made twice")


def test_the_second_caller_gets_what_the_first_made(tmp_path):
    first = once(tmp_path, "a/b", lambda: {"tuple": (1, 2)})
    second = once(tmp_path, "a/b", never)
    assert first == second == {"tuple": [1, 2]}


def test_keys_that_only_differ_in_unsafe_characters_are_distinct(tmp_path):
    keys = ["a/b", "a b", "a-b"]
    assert [once(tmp_path, key, key.upper) for key in keys] == ["A/B", "A B", "A-B"]


def test_a_result_of_none_is_remembered(tmp_path):
    assert once(tmp_path, "none", lambda: None) is None
    assert once(tmp_path, "none", never) is None


def test_a_failure_is_the_callers_and_is_not_remembered(tmp_path):
    with pytest.raises(ZeroDivisionError):
        once(tmp_path, "key", lambda: 1 / 0)
    assert once(tmp_path, "key", lambda: 2) == 2


def test_threads_make_it_once(tmp_path):
    made = []

    def make():
        time.sleep(0.05)
        made.append(1)
        return "ready"

    threads = [threading.Thread(target=once, args=(tmp_path, "key", make)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_processes_make_it_once(tmp_path, start_python):
    processes = [start_python(SCRIPT, tmp_path) for _ in range(4)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert {process.stdout.readline() for process in processes} == {"image\n"}
    assert (tmp_path / "made").read_text() == "x"


def test_the_death_of_its_maker_lets_the_next_one_make_it(tmp_path, start_python):
    process = start_python(
        SCRIPT.replace("time.sleep(0.1)", 'print("making", flush=True); time.sleep(60)'), tmp_path
    )
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "making\n"
    process.kill()
    assert once(tmp_path, "build", lambda: "second") == "second"
