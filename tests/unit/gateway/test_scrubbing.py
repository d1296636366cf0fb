"""No secret gets into a cassette, whatever form it has and however it comes."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from pytest_bottle.errors import UnexpectedRequestError
from pytest_bottle.gateway.cassette import Cassette
from pytest_bottle.gateway.recording import RecordSource
from pytest_bottle.gateway.replay import ReplaySource
from pytest_bottle.gateway.scrubbing import Scrubber
from pytest_bottle.gateway.transcribing import Transcriber
from pytest_bottle.gateway.upstream import UpstreamClient
from tests.unit.gateway.fake_upstream import KEY
from tests.unit.gateway.fake_upstream import SSE
from tests.unit.gateway.fake_upstream import Reply
from tests.unit.gateway.fake_upstream import answer
from tests.unit.gateway.fake_upstream import asked
from tests.unit.gateway.fake_upstream import events
from tests.unit.gateway.fake_upstream import message
from tests.unit.gateway.fake_upstream import upstream

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = events("Hello")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a cassette will be."""
    return tmp_path / "cassettes" / "test_it.json"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def _recorded(path: Path, reply: Reply) -> bytes:
    """Record an answer, and return what the cassette has of it."""

    async def scenario() -> None:
        async with upstream(reply) as fake:
            source = RecordSource(UpstreamClient(fake.known()), path, Transcriber())
            await answer(source, message())
            await source.close()

    asyncio.run(scenario())
    return Cassette.load(path).episodes[0].answer.body


TOKEN = 'bottle-token-ünï/+ 42"\\'
DECLARED = "pa55\nword&of=the/database+"


def _forms(value: str) -> dict[str, bytes]:
    raw = value.encode()
    return {
        "plain": raw,
        "base64": base64.b64encode(raw),
        "basic": base64.b64encode(b"user:" + raw),
        "url": quote(value, safe="").encode(),
        "json": json.dumps(value)[1:-1].encode(),
        "unicode": json.dumps(value, ensure_ascii=False)[1:-1].encode(),
        "hex": raw.hex().encode(),
    }


@pytest.mark.parametrize("form", _forms(TOKEN))
@pytest.mark.parametrize("value", [KEY, TOKEN, DECLARED], ids=["key", "token", "declared"])
def test_no_secret_gets_into_a_cassette_or_an_error(path, value, form):
    """Whether it was in the request or in the answer; and the replay finds the request still."""
    text = _forms(value)[form].decode()
    body = message(
        f"Use {text}.",
        system=f"<{text}>",
        tools=[{"name": text, "description": text, "input_schema": {text: 1}}],
    )
    headers = {
        "authorization": f"Bearer {quote(TOKEN)}",
        "x-api-key": quote(TOKEN),
        "anthropic-beta": quote(text),
    }
    deltas = [
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": json.dumps({"a": text})},
        },
        {"type": "message_stop", "text": text},
    ]
    reply = Reply(
        [f"data: {json.dumps(delta)}\n\n".encode() for delta in deltas],
        headers={**SSE, "request-id": quote(text)},
    )
    secrets = {"DECLARED": DECLARED, "model token": TOKEN}

    async def scenario() -> UnexpectedRequestError:
        async with upstream(reply) as fake:
            source = RecordSource(UpstreamClient(fake.known()), path, Transcriber(secrets))
            await answer(source, body, headers=headers, path=f"/v1/messages?{quote(text)}")
            await source.close()
        replaying = ReplaySource(path, Transcriber({**secrets, "anthropic key": KEY}))
        await answer(replaying, body, headers=headers)
        with pytest.raises(UnexpectedRequestError) as caught:
            await replaying.answer(*asked({**body, "temperature": 1}, headers=headers))
        return caught.value

    error = asyncio.run(scenario())
    written = path.read_bytes() + str(error).encode()
    assert b"[secret " in written
    for secret in (KEY, TOKEN, DECLARED):
        for name, canary in _forms(secret).items():
            assert canary not in written, name


@pytest.mark.parametrize("cuts", [(4,), (1, 2, 3), tuple(range(1, 30))])
def test_a_secret_that_a_stream_brings_in_pieces_is_found(path, cuts):
    edges = [0, *cuts, len(KEY)]
    pieces = [KEY[a:b] for a, b in itertools.pairwise(edges)]
    stream = events("The key: ", *pieces, " is it")
    body = _recorded(path, Reply([stream]))
    texts = [
        json.loads(line.removeprefix("data: ")).get("delta", {}).get("text", "")
        for line in body.decode().splitlines()
        if line
    ]
    assert "".join(texts) == "The key: [secret anthropic key] is it"


def test_a_credential_of_the_guest_is_blotted_out_though_nobody_declared_it(path):
    headers = {"authorization": "Bearer some-key-of-the-agents-own"}
    body = message("curl -H 'Authorization: Bearer some-key-of-the-agents-own'")

    async def scenario() -> None:
        async with upstream(Reply([PLAIN])) as fake:
            source = RecordSource(UpstreamClient(fake.known()), path, Transcriber())
            await answer(source, body, headers=headers)
            await source.close()

    asyncio.run(scenario())
    assert b"agents-own" not in path.read_bytes()
    assert b"Bearer [secret authorization]" in path.read_bytes()


def test_parallel_streams_are_put_together_each_by_itself():
    """The pieces of one call stand between those of another."""
    pieces = [("sk-first", "one"), ("-value", "two"), (" and", "sk-"), (" on", "first-value")]
    lines = [
        json.dumps(
            {
                "choices": [
                    {
                        "index": 0,
                        "delta": {"tool_calls": [{"index": at, "function": {"arguments": text}}]},
                    }
                ]
            }
        )
        for pair in pieces
        for at, text in enumerate(pair)
    ]
    body = "".join(f"data: {line}\r\n\r\n" for line in [*lines[:-2], "[DONE]", *lines[-2:]])
    kept = Scrubber({"K": "sk-first-value"}).body(body.encode()).decode()
    said = {0: "", 1: ""}
    for line in kept.split("\r\n"):
        if line and "[DONE]" not in line:
            [choice] = json.loads(line.removeprefix("data: "))["choices"]
            [call] = choice["delta"]["tool_calls"]
            said[call["index"]] += call["function"]["arguments"]
    assert said == {0: "[secret K] and on", 1: "onetwo[secret K]"}


def test_a_body_without_secrets_is_left_byte_for_byte():
    body = b'data: {"text" :  "a"}\n\n\xff\r\ndata: nonsense\n'
    assert Scrubber({"K": "a-secret-value"}).body(body) == body
    assert Scrubber({}).body(body) == body


def test_a_value_of_three_characters_is_no_secret():
    """It would be found all over the place, and what holds it could not be read any more."""
    assert Scrubber({"MODE": "dev"}).text("devices") == "devices"


def test_keys_are_texts_too():
    assert Scrubber({"K": "a-secret"}).json({"a-secret": [1, None, "a-secret"]}) == {
        "[secret K]": [1, None, "[secret K]"]
    }
