"""From a real API into a cassette and out again, through the door process and over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.gateway.opening import Upstream
from pytest_bottle.gateway.turns import say
from pytest_bottle.gateway.turns import tool
from pytest_bottle.usage import Usage
from tests.unit.gateway.doors import Guest
from tests.unit.gateway.doors import body

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_bottle.gateway.client import DoorClient

USAGE = Usage(input_tokens=100, output_tokens=20)


@pytest.fixture
def upstream(client, monkeypatch):
    """A scripted bottle that stands for the real API; its token is the real key."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    guest = Guest(client.connection(), "upstream")
    guest.model.script(say("looking", tool("Bash", command="ls"), usage=USAGE))
    return guest


def events(guest: Guest, *said: str) -> bytes:
    """What the model says to a guest, as it comes over the wire."""
    connection = guest.connect()
    request = json.dumps(body(*said, stream=True))
    connection.request("POST", "/v1/messages?beta=true", request, guest.headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 200, text
    return text


def record(client: DoorClient, upstream: Guest, tmp_path: Path) -> tuple[Guest, bytes, Path]:
    """Record one answer, and return the guest, what it got, and where the cassette is."""
    cassette = tmp_path / "cassettes" / "test_a.json"
    guest = Guest(
        client.connection(),
        "recorder",
        mode="record",
        cassette=cassette,
        upstreams={"anthropic": Upstream(base_url=upstream.model.url, key=upstream.model.token)},
        secrets={"DATABASE": "hunter2-hunter2"},
        evidence=tmp_path / "evidence",
    )
    said = events(guest, "list the files of hunter2-hunter2")
    guest.model.close()
    return guest, said, cassette


def test_a_replay_says_what_was_recorded_with_the_upstream_gone(client, upstream, tmp_path):
    recorder, said, cassette = record(client, upstream, tmp_path)
    upstream.model.close()
    player = Guest(
        client.connection(),
        "player",
        mode="replay",
        cassette=cassette,
        secrets={"DATABASE": "hunter2-hunter2"},
    )
    assert events(player, "list the files of hunter2-hunter2") == said
    assert recorder.model.usage == player.model.usage == USAGE
    assert player.model.exchanges[0].origin == "cassette"
    assert player.model.problems == player.model.drift == []


def test_another_request_is_a_miss_that_shows_the_difference(client, upstream, tmp_path):
    _, _, cassette = record(client, upstream, tmp_path)
    player = Guest(client.connection(), "player", mode="replay", cassette=cassette)
    assert player.ask("remove the files", stream=True)[0] == 400
    (problem,) = player.model.problems
    assert '-     "text": "list the files of [secret DATABASE]"' in problem
    assert '+     "text": "remove the files"' in problem


def test_no_key_token_or_secret_reaches_the_disk(client, upstream, tmp_path):
    recorder, _, cassette = record(client, upstream, tmp_path)
    hidden = (upstream.model.token, recorder.model.token, "hunter2-hunter2")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert cassette in written
    found = [
        (path.name, canary)
        for path in written
        for canary in hidden
        if canary.encode() in path.read_bytes()
    ]
    assert found == []
