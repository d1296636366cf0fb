"""What is recorded comes back as it was, and nothing else is written."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import TypeAlias

import pytest

from pytest_bottle.errors import CassetteError
from pytest_bottle.errors import UpstreamError
from pytest_bottle.gateway import recording
from pytest_bottle.gateway.cassette import Cassette
from pytest_bottle.gateway.recording import NewEpisodesSource
from pytest_bottle.gateway.recording import RecordSource
from pytest_bottle.gateway.replay import ReplaySource
from pytest_bottle.gateway.transcribing import Transcriber
from pytest_bottle.gateway.upstream import UpstreamClient
from tests.unit.gateway.fake_upstream import SSE
from tests.unit.gateway.fake_upstream import FakeUpstream
from tests.unit.gateway.fake_upstream import Reply
from tests.unit.gateway.fake_upstream import answer
from tests.unit.gateway.fake_upstream import asked
from tests.unit.gateway.fake_upstream import events
from tests.unit.gateway.fake_upstream import message
from tests.unit.gateway.fake_upstream import upstream

if TYPE_CHECKING:
    from pathlib import Path

Got: TypeAlias = "list[tuple[int, dict[str, str], bytes]]"
"""What guests got: status, headers and body of each answer."""
JSON = {"content-type": "application/json"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a cassette will be."""
    return tmp_path / "cassettes" / "test_it.json"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def _recorder(fake: FakeUpstream, path: Path) -> RecordSource:
    return RecordSource(UpstreamClient(fake.known()), path, Transcriber())


def _record(path: Path, *replies: Reply, bodies=None) -> Got:
    """Record an answer for each reply; return what the guest got."""

    async def scenario() -> Got:
        async with upstream(*replies) as fake:
            source = _recorder(fake, path)
            try:
                got = [
                    await answer(source, body, number=number)
                    for number, body in enumerate(bodies or [message()] * len(replies))
                ]
            finally:
                await source.close()
            return [(each.status, dict(each.headers), body) for each, body in got]

    return asyncio.run(scenario())


def _replay(path: Path, *bodies, **more) -> Got:
    async def scenario() -> Got:
        source = ReplaySource(path, Transcriber(), **more)
        got = [await answer(source, body) for body in bodies]
        return [(each.status, dict(each.headers), body) for each, body in got]

    return asyncio.run(scenario())


PLAIN = events("Hello, ", "world")
ODD = [
    b"\xef\xbb\xbf: a comment\r\n\r\nevent: ping\r",
    b'\ndata: {"type":"ping"}\r\n',
    b'\r\nid: 1\nretry: 10\ndata: {"text":"' + "ü".encode()[:1],
    "ü".encode()[1:] + "🙂".encode()[:2],
    "🙂".encode()[2:] + b' \xe2\x80\xa8 "}\n\n',
    b"data:\ndata: two lines\n\n\n\n",
    b'data: {"type":"message_stop"}',
]


@pytest.mark.parametrize(
    "chunks",
    [
        [PLAIN],
        [PLAIN[n : n + 1] for n in range(len(PLAIN))],
        [PLAIN.replace(b"\n", b"\r\n")],
        ODD,
        [b'data: {"type":"message_stop"}\n\n\xff\xfe not text \n'],
    ],
    ids=["whole", "bytes", "crlf", "odd", "no-text"],
)
def test_a_stream_comes_back_byte_for_byte_when_the_api_is_gone(path, chunks):
    [recorded] = _record(path, Reply(chunks))
    [replayed] = _replay(path, message())
    assert recorded == replayed == (200, SSE, b"".join(chunks))


def test_an_answer_without_a_stream_comes_back_too(path):
    body = b'{"content": [{"type": "text",\n "text": "ja"}]}'
    recorded = _record(path, Reply([body], headers={**JSON, "request-id": "req_1"}))
    assert _replay(path, message()) == recorded
    assert recorded[0][2] == body


def test_errors_come_back_in_their_place(path):
    """So an agent's retry is replayed as well."""
    overloaded = Reply([b'{"type":"error"}'], 529, {**JSON, "retry-after": "2"})
    recorded = _record(path, overloaded, Reply([PLAIN]))
    assert _replay(path, message(), message()) == recorded
    assert recorded[0] == (529, {**JSON, "retry-after": "2"}, b'{"type":"error"}')


