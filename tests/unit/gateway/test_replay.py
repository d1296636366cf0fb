"""A replay gives each recorded answer once, and helps where it has none."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle.errors import CassetteError
from pytest_bottle.errors import UnexpectedRequestError
from pytest_bottle.gateway.cassette import Cassette
from pytest_bottle.gateway.replay import ReplaySource
from pytest_bottle.gateway.transcribing import Episode
from pytest_bottle.gateway.transcribing import RecordedAnswer
from pytest_bottle.gateway.transcribing import Transcriber
from tests.unit.gateway.fake_upstream import answer
from tests.unit.gateway.fake_upstream import asked
from tests.unit.gateway.fake_upstream import events
from tests.unit.gateway.fake_upstream import message

if TYPE_CHECKING:
    from pathlib import Path

TEST = "tests/test_agent.py::test_it"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a cassette is."""
    return tmp_path / "test_it.json"


def _recorded(cassette_path: Path, *bodies: dict[str, Any], **more: Any) -> None:
    """Write a cassette in which each request is answered by its number."""
    cassette = Cassette(cassette_path)
    for number, body in enumerate(bodies):
        request = Transcriber().request(*asked(body, **more))
        reply = RecordedAnswer(status=200, headers={}, body=f"{number}".encode())
        cassette.add(Episode(request=request, answer=reply))
    cassette.save()


def _source(path: Path) -> ReplaySource:
    return ReplaySource(path, Transcriber(), test=TEST)


def _replayed(source: ReplaySource, *bodies: dict[str, Any], **more: Any) -> list[str]:
    async def scenario() -> list[str]:
        return [(await answer(source, body, **more))[1].decode() for body in bodies]

    return asyncio.run(scenario())


def _missed(source: ReplaySource, body: dict[str, Any], **more: Any) -> UnexpectedRequestError:
    with pytest.raises(UnexpectedRequestError) as caught:
        _replayed(source, body, **more)
    return caught.value


def test_answers_are_found_by_their_requests_in_any_order(path):
    _recorded(path, message("one"), message("two"))
    assert _replayed(_source(path), message("two"), message("one")) == ["1", "0"]


def test_the_same_request_gets_its_answers_in_their_order(path):
    _recorded(path, message(), message("other"), message())
    assert _replayed(_source(path), message(), message()) == ["0", "2"]


def test_a_request_beyond_its_recordings_is_a_miss(path):
    """The last answer is not given again: an agent in a loop would never be noticed."""
    _recorded(path, message(), message())
    source = _source(path)
    _replayed(source, message(), message())
    assert "the same was asked 2 times when it was recorded, and is asked again" in str(
        _missed(source, message())
    )


def test_a_test_that_is_run_again_begins_anew(path):
    _recorded(path, message())
    assert _replayed(_source(path), message()) == _replayed(_source(path), message()) == ["0"]


def test_the_query_and_the_headers_have_no_part_in_it(path):
    _recorded(path, message(), path="/v1/messages?beta=true")
    headers = {"anthropic-beta": "another", "user-agent": "another/2"}
    assert _replayed(_source(path), message(), path="/v1/messages", headers=headers) == ["0"]


def test_another_endpoint_is_another_request(path):
    _recorded(path, message(), path="/v1/messages")
    error = _missed(_source(path), message(), path="/v1/messages/count_tokens")
    assert "+POST /v1/messages/count_tokens" in str(error)


def test_a_changed_word_is_a_miss_that_shows_it_next_to_the_nearest_recording(path):
    prompt = "You are careful. " + "Read all of it first. " * 200
    body = message("Review app.py", system=f"{prompt}Be terse. Be kind.\nAnd end.")
    _recorded(path, message("Something else"), body, message("And else", system="Short"))
    error = _missed(_source(path), {**body, "system": f"{prompt}Be wordy. Be kind.\nAnd end."})
    assert error.problem == (
        f"{path} has no answer to request 0 (/v1/messages?beta=true). The nearest that was "
        "recorded is episode 1."
    )
    assert f"pytest --bottle-model=record {TEST}" in error.remedy
    lines = [line.split() for line in error.detail.splitlines() if line[:1] in {"-", "+"}]
    assert lines == [
        ["---", "recorded,", "episode", "1"],
        ["+++", "asked"],
        ["-", "Be", "terse."],
        ["+", "Be", "wordy."],
    ]
    assert len(error.detail) < 1000


def test_a_long_difference_is_cut(path):
    _recorded(path, message("one"))
    detail = _missed(_source(path), message("\n".join(map(str, range(500))))).detail
    assert len(detail.splitlines()) < 70
    assert "lines more" in detail


def test_a_backslash_and_an_n_are_no_line_break_in_a_difference(path):
    _recorded(path, message(r"a C:\new path"))
    assert r"a C:\\new path" in _missed(_source(path), message("b")).detail


def test_the_nearest_of_many_large_requests_is_found_soon(path):
    text = "\n".join(f"Line {number} of a large prompt." for number in range(1000))
    _recorded(path, *(message(f"{text}\nEnd {number}") for number in range(50)))
    source = _source(path)
    started = time.monotonic()
    error = _missed(source, message(f"{text}\nEnd x"))
    assert time.monotonic() - started < 3
    assert "-     End 0" in error.detail


def test_an_empty_cassette_has_nothing_near(path):
    _recorded(path)
    assert "or to any other" in str(_missed(_source(path), message()))


def test_a_cassette_that_is_not_there_is_said_when_something_is_asked(path):
    source = _source(path)
    with pytest.raises(CassetteError, match=f"--bottle-model=record {TEST}"):
        _replayed(source, message())


def test_a_test_that_asks_nothing_needs_no_cassette(path):
    source = _source(path)
    asyncio.run(source.close())
    assert source.drift() == []


def test_an_answer_comes_an_event_at_a_time(path):
    stream = events("a", "b") + b"data: crlf\r\n\r\nrest"
    cassette = Cassette(path)
    reply = RecordedAnswer(status=200, headers={}, body=stream)
    cassette.add(Episode(request=Transcriber().request(*asked(message())), answer=reply))
    cassette.save()

    async def scenario() -> list[bytes]:
        got = await _source(path).answer(*asked(message()))
        return [part async for part in got.body]

    parts = asyncio.run(scenario())
    assert b"".join(parts) == stream
    assert len(parts) == 6
    assert parts[-2:] == [b"data: crlf\r\n\r\n", b"rest"]


def test_what_was_not_asked_for_is_drift(path):
    _recorded(path, message("one"), message("two"), message("three"))
    source = _source(path)
    _replayed(source, message("two"))
    assert source.drift() == [
        f"{path}: 2 of 3 recorded answers were not asked for (episodes 0, 2)."
    ]


def test_another_version_of_the_agent_is_drift(path):
    _recorded(path, message())
    source = _source(path)
    _replayed(source, message(), headers={"user-agent": "claude-cli/3.0.0 (external)"})
    assert source.drift() == [
        f"{path} was recorded with claude-cli/2.1.330, and is replayed with claude-cli/3.0.0."
    ]


def test_a_replay_like_the_recording_has_no_drift(path):
    _recorded(path, message())
    source = _source(path)
    _replayed(source, message())
    assert source.drift() == []
