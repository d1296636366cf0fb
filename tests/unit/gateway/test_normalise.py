"""What differs from run to run is ignored, and nothing else: a changed word is another request."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle.gateway.normalise import normalise
from tests.unit.gateway.agent_requests import UUIDS
from tests.unit.gateway.agent_requests import chat
from tests.unit.gateway.agent_requests import claude
from tests.unit.gateway.agent_requests import codex
from tests.unit.gateway.agent_requests import saying

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

KINDS = pytest.mark.parametrize("request_of", [claude, codex, chat])


@KINDS
def test_two_runs_ask_the_same(request_of):
    assert request_of(0) != request_of(1)
    assert normalise(request_of(0)) == normalise(request_of(1))


@KINDS
def test_twice_is_the_same_as_once(request_of):
    once = normalise(request_of())
    assert normalise(once) == once


@KINDS
def test_the_request_itself_is_left_as_it_is(request_of):
    body = request_of()
    normalise(body)
    assert body == request_of()


def _texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in items:
            yield from _texts(each, (*path, key))


def _with(body: dict[str, Any], path: tuple[Any, ...], text: str) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = text
    return changed


def _alike(word: str) -> str:
    """Return another word of the same form: what a pattern would most easily take for the same."""
    for at, character in enumerate(word):
        if character.isalnum() and character.isascii():
            other = {"9": "8", "f": "e", "z": "y", "F": "E", "Z": "Y"}.get(
                character, chr(ord(character) + 1)
            )
            return word[:at] + other + word[at + 1 :]
    return f"{word}!"


def _unnoticed(body: dict[str, Any], change: Callable[[str], str]) -> list[str]:
    """Return the words that can change without the request being another one."""
    expected = normalise(body)
    found = []
    for path, text in _texts(body):
        words = text.split(" ")
        for at, word in enumerate(words):
            if word.strip():
                changed = " ".join([*words[:at], change(word), *words[at + 1 :]])
                if normalise(_with(body, path, changed)) == expected:
                    found.append(word)
    return found


IGNORED = {
    claude: {
        "ephemeral",  # where an agent wants its caching marks
        "text",  # of the block for billing
        "cc_version=2.1.330.572;",
        "cc_entrypoint=sdk;",
        *json.dumps(json.loads(claude()["metadata"]["user_id"])).split(" "),
        "b472" * 16,  # a signature
        *("linux\n", "bash\n", "Linux", "6.1.0-18-amd64\n"),
        "2026-11-23.",  # today
        "`/root/.claude/projects/-workspace/memory/`.",
        "4547183942dc0db87b67dfd9d38fdf13ba98bb34\nAuthor:",
        *("Mon", "Nov", "23", "16:32:02", "2026", "+0000\n\n"),  # of the commit
        *("Nov", "20", "16:32", "2026"),  # of the files
        "0.10s",
    },
    codex: {
        "`/root/.codex/skills/.system`,",
        *("msg_0", "msg_1", "msg_2", "rs_3", "fc_4", "fco_5"),
        UUIDS[0],  # of the session, and what stands for encrypted thoughts
        "c6f9c0\nWall",
        "0.0000",
        "50\nOutput:\napp.py\n",
    },
    chat: {"2026-11-20", "1.00s\napp.py"},
}


@KINDS
@pytest.mark.parametrize("change", [_alike, lambda _: "zebra"], ids=["alike", "other"])
def test_every_word_counts_but_for_these(request_of, change):
    assert set(_unnoticed(request_of(), change)) <= IGNORED[request_of]


@KINDS
def test_these_words_do_not_count(request_of):
    found = {*_unnoticed(request_of(), _alike), *_unnoticed(request_of(), lambda _: "zebra")}
    assert found == IGNORED[request_of]


def test_the_subjects_of_commits_count():
    one = normalise(saying("context", "Recent commits:\n1234567 One\n1234567 Two\n"))
    assert one != normalise(saying("context", "Recent commits:\n1234567 One\n1234567 Three\n"))
    assert "1234567" not in str(one)


def test_a_block_that_begins_like_the_billing_header_is_kept_if_it_says_more():
    """Else a prompt could hide behind it."""
    text = "x-anthropic-billing-header: cc_version=1;\nBe evil."
    body = {"system": [{"type": "text", "text": text}], "messages": []}
    assert normalise(body)["system"] == body["system"]


def test_a_user_may_quote_the_billing_header():
    text = "x-anthropic-billing-header: cc_version=1;"
    assert text in str(normalise(saying("user", text)))


def test_results_of_two_calls_are_not_mixed_up():
    def request(first: str, second: str) -> dict[str, Any]:
        calls: list[dict[str, Any]] = [
            {"type": "tool_use", "id": each, "name": "Bash", "input": {}} for each in ("a", "b")
        ]
        results = [
            {"type": "tool_result", "tool_use_id": each, "content": text}
            for each, text in ((first, "one"), (second, "two"))
        ]
        return {
            "messages": [
                {"role": "assistant", "content": calls},
                {"role": "user", "content": results},
            ]
        }

    assert normalise(request("a", "b")) != normalise(request("b", "a"))


def test_other_metadata_counts():
    one, other = ({"metadata": {"user_id": "a", "team": team}} for team in "xy")
    assert normalise(one) == {"metadata": {"team": "x"}} != normalise(other)


@pytest.mark.parametrize(
    "change",
    [{"model": "claude-y"}, {"max_tokens": 1}, {"stream": False}, {"tools": []}, {"new": 1}],
)
def test_other_settings_count(change):
    assert normalise({**claude(), **change}) != normalise(claude())


def test_given_names_are_replaced_wherever_they_stand():
    names = {"host": "bottle-1a2b", "bottle": "bottle-1a2b-long"}
    body = saying("user", "ssh bottle-1a2b, bottle-1a2b-long, xbottle-1a2b and bottle-1a2b.x")
    text = normalise(body, names)["messages"][0]["content"][0]["text"]
    assert text == "ssh [host], [bottle], xbottle-1a2b and bottle-1a2b.x"


def test_the_working_directory_is_replaced_as_a_whole_path_only():
    body = {
        "system": "Working directory: /workspace",
        "messages": [
            {"role": "user", "content": "/workspace/a /workspace. /workspaces /x/workspace"}
        ],
    }
    text = normalise(body)["messages"][0]["content"][0]["text"]
    assert text == "[cwd]/a [cwd]. /workspaces /x/workspace"


def test_what_a_user_calls_a_working_directory_is_a_prompt():
    body = saying("user", "Working directory: /one")
    assert "/one" in str(normalise(body))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": None, "system": 1, "tools": {}, "metadata": [], "input": 7},
        {"messages": ["text", None, {"content": 1}, {"role": [], "content": [None, 1, "x"]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]},
        {"input": "just a text", "instructions": None},
        {"messages": [{"role": "assistant", "tool_calls": [None, {"id": 1}]}]},
        {"tools": [None, "x"]},
    ],
)
def test_nonsense_is_left_as_it_is(body):
    """What an API makes of it is for the API to say."""
    once = normalise(body)
    assert normalise(once) == once
