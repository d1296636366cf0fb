"""What a guest writes is read without trust: nothing raises, and what makes no sense is counted."""

from __future__ import annotations

import json
import random
from itertools import islice
from typing import Any

import pytest

from pytest_bottle.agents.registry import BUILTIN
from pytest_bottle.agents.run import Exit
from pytest_bottle.agents.run import ReadRun

READERS = ["claude-tools", "claude-subagent", "claude-deny-rule", "codex-tools", "codex-killed"]

JUNK: list[object] = [
    None,
    True,
    -1,
    1.5,
    10**400,
    "",
    "x\x1b[2J\x00",
    "\ud83d",
    [],
    [None, [], "x", {}],
    {},
    {"type": []},
    {"text": {"text": 1}},
]


def readable(run: ReadRun) -> None:
    """Use all that a run says, as reports do."""
    assert isinstance(run.exit, Exit)
    run.text.encode()
    assert run.usage.total_tokens >= 0
    for turn in run.transcript:
        (turn.text + turn.thinking).encode()
        for call in turn.tool_calls:
            json.dumps([call.name, call.input, call.output, call.command], allow_nan=False)
    for denial in run.permission_denials:
        json.dumps([denial.tool, denial.input, denial.reason], allow_nan=False)


def replaced(value: Any, place: int, junk: object) -> tuple[Any, int]:
    """Return a JSON value with one of its parts replaced, and how many parts were passed."""
    if place == 0:
        return junk, -1
    place -= 1
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        result = value.copy()
        for key, part in parts:
            result[key], place = replaced(part, place, junk)
            if place < 0:
                break
        return result, place
    return value, place


@pytest.mark.parametrize("name", READERS)
def test_any_part_of_an_event_may_be_of_any_type(stream, name):
    """Each part of each event in turn becomes something else."""
    agent = BUILTIN[name.partition("-")[0]]
    lines = stream(name).splitlines()
    dice = random.Random(name)
    for number, line in enumerate(lines):
        event = json.loads(line)
        for place in range(1, 60):
            changed, left = replaced(event, place, dice.choice(JUNK))
            if left >= 0:
                break
            changed_lines = [*lines[:number], json.dumps(changed).encode(), *lines[number + 1 :]]
            readable(agent.read(b"\n".join(changed_lines), b"", 0))


def test_any_part_of_a_record_may_be_of_any_type(stream):
    """The same for the file that Codex keeps."""
    lines = stream("codex-deny-rule.record").splitlines()
    dice = random.Random(0)
    for number, line in enumerate(lines):
        event = json.loads(line)
        for place in range(1, 60):
            changed, left = replaced(event, place, dice.choice(JUNK))
            if left >= 0:
                break
            record = [*lines[:number], json.dumps(changed).encode(), *lines[number + 1 :]]
            readable(BUILTIN["codex"].read(b"", b"", 0, b"\n".join(record)))


@pytest.mark.parametrize("kind", ["claude", "codex"])
@pytest.mark.parametrize(
    "line",
    [
        b"not JSON",
        b'"a string"',
        b"[1, 2]",
        b'{"type": "assistant", "message": ',
        b'{"type": NaN}',
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b'{"n": ' + b"9" * 5_000 + b"}",
    ],
    ids=lambda line: repr(line[:30]),
)
def test_a_line_that_makes_no_sense_is_counted_and_passed_over(stream, kind, line):
    agent = BUILTIN[kind]
    whole = stream(f"{kind}-text")
    run = agent.read(line + b"\n" + whole + line + b"\n\n", b"", 0)
    assert run.unreadable == 2
    assert run.text == "Hello."
    assert run.exit is Exit.COMPLETED


def test_bytes_that_are_no_text_are_replaced_where_they_are(stream):
    run = BUILTIN["claude"].read(stream("claude-text").replace(b"Hello.", b"Hell\xff."), b"", 0)
    assert (run.text, run.unreadable) == ("Hell\ufffd.", 0)


def test_half_a_character_can_be_printed(stream):
    run = BUILTIN["claude"].read(stream("claude-text").replace(b"Hello.", b"\\ud83d"), b"", 0)
    assert run.text == "?"


def test_a_huge_line_is_read(stream):
    text = b"x" * 8 * 1024 * 1024
    run = BUILTIN["claude"].read(stream("claude-text").replace(b"Hello.", text), b"", 0)
    assert len(run.text) == len(text)


def test_counts_that_cannot_be_are_none(stream):
    whole = stream("codex-text").replace(b'"output_tokens":20', b'"output_tokens":-20')
    assert BUILTIN["codex"].read(whole, b"", 0).usage.output_tokens == 0


def test_very_many_denials_of_very_many_calls_take_no_long(stream):
    """Reading takes time in proportion to the length of what was written."""
    line = next(islice(stream("claude-denied").splitlines(), 1, None))
    denial = b'{"type":"system","subtype":"permission_denied","tool_use_id":"nobody"}'
    run = BUILTIN["claude"].read(b"\n".join([line] * 5_000 + [denial] * 20_000), b"", 0)
    assert len(run.transcript[0].tool_calls) == 5_000
