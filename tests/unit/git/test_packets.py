"""A push's answer: progress passes by, the report gets the gate's own reasons."""

from __future__ import annotations

import pytest

from pytest_bottle.gateway.git.packets import FLUSH
from pytest_bottle.gateway.git.packets import PushReport
from pytest_bottle.gateway.git.packets import packet
from pytest_bottle.gateway.git.packets import split

DECLINED = "pre-receive hook declined"


def report(*lines: str) -> bytes:
    return b"".join(packet(f"{line}\n".encode()) for line in lines) + FLUSH


def banded(progress: bytes, told: bytes) -> bytes:
    return packet(b"\2" + progress) + packet(b"\1" + told) + FLUSH


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_progress_passes_and_the_reason_is_replaced(size):
    answer = banded(b"working\n", report("unpack ok", f"ng refs/heads/main {DECLINED}"))
    taken = PushReport()
    parts = [answer[at : at + size] for at in range(0, len(answer), size)]
    passed = b"".join(map(taken.feed, parts))
    assert passed == packet(b"\2working\n")
    assert taken.unpacked == "ok"
    assert taken.refs == {"refs/heads/main": DECLINED}
    end = taken.finish({"refs/heads/main": "secret in a:1\nok refs/heads/other"})
    reason = "ng refs/heads/main secret in a:1?ok refs/heads/other"
    assert end == packet(b"\1" + report("unpack ok", reason)) + FLUSH


def test_a_report_without_bands_is_rewritten_too():
    taken = PushReport()
    assert taken.feed(report("unpack ok", "ok refs/heads/a", "ng refs/heads/b no")) == b""
    assert taken.refs == {"refs/heads/a": "", "refs/heads/b": "no"}
    expected = report("unpack ok", "ok refs/heads/a", "ng refs/heads/b why")
    assert taken.finish({"refs/heads/b": "why"}) == expected


def test_no_answer_stays_none():
    assert PushReport().finish({}) == b""


def test_what_is_no_packet_is_not_gone_through():
    assert list(split(b"0006ab0000zzzz")) == [b"ab", b""]
    assert list(split(b"0040ab")) == []
    with pytest.raises(ValueError, match="invalid literal"):
        PushReport().feed(b"<html>")
