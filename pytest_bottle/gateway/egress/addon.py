"""What mitmproxy asks at each step of a request: verdicts, credentials, records."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from typing import Final

from mitmproxy import http
from mitmproxy.connection import Server
from mitmproxy.net.http.http1 import expected_http_body_size

from pytest_bottle.gateway.egress.connecting import blank
from pytest_bottle.gateway.egress.exchange import EXCHANGE
from pytest_bottle.gateway.egress.hosts import address_of
from pytest_bottle.gateway.egress.hosts import canonical_host
from pytest_bottle.gateway.egress.hosts import is_public
from pytest_bottle.gateway.egress.policy import BAD_HOST
from pytest_bottle.gateway.egress.policy import HOST_MISMATCH
from pytest_bottle.gateway.egress.policy import IP_LITERAL
from pytest_bottle.web_values import split_port

if TYPE_CHECKING:
    from pytest_bottle.gateway.egress.exchange import Exchange
    from pytest_bottle.gateway.egress.guarding import Guard
    from pytest_bottle.gateway.egress.serving import GuestConnection
    from pytest_bottle.gateway.egress.serving import Serving

_SMALL: Final = 2**16
"""Bytes up to which a body is searched at once; a larger one in a thread."""

_GUEST_GONE: Final = 499
_TO_A_PROXY: Final = ("proxy-authorization", "proxy-connection", "proxy-authenticate")

_logger = logging.getLogger(__name__)


class Addon:
    """Judges all requests of all bottles."""

    def __init__(self, serving: Serving) -> None:
        """Judge none yet."""
        self._serving = serving

    # Requests

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Judge a request for a connection."""
        connection = self._serving.of(flow.client_conn)
        exchange = self._begin(connection, flow, "https", "connect")
        try:
            if self._proved(connection, flow, exchange):
                await self._judge_connect(connection, flow, exchange)
        except Exception as error:  # noqa: BLE001 - it is logged, and nothing passes
            self._crashed(connection.guard, exchange, error)
        flow.response = exchange.refusal

    async def _judge_connect(
        self, connection: GuestConnection, flow: http.HTTPFlow, exchange: Exchange
    ) -> None:
        guard = connection.guard
        if not self._name(guard, flow, exchange):
            return
        host, port = exchange.host, exchange.port
        finding = guard.find([("host", host.encode())])
        if finding and guard.judge_finding(exchange, finding):
            self._refuse(guard, exchange)
            return
        model = guard.model_host(host, port) is not None and await self._model(guard)
        verdict = guard.policy.connect(host, port)
        if not model and not verdict.allowed:
            if self._refused_for_good(guard, exchange, verdict.rule, verdict.reason):
                return
        elif not finding:
            exchange.rule = "model" if model else verdict.rule
        connection.target = (host, port)
        connection.approved.add((host, port))
        inside = model or guard.plan.dlp or not verdict.allowed
        connection.tunnel = not inside and not guard.policy.sees_inside(host, port)
        if connection.tunnel:
            exchange.status = 200
            exchange.record()

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Judge a request by all but its body."""
        connection = self._serving.of(flow.client_conn)
        protocol = flow.request.http_version.lower()
        exchange = self._begin(connection, flow, flow.request.scheme, protocol)
        try:
            if flow.error is None and (
                connection.target is not None or self._proved(connection, flow, exchange)
            ):
                await self._judge_headers(connection, flow, exchange)
        except Exception as error:  # noqa: BLE001 - it is logged, and nothing passes
            self._crashed(connection.guard, exchange, error)

    async def _judge_headers(
        self, connection: GuestConnection, flow: http.HTTPFlow, exchange: Exchange
    ) -> None:
        guard, request = connection.guard, flow.request
        if not self._agrees(connection, flow, exchange):
            return
        for name in _TO_A_PROXY:
            request.headers.pop(name, None)
        host, port = exchange.host, exchange.port
        model_host = guard.model_host(host, port)
        model = await self._model(guard) if model_host else None
        if model_host and model:
            _send_to_model(flow, model, model_host.prefix)
            exchange.rule, exchange.model = "model", True
            connection.models.add((model[0], model[1]))
            return
        verdict = guard.policy.request(request.method, host, port, request.path)
        if verdict.allowed:
            exchange.rule = exchange.rule or verdict.rule
        elif self._refused_for_good(guard, exchange, verdict.rule, verdict.reason):
            return
        credential = verdict.route and guard.credential(verdict.route.auth)
        if credential:  # What the bottle put there does not leave it.
            request.headers.pop(credential[0], None)
        if self._search_headers(guard, flow, exchange):
            return
        if credential:
            request.headers[credential[0]] = credential[1]
        connection.approved.add((host, port))

    def _agrees(self, connection: GuestConnection, flow: http.HTTPFlow, exchange: Exchange) -> bool:
        """Tell whether a request names its host, and that of its connection; else refuse it."""
        guard = connection.guard
        if connection.target is None:
            return self._name(guard, flow, exchange)
        exchange.host, exchange.port = connection.target
        why = _mismatch(flow.request, *connection.target)
        return not why or not self._deny(guard, exchange, HOST_MISMATCH, why)

    def _search_headers(self, guard: Guard, flow: http.HTTPFlow, exchange: Exchange) -> bool:
        """Tell whether a request is refused for what is in its URL or headers."""
        request, host = flow.request, exchange.host
        url = f"{host}{request.path}".encode(errors="surrogateescape")
        path, _, query = url.partition(b"?")
        headers = b"\n".join(b"%s: %s" % field for field in request.headers.fields)
        finding = guard.find([("path", path), ("query", query), ("headers", headers)])
        finding = finding or guard.find_joined(host, "url", url.removeprefix(host.encode()))
        refused = finding is not None and guard.judge_finding(exchange, finding)
        if refused:
            self._refuse(guard, exchange)
        return refused

    async def request(self, flow: http.HTTPFlow) -> None:
        """Judge a request by its body, which has all come."""
        flow.request.trailers = None  # Of HTTP/2. Whoever passes a message on may drop them.
        exchange = _exchange(flow)
        if exchange is None or flow.request.stream:
            return
        guard = exchange.guard
        try:
            body = flow.request.raw_content or b""
            if exchange.refusal is None and not exchange.model and body:
                parts = [("body", body)]
                if len(body) > _SMALL:
                    async with exchange.connection.standstill():
                        finding = await asyncio.to_thread(guard.find, parts)
                else:
                    finding = guard.find(parts)
                finding = finding or guard.find_joined(exchange.host, "body", body)
                if finding and guard.judge_finding(exchange, finding):
                    self._refuse(guard, exchange)
            if exchange.refusal is None:
                exchange.sent = len(body)
                exchange.cleared = True
        except Exception as error:  # noqa: BLE001 - it is logged, and nothing passes
            self._crashed(guard, exchange, error)
        if exchange.refusal is not None:
            flow.response = exchange.refusal

    async def body_piece(self, exchange: Exchange) -> None:
        """Judge a request by the next piece of a body that is not held back."""
        guard = exchange.guard
        try:
            async with exchange.connection.standstill():
                await asyncio.to_thread(guard.next_finding, exchange, exchange.piece)
        except Exception as error:  # noqa: BLE001 - it is logged, and nothing passes
            self._crashed(guard, exchange, error)
        if exchange.verdict != "denied":
            return
        if exchange.cleared:  # The pieces before it have gone out.
            exchange.record()
            exchange.cut()
        elif exchange.refusal is None:
            self._refuse(guard, exchange)

    # Responses

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let a response pass as it comes."""
        exchange, response = _exchange(flow), flow.response
        if exchange is None or response is None or exchange.refusal is not None:
            return
        exchange.status = response.status_code
        exchange.answered.set()
        if response.status_code == 101:  # noqa: PLR2004 - switching protocols
            exchange.protocol = flow.request.headers.get("upgrade", "").lower()
            return
        try:
            expected = expected_http_body_size(flow.request, response)
        except ValueError:
            expected = None
        exchange.expected = expected if expected is not None and expected > 0 else None
        response.stream = exchange.receive

    def response(self, flow: http.HTTPFlow) -> None:
        """Record a request whose response has come, before the bottle has all of it."""
        if (exchange := _exchange(flow)) is not None and exchange.refusal is None:
            exchange.record()

    def error(self, flow: http.HTTPFlow) -> None:
        """Record a request that came to nothing."""
        if (exchange := _exchange(flow)) is None or exchange.recorded or flow.error is None:
            return
        if not exchange.rule and exchange.verdict == "allowed":
            # It was never judged: it is no request that anybody could judge.
            exchange.verdict, exchange.rule, exchange.status = "denied", "bad request", 400
        exchange.reason = exchange.reason or flow.error.msg
        if exchange.status is None:
            exchange.status = 502 if flow.client_conn.connected else _GUEST_GONE
        exchange.record()

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Search what a bottle sends over a websocket."""
        exchange, socket = _exchange(flow), flow.websocket
        if exchange is None or socket is None:
            return
        message = socket.messages[-1]
        socket.messages.clear()
        if not message.from_client or exchange.model:
            return
        guard = exchange.guard
        connection = self._serving.of(flow.client_conn)
        told = self._begin(connection, flow, exchange.scheme, "websocket")
        told.host, told.port, told.status = exchange.host, exchange.port, None
        try:
            finding = guard.find([("websocket message", message.content)])
            finding = finding or guard.find_joined(exchange.host, "websocket", message.content)
            if finding is None:
                return
            refused = guard.judge_finding(told, finding)
        except Exception:
            _logger.exception("searching a websocket")
            refused = guard.deny(told, "dlp", "the search failed")
        told.record()
        if refused:
            message.drop()
            connection.cut()

    # What these have in common

    def _begin(
        self, connection: GuestConnection, flow: http.HTTPFlow, scheme: str, protocol: str
    ) -> Exchange:
        request = flow.request
        exchange = blank(connection, request.method, scheme, request.host, request.port, protocol)
        path, query, _ = request.path.partition("?")
        exchange.path = path + ("?[query]" if query else "")
        exchange.refused = lambda: connection.refused.get((exchange.host, exchange.port), "")
        if protocol != "websocket":
            flow.metadata[EXCHANGE] = exchange
        return exchange

    def _proved(self, connection: GuestConnection, flow: http.HTTPFlow, exchange: Exchange) -> bool:
        """Tell whether a request presents the bottle's pass, and refuse it where it does not."""
        guard = connection.guard
        if guard.is_proved(exchange, flow.request.headers.get("proxy-authorization")):
            return True
        headers = {"Content-Type": "application/json", "Proxy-Authenticate": 'Basic realm="bottle"'}
        exchange.refusal = http.Response.make(407, _content(guard, exchange), headers)
        return False

    def _name(self, guard: Guard, flow: http.HTTPFlow, exchange: Exchange) -> bool:
        """Put the host that a request names in its one form; refuse a request that names none."""
        try:
            host = canonical_host(flow.request.host)
        except ValueError as error:
            shown = flow.request.host[:100]
            self._deny(guard, exchange, BAD_HOST, f"the host {shown!r} {error}")
            return False
        exchange.host = flow.request.host = host
        if flow.request.method != "CONNECT":
            # By the request's line alone: what the header says is for nobody to believe.
            flow.request.headers["Host"] = _authority(exchange.scheme, host, exchange.port)
        return True

    def _deny(self, guard: Guard, exchange: Exchange, rule: str, reason: str) -> bool:
        refused = guard.deny(exchange, rule, reason)
        if refused:
            self._refuse(guard, exchange)
        return refused

    def _refused_for_good(self, guard: Guard, exchange: Exchange, rule: str, reason: str) -> bool:
        """Deny a request; a mode that lets pass opens the internet, and not this host."""
        address = address_of(exchange.host)
        if rule == IP_LITERAL and address is not None and not is_public(address):
            exchange.verdict, exchange.rule, exchange.reason = "denied", rule, reason
            self._refuse(guard, exchange)
            return True
        return self._deny(guard, exchange, rule, reason)

    def _refuse(self, guard: Guard, exchange: Exchange) -> None:
        exchange.status = 403
        exchange.record()
        headers = {"Content-Type": "application/json"}
        exchange.refusal = http.Response.make(403, _content(guard, exchange), headers)

    def _crashed(self, guard: Guard, exchange: Exchange, error: Exception) -> None:
        """Refuse what could not be judged."""
        _logger.error("judging a request", exc_info=error)
        exchange.verdict, exchange.rule = "denied", "proxy failed"
        exchange.reason = f"the proxy failed: {type(error).__name__}"
        exchange.status = 500
        exchange.record()
        exchange.refusal = http.Response.make(500, _content(guard, exchange))

    async def _model(self, guard: Guard) -> tuple[str, int, str] | None:
        """Return where the bottle's model is, and its token; None where it is not open."""
        answer = await self._serving.channel.ask("model", guard.bottle)
        if "error" in answer:
            return None
        return answer["host"], answer["port"], answer["token"]


