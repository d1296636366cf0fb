"""A declared secret is found in whatever form it leaves a bottle."""

from __future__ import annotations

import base64
import bz2
import codecs
import gzip
import html
import io
import json
import lzma
import quopri
import random
import string
import textwrap
import zipfile
import zlib
from typing import TYPE_CHECKING
from urllib.parse import quote
from urllib.parse import quote_plus

import pytest

from pytest_bottle.gateway.dlp.scanner import CANARY
from pytest_bottle.gateway.dlp.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "tok_A1b2C3d4/E5f6+G7h8 I9j0=KlMnOpQr"
RAW = SECRET.encode()

PROSE = b"What comes before it and after it is of no interest to anybody. " * 20


def in_zip(raw: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", PROSE + raw)
    return file.getvalue()


def raw_deflate(raw: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(raw) + stream.flush()


def joined(separator: str, pieces: bytes) -> bytes:
    return separator.join(pieces.decode()).encode()


def escaped(pattern: str, raw: bytes) -> bytes:
    return "".join(pattern.format(byte) for byte in raw).encode()


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda raw: raw,
    "URL": lambda raw: quote(raw, safe="").encode(),
    "URL in lower case": lambda raw: escaped("%{:02x}", raw),
    "URL twice": lambda raw: quote(quote(raw, safe=""), safe="").encode(),
    "form": lambda raw: quote_plus(raw).encode(),
    "base64": base64.b64encode,
    "base64 after one byte": lambda raw: base64.b64encode(b":" + raw + b"."),
    "base64 after two bytes": lambda raw: base64.b64encode(b"u:" + raw + b".,"),
    "base64 for URLs, unpadded": lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"="),
    "base64 in lines": lambda raw: base64.encodebytes(PROSE + raw),
    "base64 in short lines": lambda raw: "\r\n".join(
        textwrap.wrap(base64.b64encode(raw).decode(), 10)
    ).encode(),
    "base64 twice": lambda raw: base64.b64encode(base64.b64encode(b"1" + raw)),
    "base64 four times": lambda raw: base64.b64encode(
        base64.b64encode(base64.b64encode(base64.b64encode(raw)))
    ),
    "base64 of UTF-16": lambda raw: base64.b64encode(raw.decode().encode("utf-16-le")),
    "hex": lambda raw: raw.hex().encode(),
    "hex in upper case": lambda raw: raw.hex().upper().encode(),
    "hex with colons": lambda raw: raw.hex(":").encode(),
    "hex of a program": lambda raw: escaped("\\x{:02x}", raw),
    "octal": lambda raw: escaped("\\{:03o}", raw),
    "base32": base64.b32encode,
    "base32 after three bytes": lambda raw: base64.b32encode(b"abc" + raw),
    "reversed": lambda raw: raw[::-1],
    "ROT13": lambda raw: codecs.encode(raw.decode(), "rot13").encode(),
    "UTF-16": lambda raw: raw.decode().encode("utf-16"),
    "UTF-16, big-endian": lambda raw: raw.decode().encode("utf-16-be"),
    "JSON": lambda raw: json.dumps({"said": raw.decode()}).encode(),
    "JSON in JSON": lambda raw: json.dumps(json.dumps({"said": raw.decode()})).encode(),
    "JSON, all escaped": lambda raw: escaped("\\u{:04x}", raw),
    "JavaScript, all escaped": lambda raw: escaped("\\u{{{:x}}}", raw),
    "HTML": lambda raw: html.escape(raw.decode()).encode(),
    "HTML, by numbers": lambda raw: escaped("&#{};", raw),
    "HTML, by hexadecimal numbers": lambda raw: escaped("&#x{:X};", raw),
    "quoted-printable": lambda raw: quopri.encodestring(b"x" * 60 + raw),
    "quoted-printable, all quoted": lambda raw: escaped("={:02X}", raw),
    "one character per line": lambda raw: joined("\n", raw),
    "with hyphens": lambda raw: joined("-", raw),
    "a list of characters": lambda raw: json.dumps(list(raw.decode())).encode(),
    "in upper case": lambda raw: raw.upper(),
    "gzip": gzip.compress,
    "gzip after something": lambda raw: PROSE + gzip.compress(PROSE + raw) + PROSE,
    "zlib": zlib.compress,
    "deflate": raw_deflate,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "ZIP": in_zip,
    "base64 of gzip": lambda raw: base64.b64encode(gzip.compress(raw)),
    "base64 of gzip, after a path": lambda raw: b"/up/x" + base64.b64encode(gzip.compress(raw)),
    "base64 of deflate": lambda raw: base64.b64encode(raw_deflate(raw * 3)),
    "hex of gzip of base64": lambda raw: gzip.compress(base64.b64encode(raw)).hex().encode(),
    "JSON of base64 lines of gzip": lambda raw: json.dumps(
        base64.encodebytes(gzip.compress(raw + random.Random(1).randbytes(300))).decode()
    ).encode(),
    "gzip of gzip of gzip": lambda raw: gzip.compress(gzip.compress(gzip.compress(raw))),
}


