"""Secrets do not get into what is shown or written, in whatever form a guest writes them."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from pytest_bottle.redaction import redactor

VALUE = "s3cret/with+signs=&ünïcode"


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        base64.b64encode(VALUE.encode()).decode(),
        base64.b64encode(VALUE.encode()).decode().rstrip("="),
        VALUE.encode().hex(),
        quote(VALUE, safe=""),
    ],
    ids=["plain", "base64", "unpadded", "hex", "url"],
)
def test_every_form_is_replaced_by_the_name(form):
    redact = redactor(["TOKEN"], {"TOKEN": VALUE})
    assert VALUE not in redact(f"<{form}>")
    assert redact(f"<{form}>").rstrip("=>") == "<[secret TOKEN]"


def test_every_occurrence_is_replaced():
    redact = redactor(["A", "B"], {"A": "first", "B": "second"})
    assert redact("first second first") == "[secret A] [secret B] [secret A]"


def test_a_secret_that_holds_another_is_replaced_whole():
    redact = redactor(["SHORT", "LONG"], {"SHORT": "abc", "LONG": "xabcx"})
    assert redact("xabcx abc") == "[secret LONG] [secret SHORT]"


def test_variables_that_are_unset_or_empty_change_nothing():
    assert redactor(["UNSET", "EMPTY"], {"EMPTY": ""})("text") == "text"


def test_without_names_nothing_is_a_secret():
    assert redactor([], {"TOKEN": VALUE})(VALUE) == VALUE


def test_the_environment_of_this_process_is_the_default(monkeypatch):
    monkeypatch.setenv("TOKEN", VALUE)
    assert redactor(["TOKEN"])(VALUE) == "[secret TOKEN]"


def test_a_value_that_is_not_utf8_is_replaced_too():
    """As the environment of a process holds it: with surrogates in the place of odd bytes."""
    raw = b"to\xffken"
    redact = redactor(["TOKEN"], {"TOKEN": raw.decode(errors="surrogateescape")})
    assert redact(f"{raw.hex()} to%FFken") == "[secret TOKEN] [secret TOKEN]"


@pytest.mark.parametrize("before", ["", "u", "us", "use", "user:"])
@pytest.mark.parametrize("after", ["", "a", "ab", "\n"])
def test_a_value_in_the_middle_of_something_in_base64_is_found(before, after):
    """As in the header of basic authentication."""
    encoded = base64.b64encode(f"{before}{VALUE}{after}".encode()).decode()
    assert "[secret TOKEN]" in redactor(["TOKEN"], {"TOKEN": VALUE})(encoded)


@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_value_in_json_is_found_and_in_json_within_json(ascii_only):
    value = 'quo"te\\and\nnewline ünï'
    once = json.dumps({"a": value}, ensure_ascii=ascii_only)
    twice = json.dumps({"b": once}, ensure_ascii=ascii_only)
    redact = redactor(["TOKEN"], {"TOKEN": value})
    assert json.loads(redact(once)) == {"a": "[secret TOKEN]"}
    assert json.loads(json.loads(redact(twice))["b"]) == {"a": "[secret TOKEN]"}