def _exchange(flow: http.HTTPFlow) -> Exchange | None:
    found: Exchange | None = flow.metadata.get(EXCHANGE)
    return found


def _content(guard: Guard, exchange: Exchange) -> bytes:
    return b"" if exchange.method == "HEAD" else guard.explain(exchange)


def _send_to_model(flow: http.HTTPFlow, model: tuple[str, int, str], prefix: str) -> None:
    host, port, token = model
    request = flow.request
    for name in ("authorization", "x-api-key"):
        request.headers.pop(name, None)
    if prefix and request.path.startswith(f"{prefix}/"):
        request.path = request.path.removeprefix(prefix)
    request.scheme, request.host, request.port = "http", host, port
    request.headers["Authorization"] = f"Bearer {token}"
    flow.server_conn = Server(address=(host, port))


def _authority(scheme: str, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port == {"http": 80, "https": 443}.get(scheme) else f"{shown}:{port}"


def _mismatch(request: http.Request, host: str, port: int) -> str:
    """Return how a request's own words differ from the host that it goes to; empty where not."""
    default = 443 if request.scheme == "https" else 80
    said = [*request.headers.get_all("host"), *([request.authority] if request.authority else [])]
    if len(request.headers.get_all("host")) > 1:
        return "it has several Host headers"
    for one in said:
        try:
            name, own = split_port(one.strip())
            same = canonical_host(name) == host and (own or default) == port
        except ValueError:
            same = False
        if not same:
            return f"its Host is {one[:100]!r} on a connection to {host}:{port}"
    return ""
