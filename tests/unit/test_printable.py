"""Text from a guest, as a terminal may see it."""

from __future__ import annotations

import pytest

from pytest_bottle.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode and 日本", "plain, ünïcode and 日本"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\r\n", "\n"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("over\rwritten", "over\\rwritten"),
        ("\x9b31m", "\\x9b31m"),
        ("\x07\x00\x7f", "\\x07\\x00\\x7f"),
        ("safe\u202etxt.exe", "safe\\u202etxt.exe"),
        ("half \ud800 a character", "half \\ud800 a character"),
    ],
)
def test_only_what_a_terminal_obeys_is_spelled_out(text, shown):
    assert printable(text) == shown
