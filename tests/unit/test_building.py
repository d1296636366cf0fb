"""What an engine says while it builds: steps, output, and failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_bottle.backends.docker.building import OUTPUT_TAIL
from pytest_bottle.backends.docker.building import Step
from pytest_bottle.backends.docker.building import follow_build
from pytest_bottle.backends.docker.building import parse_step
from pytest_bottle.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def follow(*messages: Mapping[str, object]) -> list[str]:
    lines: list[str] = []
    follow_build("img", messages, lines.append, remedy="Try again.")
    return lines


def fail(*messages: Mapping[str, object]) -> str:
    with pytest.raises(ImageError) as caught:
        follow(*messages)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("Step 3/14 : RUN true\n", Step(3, 14, "RUN true")),
        ("Step 10/10 : CMD []", Step(10, 10, "CMD []")),
        (" ---> 8145c6365cd0", None),
        ("the next line: Step 3/14 : RUN true", None),
        ("Step 3 : RUN true", None),
    ],
)
def test_a_step_is_told_from_output(line, step):
    assert parse_step(line) == step


def test_a_long_instruction_is_shown_in_a_line():
    shown = str(Step(1, 2, "RUN set -eu;     " + "x" * 1000))
    assert shown.startswith("Step 1/2 : RUN set -eu; xxx")
    assert len(shown) < 150


def test_each_line_that_is_not_blank_is_reported():
    assert follow(
        {"stream": "Step 1/2 : FROM base\n"},
        {"stream": "\n"},
        {"stream": "one\ntwo\n"},
        {"aux": {"ID": "sha256:0"}},
    ) == ["Step 1/2 : FROM base", "one", "two"]


def test_neither_colour_nor_the_engines_bookkeeping_is_reported():
    assert follow(
        {"stream": " ---> Running in 13cb3202c575\n"},
        {"stream": "\x1b[91mnpm error\n\x1b[0m"},
        {"stream": "Removing intermediate container 13cb3202c575\n"},
        {"stream": " ---> 8145c6365cd0\n"},
    ) == ["npm error"]


def test_of_a_pull_only_changes_are_reported():
    assert follow(
        {"status": "Pulling from library/debian", "id": "bookworm-slim"},
        {"status": "Downloading", "progress": "[=>  ]", "id": "a1"},
        {"status": "Status: Downloaded newer image"},
    ) == ["bookworm-slim: Pulling from library/debian", "Status: Downloaded newer image"]


def test_a_failure_names_the_step_and_shows_the_end_of_its_output():
    words = fail(
        {"stream": "Step 1/2 : FROM base\n"},
        {"stream": "of the first step\n"},
        {"stream": "Step 2/2 : RUN npm install\n"},
        *({"stream": f"line {number}\n"} for number in range(50)),
        {"errorDetail": {"code": 7, "message": "..."}, "error": "The command '...' returned 7"},
    )
    assert words.startswith(
        "image 'img': its build failed at Step 2/2 : RUN npm install: it returned 7. Try again."
    )
    assert words.endswith("\n  line 48\n  line 49")
    assert words.count("\n") == OUTPUT_TAIL
    assert "of the first step" not in words


def test_a_failure_before_any_step_has_the_engines_words():
    assert fail({"errorDetail": {"message": "no"}, "error": "manifest unknown.\n"}) == (
        "image 'img': its build failed at its first step: manifest unknown. Try again."
    )
