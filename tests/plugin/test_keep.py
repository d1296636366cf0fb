"""`--bottle-keep`: bottles that stay for a person, who is told how to enter and remove them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

SUITE = """
    def test_fails(bottle):
        bottle.write_file("clue.txt", "the butler")
        assert False

    def test_passes(bottle):
        pass
"""


def enter(way: str, command: str) -> str:
    """Go in as a person would, and return what a command shows there."""
    shell = shlex.split(way)
    return subprocess.run(
        shell, check=True, input=f"{command}\n", capture_output=True, text=True, timeout=30
    ).stdout


@pytest.fixture
def reap() -> Iterator[Callable[[], None]]:
    """Remove what was kept, as a person would."""

    def reap() -> None:
        command = [sys.executable, "-m", "pytest_bottle", "reap", "--kept"]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)

    yield reap
    reap()


def ways_in(result: pytest.RunResult) -> list[str]:
    """Return the command lines that the end of the run shows."""
    lines = [line for line in result.outlines if line.startswith("bottle: kept: ")]
    return [line.partition("`")[2].partition("`")[0] for line in lines]


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_failed_keeps_the_bottle_of_a_failed_test(pytester, run, reap, workers, state):
    """The way in is shown with the failure and at the end; what it leads to is the bottle."""
    pytester.makepyfile(SUITE)
    result = run("--bottle-keep=failed", workers)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "kept: enter it with `*`,",
            "      remove it with `pytest-bottle reap --kept`",
            "bottle: kept: bottle-*: enter it with `*`",
            "bottle: remove what was kept with `pytest-bottle reap --kept`",
        ]
    )
    (way,) = ways_in(result)
    assert "the butler" in enter(way, "cat clue.txt")
    reap()
    state.assert_empty()


@pytest.mark.usefixtures("reap")
def test_always_keeps_the_others_too(pytester, run):
    """And says so, although passing tests have no report."""
    pytester.makepyfile(SUITE)
    result = run("--bottle-keep=always")
    assert len(ways_in(result)) == 2


def test_never_is_the_default(pytester, run, state):
    """Whatever failed."""
    pytester.makepyfile(SUITE)
    result = run()
    assert ways_in(result) == []
    result.stdout.no_fnmatch_line("kept: *")
    state.assert_empty()


@pytest.mark.usefixtures("reap")
def test_shared_bottle_is_kept_if_one_of_its_tests_failed(pytester, run):
    """The last test may have passed."""
    pytester.makepyfile(SUITE)
    result = run("--bottle-keep=failed", "--bottle-scope=module")
    assert len(ways_in(result)) == 1


@pytest.mark.usefixtures("reap")
def test_next_run_leaves_alone_what_was_kept(pytester, run):
    """A person may still be looking."""
    pytester.makepyfile(SUITE)
    (way,) = ways_in(run("--bottle-keep=failed"))
    run("-k", "passes").assert_outcomes(passed=1, deselected=1)
    assert "the butler" in enter(way, "cat clue.txt")


def test_bottle_that_the_test_closed_is_not_kept(pytester, run):
    """There is nothing left to enter, and nobody is told that there is."""
    pytester.makepyfile(
        """
        def test_fails(bottle_factory):
            with bottle_factory():
                pass
            assert False
        """
    )
    result = run("--bottle-keep=failed")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*kept: *")
