"""The examples pass as their readers run them: alone, with workers, and in any project."""

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def examples(pytester):
    """A copy of the examples, outside of this project."""
    pytester.copy_example(".")
    return pytester


def test_they_pass_in_a_directory_of_their_own(examples):
    result = examples.runpytest_subprocess("--strict-markers", "-W", "error", "-p", "no:asyncio")

    assert result.ret == 0
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] >= 25
    assert set(outcomes) <= {"passed", "skipped"}


def test_they_pass_on_two_workers(examples):
    result = examples.runpytest_subprocess("-n2")

    assert result.ret == 0
    assert set(result.parseoutcomes()) <= {"passed", "skipped"}


def test_they_pass_in_any_order(examples):
    """No test needs another one before it, not even where they share a bottle."""
    result = examples.runpytest_subprocess("-p", "randomly")

    assert result.ret == 0
