"""The real model APIs: requests go out with the real key, answers come back as they arrive."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING
from urllib.request import getproxies
from urllib.request import proxy_bypass

import aiohttp
from aiohttp import hdrs
from yarl import URL

from pytest_bottle.errors import UnexpectedRequestError
from pytest_bottle.errors import UpstreamError
from pytest_bottle.gateway.scrubbing import Scrubber
from pytest_bottle.gateway.transcribing import ANSWER_HEADERS
from pytest_bottle.gateway.values import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Mapping

    from pytest_bottle.gateway.opening import Upstream
    from pytest_bottle.gateway.values import Api
    from pytest_bottle.gateway.values import HttpRequest
    from pytest_bottle.gateway.values import ModelRequest

CONNECT_TIMEOUT = 30.0
"""Seconds until a connection has to be there."""
SILENCE_TIMEOUT = 600.0
"""Seconds that an answer may go without a byte: a model may think for minutes."""

_ANTHROPIC, _OPENAI = "anthropic", "openai"
_ROUTES: Mapping[Api, tuple[str, str]] = {
    "messages": (_ANTHROPIC, "/v1/messages"),
    "count_tokens": (_ANTHROPIC, "/v1/messages/count_tokens"),
    "responses": (_OPENAI, "/v1/responses"),
    "chat": (_OPENAI, "/v1/chat/completions"),
}
"""Where requests go. Nothing of what the guest calls a path is part of it but the query."""

_NOT_PASSED = frozenset(
    {
        "accept-encoding",
        "api-key",
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-api-key",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    }
)
_ERROR = 400
_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)


class UpstreamClient:
    """Sends the requests of one bottle to the real APIs."""

    def __init__(self, upstreams: Mapping[str, Upstream]) -> None:
        """Take the APIs by family: `anthropic`, `openai`. Nothing is opened yet."""
        self._upstreams = dict(upstreams)
        self._scrubber = Scrubber(self.secrets)
        self._session: aiohttp.ClientSession | None = None
        # Only what is still held by who reads it: a response that ended needs no closing.
        self._responses: weakref.WeakSet[aiohttp.ClientResponse] = weakref.WeakSet()

    @property
    def secrets(self) -> dict[str, str]:
        """The real keys, by a name for each."""
        return {f"{family} key": each.key for family, each in self._upstreams.items()}

    async def send(self, request: ModelRequest, http: HttpRequest) -> HttpAnswer:
        """Return the answer of the real API, as soon as its head is there.

        Where there is no way to it, the answer comes from the door and says so. The body's
        iterator raises UpstreamError where an answer breaks off.

        Raises:
            UnexpectedRequestError: there is no key for that API.
            UpstreamError: it cannot be reached.
        """
        family, path = _ROUTES.get(request.api, ("", ""))
        upstream = self._upstreams.get(family)
        if upstream is None:
            raise UnexpectedRequestError(
                f"there is no key for the real API of {http.path.partition('?')[0]}, which the "
                "agent asked.",
                remedy=f"Set {family.upper()}_API_KEY where pytest runs, or script the model.",
            )
        url = _url(upstream.base_url, path, http.path)
        try:
            response = await self._opened().request(
                http.method,
                url,
                data=http.body,
                headers=_headers(http.headers, family, upstream.key),
                proxy=_proxy(url),
                allow_redirects=False,
            )
            self._responses.add(response)
            body: AsyncIterator[bytes] = _Body(response, str(url.host), self._scrubber)
            if response.status >= _ERROR:
                # Small, and the one place where an API might repeat the key that it was given.
                body = _whole(self._scrubber.body(await response.read()))
        except _FAILURES as error:
            reason = self._scrubber.text(_reason(error))
            # Without its cause, which may hold the request and its key.
            raise UpstreamError(str(url.host), reason=reason, reached=False) from None
        return HttpAnswer(
            status=response.status,
            headers={
                name: self._scrubber.text(response.headers[name])
                for name in ANSWER_HEADERS
                if name in response.headers
            },
            body=body,
            origin="upstream",
        )

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        for response in list(self._responses):
            response.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=[hdrs.USER_AGENT],
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_TIMEOUT, sock_read=SILENCE_TIMEOUT
                ),
            )
        return self._session


class LiveSource:
    """Passes requests through to the real API, and keeps nothing."""

    def __init__(self, upstream: UpstreamClient) -> None:
        """Take over the client, which is closed with the source."""
        self._upstream = upstream

    async def answer(self, request: ModelRequest, http: HttpRequest) -> HttpAnswer:
        """Return the real answer."""
        return await self._upstream.send(request, http)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._upstream.close()


class _Body:
    """What arrives of an answer. No generator: one that never began does not close anything."""

    def __init__(self, response: aiohttp.ClientResponse, host: str, scrubber: Scrubber) -> None:
        self._response = response
        self._host = host
        self._scrubber = scrubber

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            part = await self._response.content.readany()
        except _FAILURES as error:
            reason = self._scrubber.text(_reason(error))
            # Without its cause, which may hold the request and its key.
            raise UpstreamError(self._host, reason=reason) from None
        if not part:
            raise StopAsyncIteration
        return part

    async def aclose(self) -> None:
        """Hang up, unless all of it has come."""
        self._response.close()


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _url(base: str, path: str, asked: str) -> URL:
    """Return where a request goes; the base may end in `/v1` or not."""
    root = base.rstrip("/").removesuffix("/v1")
    return URL(f"{root}{path}").with_query(URL(f"?{asked.partition('?')[2]}").query)


def _proxy(url: URL) -> str | None:
    """Return the proxy that the environment names for a URL.

    The client's own reading of the environment would take passwords out of `~/.netrc` as well.
    """
    host = url.host or ""
    return None if proxy_bypass(host) else getproxies().get(url.scheme)


def _headers(given: Mapping[str, str], family: str, key: str) -> dict[str, str]:
    """Return a guest's headers for the real API: without what was the guest's own, with the key."""
    of_hop = {name.strip().lower() for name in given.get("connection", "").split(",")}
    headers = {
        name: value
        for name, value in given.items()
        if name not in _NOT_PASSED and name not in of_hop
    }
    # Uncompressed: what arrives is recorded as it is, and a reader of the cassette reads it.
    headers["accept-encoding"] = "identity"
    if family == _ANTHROPIC:
        headers["x-api-key"] = key
    else:
        headers["authorization"] = f"Bearer {key}"
    return headers


def _reason(error: Exception) -> str:
    # Not its repr, which may show the request's headers.
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
