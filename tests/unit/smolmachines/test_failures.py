"""What the engine says when it fails, and what is made of it."""

from __future__ import annotations

import pytest

from pytest_bottle.backends.smolmachines.failures import CONFIG_ERROR
from pytest_bottle.backends.smolmachines.failures import ENGINE_ERROR
from pytest_bottle.backends.smolmachines.failures import NOT_FOUND
from pytest_bottle.backends.smolmachines.failures import UNSAID
from pytest_bottle.backends.smolmachines.failures import SmolvmError
from pytest_bottle.backends.smolmachines.failures import read_failure
from tests.unit.smolmachines.conftest import CASES

ASKED = ("absent", "stopped", "lost", "taken", "has_branches", "unbranchable")
"""What callers want to know of a failure."""


def failure(title: str) -> SmolvmError:
    (entry,) = (entry for entry in CASES[title] if entry["returncode"] != 0)
    verb = " ".join(entry["argv"][:2])
    return read_failure(verb, entry["returncode"], entry["stderr"].encode(errors="surrogateescape"))


@pytest.mark.parametrize(
    ("title", "code", "meaning"),
    [
        ("start: no machine", NOT_FOUND, "absent"),
        ("stop: no machine", NOT_FOUND, "absent"),
        ("delete: no machine", NOT_FOUND, "absent"),
        ("exec: no machine", NOT_FOUND, "absent"),
        ("cp: no machine", NOT_FOUND, "absent"),
        ("branch: no machine", NOT_FOUND, "absent"),
        ("pack: no machine", ENGINE_ERROR, "absent"),
        ("exec: not running", ENGINE_ERROR, "stopped"),
        ("cp: not running", ENGINE_ERROR, "stopped"),
        ("branch: not running", ENGINE_ERROR, "stopped"),
        ("create: the name is taken", CONFIG_ERROR, "taken"),
        ("branch: the name is taken", ENGINE_ERROR, "taken"),
        ("delete: it has branches", ENGINE_ERROR, "has_branches"),
        ("branch: not started to be branched", ENGINE_ERROR, "unbranchable"),
        ("exec: the machine is stopped meanwhile", ENGINE_ERROR, "lost"),
        ("create: a bad name", CONFIG_ERROR, None),
        ("create: no archive", CONFIG_ERROR, None),
        ("create: no pack", CONFIG_ERROR, None),
        ("create: too little memory", CONFIG_ERROR, None),
        ("create: no such mount", NOT_FOUND, None),
        ("start: a registry that does not answer", ENGINE_ERROR, None),
        ("exec: no such user", ENGINE_ERROR, None),
        ("cp: nothing there", ENGINE_ERROR, None),
        ("cp: a directory", ENGINE_ERROR, None),
        ("pack: running", ENGINE_ERROR, None),
    ],
)
def test_a_failure_means_one_thing(title, code, meaning):
    found = failure(title)
    assert found.code == code
    assert [word for word in ASKED if getattr(found, word)] == ([meaning] if meaning else [])


def test_the_sentence_names_the_verb_and_quotes_the_engine():
    assert str(failure("start: no machine")) == "`smolvm machine start` failed: vm not found: none"


def test_progress_and_warnings_before_the_error_are_passed_over():
    found = failure("start: a text for an archive")
    assert "WARN" in CASES["start: a text for an archive"][0]["stderr"]
    assert found.message.startswith("agent operation failed: start background CMD")
    assert "WARN" not in found.message


@pytest.mark.parametrize("title", ["create: an unknown option", "an unknown verb"])
def test_an_engine_of_another_time_does_not_know_the_arguments(title):
    found = failure(title)
    assert found.code == UNSAID
    assert found.message.startswith(
        "this release of the engine does not know the arguments. error: un"
    )


@pytest.mark.parametrize(
    ("returncode", "stderr", "message"),
    [
        (1, b"Error: \x1b[31mno disk\x1b[0m\n", "no disk"),
        (1, b'{"error": "no object"}\n', '{"error": "no object"}'),
        (1, b"[1]\n", "[1]"),
        (1, b"\xff\n", "\N{REPLACEMENT CHARACTER}"),
        (3, b"", "return code 3"),
        (-9, b"", "it was killed by signal 9."),
        (-11, b"Starting\n", "it was killed by signal 11. Starting"),
    ],
)
def test_plain_text_is_quoted(returncode, stderr, message):
    found = read_failure("machine start", returncode, stderr)
    assert (found.code, found.message) == (UNSAID, message)


def test_only_the_end_of_a_long_text_is_quoted():
    assert len(read_failure("pack create", 1, b"x" * 100_000).message) == 2000
