"""What a test expects of a tool's input."""

from __future__ import annotations

import re

import pytest

from pytest_bottle.matchers import anything
from pytest_bottle.matchers import contains
from pytest_bottle.matchers import describe
from pytest_bottle.matchers import fits
from pytest_bottle.matchers import matches


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ("ls", "ls"),
        (1, 1),
        (1, 1.0),
        (None, None),
        (anything, None),
        (contains("py"), "pytest"),
        (contains("py"), ["go", "py"]),
        (contains("py"), {"py": 1}),
        (contains(contains("py")), ["pytest"]),
        (contains({"a": 1}), [{"a": 1, "b": 2}]),
        (matches(r"^py"), "pytest"),
        (matches(r"T$"), "a\npytesT"),
        (matches("PY", re.IGNORECASE), "pytest"),
        (matches(re.compile("t$")), "pytest"),
        ({}, {"a": 1}),
        ({"a": {"b": contains("x")}}, {"a": {"b": "xy", "c": 1}}),
        ([1, contains("x")], [1, "xy"]),
        ((1, 2), [1, 2]),
        (lambda value: value > 3, 4),
        (str.isupper, "LS"),
    ],
    ids=describe,
)
def test_it_fits(expected, value):
    assert fits(expected, value)


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ("ls", "ls -l"),
        (1, True),
        (False, 0),
        ("1", 1),
        (contains("py"), "ls"),
        (contains("py"), 5),
        (contains("py"), None),
        (contains(5), "5"),
        (matches("py"), 5),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, [("a", 1)]),
        ({"a": {"b": contains("x")}}, {"a": {"b": "y"}}),
        ([1], [1, 2]),
        ([1], "1"),
        (lambda value: value > 3, 3),
    ],
    ids=describe,
)
def test_it_does_not_fit(expected, value):
    assert not fits(expected, value)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (contains("pytest"), "contains('pytest')"),
        (contains(["a", contains("b")]), "contains(['a', contains('b')])"),
        (matches(r"a\d"), r"matches('a\\d')"),
        (anything, "anything"),
        ({"a": contains("b")}, "{'a': contains('b')}"),
        (str.isupper, "isupper"),
        ("ls", "'ls'"),
    ],
)
def test_it_is_described_as_it_was_written(expected, text):
    assert describe(expected) == text


def test_a_pattern_that_is_none_is_found_out_at_once():
    with pytest.raises(re.error):
        matches("(")
