"""A secret is found in a stream wherever its pieces are cut."""

from __future__ import annotations

import base64
import gzip
import json
import random
import zlib
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.gateway.dlp import streaming
from pytest_bottle.gateway.dlp.scanner import UNSEARCHABLE
from pytest_bottle.gateway.dlp.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Iterator

SECRET = "tok_A1b2C3d4/E5f6+G7h8+I9j0=KlMnOpQr"
RAW = SECRET.encode()
TEXT = b"A line of text that says nothing.\n" * 300

ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda raw: raw,
    "base64": base64.b64encode,
    "base64 in lines": base64.encodebytes,
    "hex": lambda raw: raw.hex().encode(),
    "escaped": lambda raw: "".join(f"\\u{byte:04x}" for byte in raw).encode(),
    "one character per line": lambda raw: "\r\n".join(raw.decode()).encode(),
    "UTF-16": lambda raw: raw.decode().encode("utf-16-le"),
    "gzip": lambda raw: gzip.compress(TEXT + raw),
    "base64 of gzip": lambda raw: base64.b64encode(gzip.compress(raw)),
    "JSON of base64 of zlib": lambda raw: json.dumps(
        base64.encodebytes(zlib.compress(raw + random.Random(1).randbytes(200))).decode()
    ).encode(),
}


@pytest.fixture(scope="module")
def scanner():
    return Scanner({"TOKEN": SECRET}, shapes=False)


def rules_of(scanner: Scanner, pieces: Iterable[bytes]) -> list[str]:
    stream = scanner.stream("an upload")
    found = [finding for piece in pieces for finding in stream.feed(piece)]
    return [finding.rule for finding in (*found, *stream.finish())]


def cut(data: bytes, rng: random.Random, most: int) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = rng.randint(1, most)
        yield data[at : at + size]
        at += size


@pytest.mark.parametrize("encode", ENCODE.values(), ids=list(ENCODE))
@pytest.mark.parametrize("most", [1, 7, 100, 5000])
def test_a_secret_that_is_cut_is_found_once(scanner, encode, most):
    data = TEXT[:3000] + encode(RAW) + TEXT[:3000]
    assert rules_of(scanner, cut(data, random.Random(most), most)) == ["secret TOKEN"]


@pytest.mark.parametrize("at", range(1, len(RAW)))
def test_it_is_found_before_its_last_byte_is_passed_on(scanner, at):
    stream = scanner.stream("an upload")
    assert stream.feed(b"x" * 100 + RAW[:at]) == []
    assert [finding.rule for finding in stream.feed(RAW[at:])] == ["secret TOKEN"]


@pytest.mark.parametrize("encoding", ["base64", "hex", "one character per line", "UTF-16"])
def test_neither_is_the_last_byte_of_what_takes_no_decoding(scanner, encoding):
    stream = scanner.stream("an upload")
    data = ENCODE[encoding](RAW).rstrip(b"\0")
    assert stream.feed(data[:30]) == []
    assert [finding.rule for finding in stream.feed(data[30:])] == ["secret TOKEN"]


@pytest.mark.parametrize("seed", range(15))
def test_any_encoding_in_any_pieces(scanner, seed):
    rng = random.Random(seed)
    noise = rng.randbytes(rng.randint(0, 60_000)).hex().encode()
    data = noise + b"\n" + rng.choice(list(ENCODE.values()))(RAW) + b"\n" + TEXT
    assert rules_of(scanner, cut(data, rng, rng.choice([400, 4000, 40_000]))) == ["secret TOKEN"]


def test_a_long_stream_is_searched_to_its_end(scanner):
    pieces = [TEXT[:4096]] * 1500
    secret = TEXT + base64.b64encode(gzip.compress(RAW)) + TEXT
    assert rules_of(scanner, [*pieces, secret[:10_300], secret[10_300:], *pieces[:300]]) == [
        "secret TOKEN"
    ]


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress], ids=["gzip", "zlib"])
def test_a_long_compressed_stream_is_unpacked_as_it_comes(scanner, compress, monkeypatch):
    """However little of it is kept."""
    monkeypatch.setattr(streaming, "WINDOW", 128 * 1024)
    monkeypatch.setattr(streaming, "_WIDEST", 32 * 1024)
    noise = random.Random(3).randbytes(600_000)
    data = compress(noise + RAW + noise)
    assert rules_of(scanner, (data[at : at + 16384] for at in range(0, len(data), 16384))) == [
        "secret TOKEN"
    ]


def test_a_bomb_in_a_stream_cannot_be_searched(scanner):
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    assert set(rules_of(scanner, [bomb])) == {UNSEARCHABLE}


def test_nothing_is_found_in_an_empty_stream(scanner):
    assert rules_of(scanner, [b"", b""]) == []


def test_a_known_shape_that_is_cut_is_found_once():
    token = "ghp_" + "x7Kq2LmN9pRs4TuV6wYz8AbC1dEf3GhJ5kQw"
    data = TEXT + token.encode() + TEXT
    for most in (9, 5000):
        found = rules_of(Scanner({}), cut(data, random.Random(1), most))
        assert found == ["github-token"]
