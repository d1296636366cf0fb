"""What is kept of a request and of its answer: normalised, and without secrets."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.gateway.normalise import normalise
from pytest_bottle.gateway.scrubbing import Scrubber
from pytest_bottle.gateway.scrubbing import credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.gateway.values import HttpRequest
    from pytest_bottle.gateway.values import ModelRequest

REQUEST_HEADERS = ("content-type", "anthropic-version", "anthropic-beta")
"""Kept for a reader; they have no part in finding a recording."""

ANSWER_HEADERS = (
    "content-type",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "request-id",
    "x-request-id",
)
"""What a guest gets to see of an answer's headers, when it is recorded as when it is replayed."""


@dataclass(frozen=True, kw_only=True)
class RecordedRequest:
    """A request as a cassette keeps it."""

    method: str
    path: str
    headers: Mapping[str, str]
    agent: str
    """Name and version of the program that asked."""
    body: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """What two requests have in common that are the same: method, path and body."""
        what = [self.method, self.path.partition("?")[0], self.body]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAnswer:
    """An answer as a cassette keeps it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A request and its answer."""

    request: RecordedRequest
    answer: RecordedAnswer


class Transcriber:
    """Turns what goes through the door of one bottle into what may be kept of it."""

    def __init__(
        self, secrets: Mapping[str, str] | None = None, names: Mapping[str, str] | None = None
    ) -> None:
        """Take what to replace.

        Args:
            secrets: Values that must not be kept, by name.
            names: What is called otherwise in each run, as the bottle's host name, by what it is.
        """
        self._scrubber = Scrubber(secrets or {})
        self._names = dict(names or {})

    def knowing(self, secrets: Mapping[str, str]) -> Transcriber:
        """Return one that knows these secrets as well."""
        transcriber = Transcriber(names=self._names)
        transcriber._scrubber = self._scrubber.knowing(secrets)
        return transcriber

    def request(self, request: ModelRequest, http: HttpRequest) -> RecordedRequest:
        """Return what is kept of a request."""
        scrubber = self._knowing(http)
        kept = {name: http.headers[name] for name in REQUEST_HEADERS if name in http.headers}
        return RecordedRequest(
            method=http.method,
            path=scrubber.text(http.path),
            headers=scrubber.json(kept),
            agent=scrubber.text(http.headers.get("user-agent", "")).partition(" ")[0],
            body=normalise(scrubber.json(dict(request.body)), self._names),
        )

    def answer(
        self, status: int, headers: Mapping[str, str], body: bytes, http: HttpRequest
    ) -> RecordedAnswer:
        """Return what is kept of the answer to a request."""
        scrubber = self._knowing(http)
        kept = {name: headers[name] for name in ANSWER_HEADERS if name in headers}
        return RecordedAnswer(status=status, headers=scrubber.json(kept), body=scrubber.body(body))

    def _knowing(self, http: HttpRequest) -> Scrubber:
        """Return a scrubber that knows as well what this request proves itself with."""
        return self._scrubber.knowing(credentials(http.headers))
