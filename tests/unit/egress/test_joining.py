"""Secrets that are sent in pieces."""

from __future__ import annotations

import base64

import pytest

from pytest_bottle.gateway.dlp.scanner import Scanner
from pytest_bottle.gateway.egress.joining import Joining

SECRET = "correct-horse-battery-staple"
PIECES = [SECRET[start : start + 7] for start in range(0, len(SECRET), 7)]


@pytest.fixture
def joining():
    return Joining(Scanner({"WORD": SECRET}, shapes=False))


@pytest.mark.parametrize(
    "frame",
    [
        "{piece}",
        "/piece/{piece}",
        "/?q={piece}",
        "/?number={number}&word={piece}&more=yes",
        '{{"number": {number}, "word": "{piece}"}}',
    ],
)
def test_the_last_piece_is_found(joining, frame):
    """In whatever it is sent, as long as that is the same each time."""
    found = [
        joining.find("a.org", "url", frame.format(piece=piece, number=number).encode())
        for number, piece in enumerate(PIECES)
    ]
    assert found[:-1] == [None] * (len(PIECES) - 1)
    assert found[-1].rule == "secret WORD"
    assert SECRET not in str(found[-1])


def test_pieces_of_an_encoded_one_are_found(joining):
    word = base64.b64encode(SECRET.encode()).rstrip(b"=")
    found = [joining.find("a.org", "body", word[n : n + 10]) for n in range(0, len(word), 10)]
    assert found[-1].rule == "secret WORD"


def test_other_requests_in_between_hide_nothing(joining):
    for piece in PIECES[:-1]:
        joining.find("a.org", "url", f"/piece/{piece}".encode())
        joining.find("a.org", "url", b"/a/quite/different/one")
    assert joining.find("a.org", "url", f"/piece/{PIECES[-1]}".encode())


def test_what_goes_to_other_hosts_is_not_joined(joining):
    """Nobody there could put it together."""
    found = [joining.find(f"{n}.org", "url", piece.encode()) for n, piece in enumerate(PIECES)]
    assert found == [None] * len(PIECES)


def test_it_is_told_once(joining):
    found = [joining.find("a.org", "url", piece.encode()) for piece in PIECES]
    assert found[-1]
    assert joining.find("a.org", "url", b"/next") is None


def test_large_ones_are_not_kept(joining):
    """Not more of them than their ends."""
    for _ in range(100):
        assert joining.find("a.org", "body", b"x" * 2**20) is None
    assert sum(map(len, joining._sent["a.org", "body"])) <= 64 * 4096
