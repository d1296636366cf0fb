"""Findings: true where there is a match, talkative where there is none."""

from __future__ import annotations

import pytest

from pytest_bottle.findings import Finding


def finding(*found: str, misses: list[str] | None = None) -> Finding[str]:
    """Make a finding with a summary and a story of its own."""
    return Finding(found, summary="a summary", story=lambda: "a\nstory", misses=misses)


def test_it_is_true_where_there_is_a_match():
    assert finding("x")
    assert not finding()


def test_it_is_a_collection_of_the_matches():
    found = finding("x", "y")
    assert (list(found), len(found), found.count, found[-1]) == (["x", "y"], 2, 2, "y")
    assert "x" in found


def test_a_match_that_is_not_there_is_explained():
    with pytest.raises(LookupError, match="a\nstory"):
        finding("x")[1]


def test_its_repr_is_the_summary_and_not_too_long():
    assert repr(finding()) == "<a summary>"
    long: Finding[str] = Finding((), summary="x" * 500, story=str)
    assert (len(repr(long)), repr(long)[-5:]) == (200, "x...>")


def test_asking_an_empty_one_tells_its_story_once():
    misses: list[str] = []
    assert not finding(misses=misses)
    assert not finding(misses=misses)
    assert misses == ["a\nstory"]


def test_no_story_is_made_before_it_is_wanted():
    def story() -> str:
        pytest.fail("nobody asked")

    assert repr(Finding((), summary="s", story=story, misses=[])) == "<s>"
    assert Finding(("x",), summary="s", story=story, misses=[])