def test_an_answer_that_broke_off_is_not_recorded_and_the_guest_sees_the_break(path):
    async def scenario() -> tuple[list[bytes], list[str]]:
        parts: list[bytes] = []
        async with upstream(Reply([b"data: 1\n\n"], drops=True)) as fake:
            source = _recorder(fake, path)
            got = await source.answer(*asked(message()))
            parts.append(await anext(got.body))
            with pytest.raises(UpstreamError):
                await anext(got.body)
            await source.close()
        return parts, source.drift()

    parts, drift = asyncio.run(scenario())
    assert parts == [b"data: 1\n\n"]
    assert not path.exists()
    assert len(drift) == 1
    assert "request 0 was not recorded: the answer of 127.0.0.1 broke off" in drift[0]


@pytest.mark.parametrize(
    "reply",
    [
        Reply([b'data: {"type":"message_start"}\n\n']),
        Reply([b'{"content": [{"te'], headers=JSON),
        Reply([b'{"type":"error"}'], 401, JSON),
        Reply([b'{"type":"error"}'], 403, JSON),
    ],
    ids=["stream", "json", "401", "403"],
)
def test_what_is_cut_or_says_only_that_the_key_is_wrong_is_not_recorded(path, reply):
    """The old cassette stays, for such answers are of use to nobody."""
    _record(path, Reply([PLAIN]))
    before = path.read_bytes()
    [(status, _, body)] = _record(path, reply)
    assert (status, body) == (reply.status, reply.chunks[0])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("endpoint", "last"),
    [
        ("/v1/messages", b'data: {"type":"message_stop"}\n\n'),
        ("/v1/messages", b'event: error\ndata: {"type":"error"}\n\n'),
        ("/v1/responses", b'data: {"type":"response.completed"}\n\n'),
        ("/v1/responses", b'data: {"type":"response.incomplete"}\n\n'),
        ("/v1/chat/completions", b'data: {"id":"1"}\n\ndata: [DONE]\n\n'),
    ],
)
def test_each_api_has_its_own_last_event(path, endpoint, last):
    async def scenario() -> None:
        async with upstream(Reply([last])) as fake:
            known = {**fake.known("anthropic"), **fake.known("openai")}
            source = RecordSource(UpstreamClient(known), path, Transcriber())
            await answer(source, {**message(), "input": "Hello"}, path=endpoint)
            await source.close()

    asyncio.run(scenario())
    assert Cassette.load(path).episodes[0].answer.body == last


def test_the_answer_is_on_disk_before_the_guest_sees_its_end(path):
    """So nothing is lost by a kill, however soon it comes."""

    async def scenario() -> bool:
        async with upstream(Reply([PLAIN])) as fake:
            source = _recorder(fake, path)
            got = await source.answer(*asked(message()))
            received = b""
            while received != PLAIN:
                received += await anext(got.body)
            with pytest.raises(StopAsyncIteration):
                await anext(got.body)
            there: bool = path.exists()
            await source.close()
            return there

    assert asyncio.run(scenario())


@pytest.mark.parametrize("moment", ["before", "during"])
def test_the_answer_to_a_guest_that_went_away_is_recorded_whole(path, moment):
    async def scenario() -> None:
        gate = asyncio.Event()
        async with upstream(Reply([PLAIN[:9], PLAIN[9:]], waits=gate)) as fake:
            source = _recorder(fake, path)
            asking = asyncio.create_task(source.answer(*asked(message())))
            if moment == "during":
                got = await asking
                await anext(got.body)
                assert isinstance(got.body, AsyncGenerator)
                await got.body.aclose()
            else:
                await fake.asked.wait()
                asking.cancel()
            gate.set()
            await source.close()

    asyncio.run(scenario())
    assert _replay(path, message())[0][2] == PLAIN


@pytest.mark.parametrize("impatient", [False, True])
def test_an_answer_that_outlasts_its_bottle_is_dropped_whole(path, monkeypatch, impatient):
    """Also where who closes does not wait as long as it would."""
    monkeypatch.setattr(recording, "CLOSE_TIMEOUT", 60 if impatient else 0.05)

    async def scenario() -> list[str]:
        async with upstream(Reply([PLAIN[:9], PLAIN[9:]], waits=asyncio.Event())) as fake:
            source = _recorder(fake, path)
            got = await source.answer(*asked(message()))
            await anext(got.body)
            with suppress(TimeoutError):
                await asyncio.wait_for(source.close(), 0.1 if impatient else 5)
            await source.close()
            with pytest.raises(UpstreamError):
                await anext(got.body)
            return source.drift()

    assert "the bottle ended before the answer did" in asyncio.run(scenario())[0]
    assert not path.exists()
    gc.collect()  # A connection left open would be complained about here.