def rules(scanner: Scanner, data: bytes) -> list[str]:
    return [finding.rule for finding in scanner.scan(data, "a body")]


@pytest.fixture(scope="module")
def scanner():
    return Scanner({"TOKEN": SECRET, "OTHER": "never-seen-anywhere-0123"}, shapes=False)


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=list(ENCODINGS))
def test_every_encoding_is_seen_through(scanner, encode):
    assert rules(scanner, encode(RAW)) == ["secret TOKEN"]


@pytest.mark.parametrize(
    "encode",
    [encode for name, encode in ENCODINGS.items() if name != "deflate"],
    ids=[name for name in ENCODINGS if name != "deflate"],
)
def test_it_is_found_between_other_things(scanner, encode):
    """In the part of a form, where it has a boundary and headers of its own."""
    part = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n%b\r\n--x--\r\n' % encode(RAW)
    assert rules(scanner, PROSE + part) == ["secret TOKEN"]


def test_a_secret_as_the_boundary_of_a_form_is_found():
    boundary = SECRET.replace(" ", "")
    assert rules(
        Scanner({"TOKEN": boundary}, shapes=False),
        f"--{boundary}\r\n\r\nx\r\n--{boundary}--".encode(),
    ) == ["secret TOKEN"]


def test_something_damaged_is_searched_up_to_the_damage(scanner):
    """Who receives it need not care for a checksum."""
    content = bytearray(gzip.compress(PROSE + RAW))
    content[-8:] = b"\0" * 8
    assert rules(scanner, bytes(content)) == ["secret TOKEN"]
    assert rules(scanner, gzip.compress(RAW + PROSE * 100)[:-40]) == ["secret TOKEN"]


@pytest.mark.parametrize("library", ["brotli", "zstandard"])
def test_other_compressions_are_seen_through_where_their_library_is_installed(scanner, library):
    module = pytest.importorskip(library)
    compress = module.compress if library == "brotli" else module.ZstdCompressor().compress
    assert rules(scanner, compress(PROSE + RAW)) == ["secret TOKEN"]


def test_the_evidence_does_not_hold_the_value(scanner):
    (finding,) = scanner.scan(base64.b64encode(gzip.compress(RAW)), "the body of POST /x")
    assert finding.where == "the body of POST /x"
    assert finding.evidence == "tok_... (36 characters; gzip, base64)"


def test_of_a_short_value_the_evidence_shows_only_its_length():
    (finding,) = Scanner({"PIN": "hunter2-42"}, shapes=False).scan(b"it is hunter2-42.", "x")
    assert finding.evidence == "(10 characters)"


def test_a_canary_has_a_rule_of_its_own():
    assert rules(Scanner({CANARY: SECRET}, shapes=False), RAW) == ["canary"]


