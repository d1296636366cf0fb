"""What the door remembers of its bottles, and what it drops when it is too much."""

from __future__ import annotations

import json

import pytest

from pytest_bottle.gateway import protocols
from pytest_bottle.gateway.encoding import exchange_from_json
from pytest_bottle.gateway.encoding import exchange_to_json
from pytest_bottle.gateway.history import Archive
from pytest_bottle.gateway.history import encode_exchange
from pytest_bottle.gateway.values import Exchange
from pytest_bottle.gateway.values import ModelReply
from tests.unit.gateway.doors import body


def exchange(said: str = "hello") -> Exchange:
    return Exchange(
        request=protocols.read_request("messages", body(said), 0),
        status=200,
        origin="script",
        reply=ModelReply(text="hi", tool_calls=[{"id": "1", "name": "Bash", "input": {}}]),
        cost=None,
        started=1.0,
        duration=2.0,
    )


def fill(archive: Archive, bottle: str, *, count: int = 1, size: int = 10_000) -> None:
    for _ in range(count):
        one = exchange("x" * size)
        archive.add(bottle, one, encode_exchange(one))


def sizes(archive: Archive, bottle: str) -> list[int]:
    return [len(record) for record in archive.page(bottle, 0)[0]]


def test_an_exchange_comes_back_as_it_was():
    assert exchange_from_json(json.loads(json.dumps(exchange_to_json(exchange())))) == exchange()


def test_a_conversation_is_written_once():
    assert encode_exchange(exchange("said once")).count(b"said once") == 1


def test_closed_bottles_are_forgotten_first():
    archive = Archive(max_bytes=70_000)
    for bottle in ("one", "two", "three"):
        archive.open(bottle)
        fill(archive, bottle, count=2)
    archive.close("two")
    fill(archive, "three", count=2)
    with pytest.raises(KeyError):
        archive.page("two", 0)
    assert min(sizes(archive, "one")) > 10_000


def test_then_open_ones_lose_their_oldest_conversations():
    archive = Archive(max_bytes=70_000)
    archive.open("one")
    fill(archive, "one", count=20)
    assert sum(sizes(archive, "one")) <= 70_000
    assert sizes(archive, "one")[0] < 10_000 < sizes(archive, "one")[-1]
    dropped = exchange_from_json(json.loads(archive.page("one", 0)[0][0]))
    assert (dropped.request.messages, dropped.reply.text) == ([], "hi")


def test_only_so_many_closed_bottles_are_remembered():
    archive = Archive(max_closed=2)
    for bottle in ("one", "two", "three"):
        archive.open(bottle)
        archive.close(bottle)
    with pytest.raises(KeyError):
        archive.page("one", 0)
    assert archive.page("three", 0) == ([], False)
