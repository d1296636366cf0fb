"""No body keeps a search busy: what is too much is said to be so."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import random
import time
import zipfile
import zlib

import pytest

from pytest_bottle.gateway.dlp.scanner import UNSEARCHABLE
from pytest_bottle.gateway.dlp.scanner import Scanner

SECRET = "tok_A1b2C3d4/E5f6+G7h8+I9j0=KlMnOpQr"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def scanner():
    return Scanner({"TOKEN": SECRET}, shapes=False)


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(str(number), content)
    return file.getvalue()


@pytest.mark.parametrize(
    "bomb",
    [
        gzip.compress(bytes(64 * MIB)),
        zlib.compress(bytes(64 * MIB)),
        bz2.compress(bytes(64 * MIB)),
        lzma.compress(bytes(64 * MIB)),
        zipped(bytes(16 * MIB)),
        base64.b64encode(gzip.compress(gzip.compress(bytes(64 * MIB)))),
        gzip.compress(bytes(10 * MIB)) * 10,
    ],
    ids=["gzip", "zlib", "bzip2", "xz", "ZIP", "nested", "many"],
)
def test_a_bomb_cannot_be_searched(scanner, bomb):
    (finding,) = scanner.scan(bomb, "a body")
    assert finding.rule == UNSEARCHABLE
    assert finding.evidence == "more than 32 MiB when unpacked"


@pytest.mark.parametrize("library", ["brotli", "zstandard"])
def test_neither_can_one_of_another_library(scanner, library):
    module = pytest.importorskip(library)
    compress = module.compress if library == "brotli" else module.ZstdCompressor().compress
    assert [each.rule for each in scanner.scan(compress(bytes(64 * MIB)), "x")] == [UNSEARCHABLE]


def test_what_was_found_before_a_bomb_is_reported_with_it(scanner):
    data = SECRET.encode() + gzip.compress(bytes(64 * MIB))
    assert [each.rule for each in scanner.scan(data, "x")] == ["secret TOKEN", UNSEARCHABLE]


def test_a_large_archive_within_the_bound_is_searched(scanner):
    data = gzip.compress(bytes(20 * MIB) + SECRET.encode())
    assert [each.rule for each in scanner.scan(data, "x")] == ["secret TOKEN"]


def test_a_fourth_encoding_is_not_decoded(scanner):
    """Of compressions, as the innermost encoding of a secret takes no decoding."""
    data = SECRET.encode()
    for _ in range(4):
        data = gzip.compress(data + random.Random(4).randbytes(64), mtime=0)
    # Stored blocks hold what they pack as it is: only what was really packed tells.
    packed = zlib.compress(b" ".join([data] * 3), 9)
    assert not any(each.rule == "canary" for each in scanner.scan(packed, "x"))


HOSTILE = {
    "starts of gzip": b"\x1f\x8b\x08" * (MIB // 3),
    "starts of zlib": b"x\x9c" * (MIB // 2),
    "starts of ZIP": b"PK\x03\x04" * (MIB // 4),
    "escapes": b"\\u0041\\n" * (MIB // 8),
    "percents": b"%41" * (MIB // 3),
    "backslashes": b"\\" * MIB,
    "references": b"&#65;&amp;" * (MIB // 10),
    "one base64 text": b"A" * MIB,
    "many base64 texts": b"QUJDREVGR0hJSktM " * (MIB // 17),
    "keys": b"pwd:" * (MIB // 4),
    "assignments": b"token=x1Y2z3" * (MIB // 12),
    "GitLab tokens": b"glrt-" * (MIB // 5),
    "GitHub tokens": b"ghp_" * (MIB // 4),
    "Slack tokens": b"xoxb-1-" * (MIB // 7),
    "OpenAI keys": b"sk-T3BlbkFJ" * (MIB // 11),
    "JSON web tokens": b"eyJ" * (MIB // 3),
    "more JSON web tokens": b" eyJhbGciOi." * (MIB // 12),
    "URLs": b"://a:" * (MIB // 5),
    "private keys": b"-----BEGIN PRIVATE KEY-----" * (MIB // 27),
    "npm tokens": b"//:_authToken=" * (MIB // 14),
    "Discord tokens": b"M" * MIB,
    "zeros": bytes(MIB),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=list(HOSTILE))
def test_a_body_that_looks_like_much_takes_seconds_at_most(body):
    """Of processor time: a machine may be slow, and busy with something else."""
    scanner = Scanner({"TOKEN": SECRET})
    start = time.thread_time()
    scanner.scan(body, "a body")
    assert time.thread_time() - start < 20


def test_a_body_of_many_kinds_of_encodings_takes_seconds_at_most():
    """Each of them gives something new to look at, which has all of them again."""
    rng = random.Random(5)
    layer = rng.randbytes(2000)
    for _ in range(4):
        layer = b" ".join(
            (base64.b64encode(layer), layer.hex().encode(), gzip.compress(layer), layer[:1000])
        )
    body = json.dumps(layer.decode("latin-1")).encode()[: 2 * MIB]
    start = time.thread_time()
    Scanner({"TOKEN": SECRET}).scan(body, "a body")
    assert time.thread_time() - start < 30