def test_each_secret_is_reported_once():
    scanner = Scanner({"A": SECRET, "B": "another-secret-0123"}, shapes=False)
    data = RAW + b" " + base64.b64encode(RAW) + b" another-secret-0123 " + RAW
    assert sorted(rules(scanner, data)) == ["secret A", "secret B"]


def test_white_space_around_a_value_does_not_matter():
    assert rules(Scanner({"T": "from-a-file-0123\n"}, shapes=False), b"=from-a-file-0123&")


def test_a_key_of_many_lines_is_found_in_json():
    lines = "\n".join(random.Random(2).randbytes(48).hex() for _ in range(10))
    key = f"-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n"
    assert rules(Scanner({"KEY": key}, shapes=False), json.dumps({"k": key}).encode()) == [
        "secret KEY"
    ]


@pytest.mark.parametrize(
    "text",
    ["s3cr3t", '{"password": "s3cr3t"}', "password=s3cr3t&x=1", "password: s3cr3t\n", "u:s3cr3t@h"],
)
def test_a_short_value_is_found_where_it_stands_alone(text):
    assert rules(Scanner({"PIN": "s3cr3t"}, shapes=False), text.encode()) == ["secret PIN"]


@pytest.mark.parametrize("text", ["s3cr3ts", "my-s3cr3t-thing", "xs3cr3t", "s3-cr3t"])
def test_a_short_value_is_not_found_inside_of_others(text):
    assert rules(Scanner({"PIN": "s3cr3t"}, shapes=False), text.encode()) == []


def test_a_very_short_value_is_found_only_where_it_is_all():
    scanner = Scanner({"PIN": "abc"}, shapes=False)
    assert rules(scanner, b"abc\n") == ["secret PIN"]
    assert rules(scanner, b'say "abc", please') == []


def test_an_empty_value_is_never_found():
    assert rules(Scanner({"UNSET": ""}, shapes=False), b"anything") == []


@pytest.mark.parametrize(
    "value", ["aaaaaaaaaaaaaaaaaaaa", "1111-2222-1111-2222", "----------------"]
)
def test_a_value_of_few_different_characters_is_found_only_as_it_is(value):
    """With separators taken out, it would be in every table of numbers."""
    scanner = Scanner({"ODD": value}, shapes=False)
    assert rules(scanner, f"<{value}>".encode()) == ["secret ODD"]
    assert rules(scanner, (b"1 1 1 1 2 2 2 2 " * 9) + b"a a " * 30 + b"- -" * 9) == []


def random_value(rng: random.Random) -> str:
    alphabet = string.ascii_letters + string.digits + "_-/+=.~!"
    return "".join(rng.choices(alphabet, k=rng.randint(16, 80)))


OUTER: list[Callable[[bytes], bytes]] = [
    lambda raw: raw,
    base64.b64encode,
    base64.encodebytes,
    lambda raw: raw.hex().encode(),
    gzip.compress,
    zlib.compress,
    lambda raw: json.dumps(raw.decode("latin-1")).encode(),
    lambda raw: quote(raw).encode(),
]


@pytest.mark.parametrize("seed", range(60))
def test_any_value_in_any_two_encodings_is_found(seed):
    rng = random.Random(seed)
    value = random_value(rng)
    data = rng.choice(OUTER)(b"--" + value.encode() + b"--")
    data = rng.choice(OUTER)(rng.randbytes(rng.randint(0, 3)).hex().encode() + b" " + data)
    assert rules(Scanner({"T": value}, shapes=False), data) == ["secret T"]


@pytest.mark.parametrize("seed", range(20))
def test_another_value_is_never_found(seed):
    rng = random.Random(seed)
    scanner = Scanner({"T": random_value(rng)}, shapes=False)
    other = b" ".join(random_value(rng).encode() for _ in range(200))
    for data in (other, base64.b64encode(other), gzip.compress(other), rng.randbytes(100_000)):
        assert rules(scanner, data) == []
