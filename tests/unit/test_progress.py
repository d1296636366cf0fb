"""Progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import termios
from typing import TextIO

import pytest

from pytest_bottle.progress import progress


def show(stream: TextIO) -> None:
    with progress("building", stream) as shown:
        shown.reach(1, 4)
        shown.say("first\x1b[2J")
        shown.reach(4, 4)
        shown.say("last")


@pytest.fixture
def terminal():
    """A terminal's two ends: a stream, and a function that returns what was written to it."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(theirs, "w") as stream, os.fdopen(ours, "rb", buffering=0) as seen:

        def written() -> str:
            stream.flush()
            os.set_blocking(ours, False)
            data = b""
            with contextlib.suppress(BlockingIOError):
                while chunk := seen.read(4096):
                    data += chunk
            return data.decode()

        yield stream, written


def test_each_line_stays_where_there_is_no_terminal():
    stream = io.StringIO()
    show(stream)
    assert stream.getvalue().splitlines() == ["first [2J", "last"]


def test_a_terminal_shows_a_bar_with_the_last_line(terminal):
    pytest.importorskip("tqdm")
    stream, written = terminal
    show(stream)
    text = written()
    assert "building: 1/4 |" in text
    assert "building: 4/4 |" in text
    assert "last" in text


def test_the_bar_is_gone_afterwards(terminal):
    pytest.importorskip("tqdm")
    stream, written = terminal
    show(stream)
    text = written()
    assert "building" in text
    assert text.rpartition("\r")[0].rpartition("\r")[2].strip() == ""


def test_no_output_moves_the_cursor(terminal):
    stream, written = terminal
    show(stream)
    text = written()
    assert "[2J" in text
    assert "\x1b[2J" not in text


def test_without_the_library_a_terminal_gets_lines(terminal, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    stream, written = terminal
    show(stream)
    assert written().split("\r\n") == ["first [2J", "last", ""]