def test_recording_replaces_the_whole_cassette(path):
    _record(path, Reply([PLAIN]), Reply([PLAIN]), bodies=[message("one"), message("two")])
    _record(path, Reply([PLAIN]), bodies=[message("three")])
    texts = [
        each.request.body["messages"][0]["content"][0]["text"]
        for each in Cassette.load(path).episodes
    ]
    assert texts == ["three"]


def test_the_old_cassette_stays_until_there_is_something_to_replace_it_with(path):
    _record(path, Reply([PLAIN]))
    before = path.read_bytes()

    async def scenario() -> None:
        async with upstream(Reply([PLAIN[:5]], drops=True)) as fake:
            source = _recorder(fake, path)
            with pytest.raises(UpstreamError):
                await answer(source, message())
            await source.close()

    asyncio.run(scenario())
    assert path.read_bytes() == before


def test_answers_are_in_the_order_in_which_they_were_asked_for(path):
    async def scenario() -> None:
        gate = asyncio.Event()
        slow = Reply([events("slow")[:9], events("slow")[9:]], waits=gate)
        async with upstream(slow, Reply([events("fast")])) as fake:
            source = _recorder(fake, path)
            first = await source.answer(*asked(message("one")))
            await answer(source, message("two"))
            gate.set()
            assert [part async for part in first.body]
            await source.close()

    asyncio.run(scenario())
    bodies = [each.answer.body for each in Cassette.load(path).episodes]
    assert bodies == [events("slow"), events("fast")]
    assert _replay(path, message("two"), message("one"))[1][2] == events("slow")


def test_a_cassette_that_cannot_be_written_breaks_the_answer_and_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "test_it.json"
    with pytest.raises(CassetteError, match="it cannot be written: File exists"):
        _record(path, Reply([PLAIN]))


def test_an_api_that_cannot_be_reached_is_not_recorded(path):
    async def scenario() -> list[str]:
        async with upstream() as fake:
            known = fake.known()
        source = RecordSource(UpstreamClient(known), path, Transcriber())
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await answer(source, message())
        await source.close()
        return source.drift()

    drift = asyncio.run(scenario())
    assert "was not recorded: 127.0.0.1 cannot be reached" in drift[0]
    assert not path.exists()


def test_new_episodes_are_added_and_old_ones_replayed(path):
    _record(path, Reply([events("old")]), bodies=[message("one")])

    async def scenario() -> tuple[list[bytes], int, list[str]]:
        async with upstream(Reply([events("new")]), Reply([events("newer")])) as fake:
            source = NewEpisodesSource(UpstreamClient(fake.known()), path, Transcriber())
            bodies = [message("one"), message("two"), message("one")]
            got = [(await answer(source, body))[1] for body in bodies]
            await source.close()
            return got, len(fake.seen), source.drift()

    got, asked_for, drift = asyncio.run(scenario())
    assert got == [events("old"), events("new"), events("newer")]
    assert asked_for == 2
    assert drift == []
    again = _replay(path, message("one"), message("one"), message("two"))
    assert [body for _, _, body in again] == [events("old"), events("newer"), events("new")]


def test_new_episodes_need_no_cassette_to_begin_with(path):
    async def scenario() -> None:
        async with upstream(Reply([PLAIN])) as fake:
            source = NewEpisodesSource(UpstreamClient(fake.known()), path, Transcriber())
            await answer(source, message())
            await source.close()

    asyncio.run(scenario())
    assert len(Cassette.load(path).episodes) == 1


def test_new_episodes_do_not_overwrite_a_cassette_that_they_cannot_read(path):
    path.parent.mkdir()
    path.write_text("{")

    async def scenario() -> None:
        async with upstream(Reply([PLAIN])) as fake:
            source = NewEpisodesSource(UpstreamClient(fake.known()), path, Transcriber())
            try:
                await answer(source, message())
            finally:
                await source.close()

    with pytest.raises(CassetteError):
        asyncio.run(scenario())
    assert path.read_text() == "{"
