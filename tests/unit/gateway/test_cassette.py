"""Cassettes have a place for each test, are read as they were written, or say what is wrong."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from pytest_bottle.errors import CassetteError
from pytest_bottle.gateway.cassette import VERSION
from pytest_bottle.gateway.cassette import Cassette
from pytest_bottle.gateway.cassette import cassette_path
from pytest_bottle.gateway.normalise import normalise
from pytest_bottle.gateway.transcribing import Episode
from pytest_bottle.gateway.transcribing import RecordedAnswer
from pytest_bottle.gateway.transcribing import RecordedRequest
from tests.unit.gateway.fake_upstream import message

MODULE = Path("/suite/test_agent.py")


def _episode(body=None, answer=b"data: 1\n\n") -> Episode:
    return Episode(
        request=RecordedRequest(
            method="POST",
            path="/v1/messages",
            headers={"anthropic-version": "2023-06-01"},
            agent="claude-cli/2.1.330",
            body=normalise(body or message()),
        ),
        answer=RecordedAnswer(status=200, headers={"retry-after": "1"}, body=answer),
    )


def _written(path: Path, *episodes: Episode) -> Cassette:
    cassette = Cassette(path)
    for episode in episodes:
        cassette.add(episode)
    cassette.save()
    return cassette


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("test_it", "test_it.json"),
        ("test_it[gpt-5]", "test_it[gpt-5].json"),
        ("test_it[a=1,b=2.5]", "test_it[a=1,b=2.5].json"),
    ],
)
def test_a_plain_name_is_the_files(node, name):
    assert cassette_path(MODULE, node) == Path("/suite/cassettes/test_agent") / name


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("TestIt::test_it", "TestIt.test_it"),
        ("test_it[../../etc/passwd]", "test_it[..-..-etc-passwd]"),
        ("test_it[grüße 🙂]", "test_it[gr-e-]"),
        ("test_it[A]", "test_it[A]"),
        ("test_it[" + "x" * 300 + "]", "test_it[" + "x" * 92),
        ("..", ""),
        ("test_it[x]-0123abcd", "test_it[x]-0123abcd"),
    ],
)
def test_another_name_is_made_safe_and_ends_in_its_digest(node, name):
    path = cassette_path(MODULE, node)
    assert path.parent == Path("/suite/cassettes/test_agent")
    assert re.fullmatch(re.escape(name) + r"-[0-9a-f]{8}\.json", path.name)


def test_each_id_has_a_file_of_its_own_whatever_the_file_system():
    odd = [
        "a",
        "A",
        "a/b",
        "a-b",
        "a b",
        "a:b",
        "a::b",
        "ä",
        "a\u0308",
        "\ud83d",
        "",
        ".",
        "x" * 300,
    ]
    ids = [f"test_it[{value}]" for value in odd]
    ids += ["test_it", "test_It", "TestIt::test_it", "TestIt.test_it", "A::b.c", "A.b::c"]
    ids += [f"test_it[{'x' * 301}]", cassette_path(MODULE, "test_it[A]").stem]
    paths = {str(cassette_path(MODULE, each)).casefold() for each in ids}
    assert len(paths) == len(ids)
    assert all(len(os.fsencode(Path(path).name)) < 200 for path in paths)


def test_bottles_of_one_test_have_files_of_their_own():
    second = cassette_path(MODULE, "test_it[@2]", "2")
    assert second != cassette_path(MODULE, "test_it[@2]")
    assert cassette_path(MODULE, "test_it", "2").name == "test_it@2-d4735e3a.json"


def test_modules_of_one_name_in_two_directories_have_files_of_their_own():
    other = Path("/suite/more/test_agent.py")
    assert cassette_path(other, "test_it") != cassette_path(MODULE, "test_it")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"one line",
        b"a\r\nb\rc\n\n\nd",
        "\u2028\u0085\x0b\x00 ü 🙂\n".encode(),
        b"\xff\x00\n",
    ],
)
def test_an_answer_is_read_as_it_was_written(tmp_path, body):
    path = tmp_path / "test_it.json"
    _written(path, _episode(answer=body))
    assert Cassette.load(path).episodes == [_episode(answer=body)]


def test_a_request_with_half_a_character_can_be_kept(tmp_path):
    path = tmp_path / "test_it.json"
    _written(path, _episode(message("half \ud83d of it")))
    assert Cassette.load(path).episodes == [_episode(message("half \ud83d of it"))]


def _conversation(turns: int) -> list[dict[str, object]]:
    body = message("Begin", system="S" * 1000, tools=[{"name": "Bash"}])
    bodies = [body]
    for turn in range(turns):
        said = [{"role": "assistant", "content": f"a{turn}"}, {"role": "user", "content": "go on"}]
        bodies.append({**bodies[-1], "messages": [*bodies[-1]["messages"], *said]})
    return bodies


def test_a_conversation_is_written_once(tmp_path):
    """Though each request has all of it: a reader sees what is new, and the file stays small."""
    path = tmp_path / "test_it.json"
    bodies = [*_conversation(20), message("Another", system="T")]
    bodies += [{**bodies[3], "temperature": 1, "messages": bodies[3]["messages"][:2]}]
    bodies += [{key: bodies[4][key] for key in ("model", "system", "messages")}]
    _written(path, *map(_episode, bodies))
    assert [each.request for each in Cassette.load(path).episodes] == [
        _episode(body).request for body in bodies
    ]
    text = path.read_text()
    assert text.count("S" * 1000) == 1
    assert text.count('"a3"') == 1


def test_the_file_can_be_read_by_a_person(tmp_path):
    path = tmp_path / "test_it.json"
    _written(path, _episode(message("Grüße"), "data: {ü}\r\n\n".encode()))
    lines = [line.strip() for line in path.read_text().splitlines()]
    assert lines[1] == f'"version": {VERSION},'
    assert '"text": "Grüße"' in lines
    assert '"data: {ü}\\r\\n",' in lines
    assert json.loads(path.read_text())["episodes"][0]["answer"]["lines"][1] == "\n"


def test_the_same_cassette_is_the_same_file(tmp_path):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    episodes = [_episode(body) for body in _conversation(3)]
    _written(one, *episodes)
    Cassette.load(one)
    cassette = Cassette(two)
    for order in (2, 0, 3, 1):
        cassette.add(episodes[order], order)
        cassette.save()
    assert one.read_bytes() == two.read_bytes()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "test_it.json"
    path.mkdir()
    with pytest.raises(CassetteError, match="it cannot be written: Is a directory"):
        _written(path, _episode())
    assert list(tmp_path.iterdir()) == [path]


def _load_error(path: Path) -> str:
    with pytest.raises(CassetteError) as caught:
        Cassette.load(path, test="tests/test_agent.py::test_it[a b]")
    return str(caught.value)


def test_a_missing_cassette_says_how_to_record_it(tmp_path):
    path = tmp_path / "test_it.json"
    assert _load_error(path) == (
        f"{path}: nothing has been recorded there. Record it anew: "
        "pytest --bottle-model=record 'tests/test_agent.py::test_it[a b]'"
    )


def test_a_cassette_of_a_later_version_is_refused(tmp_path):
    path = tmp_path / "test_it.json"
    path.write_text(json.dumps({"version": VERSION + 1, "episodes": [{"what": "ever"}]}))
    error = _load_error(path)
    assert f"its format is {VERSION + 1}" in error
    assert "Update pytest-bottle" in error
    assert "--bottle-model=record" in error


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"version": 1}', '{"version": "1", "episodes": []}', "\x00", '"\\ud8'],
)
def test_what_is_no_cassette_is_damaged(tmp_path, text):
    path = tmp_path / "test_it.json"
    path.write_text(text)
    assert f"{path}: it is damaged" in _load_error(path)


def test_bytes_that_are_no_text_are_damage(tmp_path):
    path = tmp_path / "test_it.json"
    path.write_bytes(b'{"version": "\xff\xfe"}')
    assert f"{path}: it is damaged" in _load_error(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda item: item.pop("answer"),
        lambda item: item["request"].pop("method"),
        lambda item: item["request"].update(like=7, body=None),
        lambda item: (item["request"].pop("body"), item["request"].update(like=1)),
        lambda item: item["answer"].pop("lines"),
        lambda item: item["answer"].update(lines=[1]),
        lambda item: item["answer"].update(lines=None, base64="@"),
        lambda item: item["answer"].update(status="ok"),
        lambda item: item.update(request=[]),
    ],
)
def test_a_damaged_episode_is_named_by_its_number(tmp_path, damage):
    path = tmp_path / "test_it.json"
    _written(path, _episode(), _episode(message("Other")))
    value = json.loads(path.read_text())
    damage(value["episodes"][1])
    path.write_text(json.dumps(value))
    assert "episode 1 is damaged" in _load_error(path)
