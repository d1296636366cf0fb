"""How what came to a bottle's gates is told: in lines of a report, and on the page."""

from __future__ import annotations

from pytest_bottle.transcript.crossings import Crossing
from pytest_bottle.transcript.page import render_page
from pytest_bottle.transcript.story import BottleStory
from pytest_bottle.transcript.story import TestStory
from pytest_bottle.transcript.text import CROSSING_DETAILS
from pytest_bottle.transcript.text import LAST_CROSSINGS
from pytest_bottle.transcript.text import crossing_lines

HOSTILE = "<script>alert('x')</script>\x1b[2J\nagent 'x' ended with completed"


def crossing(text: str, *details: str, time: float = 0.0, refused: bool = False) -> Crossing:
    return Crossing(time=time, gate="egress", text=text, details=details, refused=refused)


def page(*crossings: Crossing, problem: str = "", redact=str) -> str:
    bottle = BottleStory(
        name="bottle-1",
        backend="docker",
        wall="container",
        agent=None,
        prompt="",
        runs=(),
        exchanges=(),
        commands=(),
        diff=None,
        diff_problem="gone",
        crossings=crossings,
        crossings_problem=problem,
    )
    story = TestStory(nodeid="t", outcome="failed", failure="", misses=(), bottles=[bottle])
    return render_page(story, redact)


class TestLines:
    def test_one_says_when_where_and_what(self):
        told = list(crossing_lines([crossing("denied x", "no rule", time=3661.5)], ""))
        assert told == [
            "gates: the last 1 of 1, by the time of day in UTC",
            "  01:01:01.500 egress: denied x",
            "      no rule",
        ]

    def test_nothing_is_said_where_nothing_came(self):
        assert not list(crossing_lines([], ""))

    def test_what_comes_again_and_again_is_told_once(self):
        """With the number of times, which makes no other one drop out."""
        same = [crossing("denied x", time=number) for number in range(3 * LAST_CROSSINGS)]
        told = list(crossing_lines([crossing("pushed y"), *same], ""))
        assert told == [
            "gates: the last 61 of 61, by the time of day in UTC",
            "  00:00:00.000 egress: pushed y",
            "  00:00:00.000 egress: denied x, 60 times",
        ]

    def test_the_last_are_told(self):
        told = list(crossing_lines([crossing(f"denied {n}") for n in range(100)], ""))
        assert told[0].startswith(f"gates: the last {LAST_CROSSINGS} of 100")
        assert len(told) == 1 + LAST_CROSSINGS
        assert told[-1].endswith("denied 99")

    def test_many_details_are_cut(self):
        told = list(crossing_lines([crossing("x", *map(str, range(9)))], ""))
        assert told[-1] == f"      ... {9 - CROSSING_DETAILS} lines more"

    def test_a_guests_text_is_one_short_line(self):
        told = list(crossing_lines([crossing(HOSTILE, HOSTILE * 100)], HOSTILE))
        assert len(told) == 4
        assert not [line for line in told if "\x1b" in line or "\n" in line or len(line) > 250]

    def test_what_could_not_be_read_is_told(self):
        assert list(crossing_lines([], "the door has gone")) == [
            "gates: not all could be read (the door has gone)"
        ]


class TestPage:
    def test_all_are_on_it(self):
        shown = page(crossing("denied x", "no rule"), crossing("denied x", "no rule"))
        for words in ("At its gates (2)", "denied x", ", 2 times", "no rule"):
            assert words in shown

    def test_a_bottle_without_gates_has_no_such_part(self):
        assert "At its gates" not in page()

    def test_what_could_not_be_read_is_told(self):
        assert "the door has gone" in page(problem="the door has gone")

    def test_a_guests_text_stays_text(self):
        shown = page(crossing(HOSTILE, HOSTILE), problem=HOSTILE)
        assert "<script" not in shown
        assert "\x1b" not in shown

    def test_secrets_are_taken_out(self):
        hidden = crossing("pushed hunter2", "hunter2 in it")
        shown = page(hidden, redact=lambda text: text.replace("hunter2", "[secret]"))
        assert "hunter2" not in shown
        assert "[secret] in it" in shown
