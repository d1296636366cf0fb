"""The examples pass as their readers run them: alone, with workers, and in any project."""

import os
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("_proxy_environment")]

CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
"""Where the proxy's environment is. The copy has another home, and would make one for itself."""


@pytest.fixture
def examples(pytester, monkeypatch):
    """A copy of the examples, outside of this project."""
    monkeypatch.setenv("XDG_CACHE_HOME", CACHE)
    pytester.copy_example(".")
    return pytester


def test_they_pass_in_a_directory_of_their_own(examples):
    result = examples.runpytest_subprocess("--strict-markers", "-W", "error", "-p", "no:asyncio")

    assert result.ret == 0
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] >= 25
    assert set(outcomes) <= {"passed", "skipped", "xfailed"}


def test_they_pass_on_two_workers(examples):
    result = examples.runpytest_subprocess("-n2")

    assert result.ret == 0
    assert set(result.parseoutcomes()) <= {"passed", "skipped", "xfailed"}


def test_they_pass_in_any_order(examples):
    """No test needs another one before it, not even where they share a bottle."""
    result = examples.runpytest_subprocess("-p", "randomly")

    assert result.ret == 0
