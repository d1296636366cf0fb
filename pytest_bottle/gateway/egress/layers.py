"""The layers of mitmproxy as a bottle needs them: nothing goes out before its verdict."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from mitmproxy.proxy import commands
from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http import DropStream
from mitmproxy.proxy.layers.http import GetHttpConnection
from mitmproxy.proxy.layers.http import HttpLayer
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http import SendHttp
from mitmproxy.proxy.layers.http._events import RequestData
from mitmproxy.proxy.layers.http._events import RequestEndOfMessage
from mitmproxy.proxy.layers.http._events import ResponseData
from mitmproxy.proxy.layers.http._events import ResponseEndOfMessage
from mitmproxy.proxy.layers.http._events import ResponseHeaders
from mitmproxy.proxy.layers.http._events import ResponseProtocolError

from pytest_bottle.gateway.egress.exchange import EXCHANGE
from pytest_bottle.gateway.egress.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitmproxy.proxy.layers.http._base import HttpCommand
    from mitmproxy.proxy.layers.http._base import HttpEvent

MAX_BUFFERED: Final = 8 * 2**20
"""Bytes of a request's body that are held back until all of it has been seen."""


@dataclass
class BodyPieceHook(commands.StartHook):
    """The next piece of a body that is too large to hold back is to be judged."""

    exchange: Exchange


class Patience(commands.RequestWakeup):
    """Wakes who waits for an answer when that has come, or has not come in time."""

    def __init__(self, delay: float, exchange: Exchange) -> None:
        """Wait `delay` seconds for an answer."""
        super().__init__(delay)
        self.exchange: Final = exchange


class GuardedLayer(HttpLayer):
    """An HTTP connection whose requests wait for their verdicts."""

    def make_stream(self, stream_id: int) -> Generator[commands.Command, Any, None]:
        """Begin a request."""
        self.streams[stream_id] = GuardedStream(self.context.fork(), stream_id)
        yield from self.event_to_child(self.streams[stream_id], events.Start())


class GuardedStream(HttpStream):
    """One request and its response."""

    @property
    def _exchange(self) -> Exchange | None:
        flow = getattr(self, "flow", None)
        found: Exchange | None = flow.metadata.get(EXCHANGE) if flow else None
        return found

    def check_body_size(self, request: bool) -> Generator[commands.Command, Any, bool]:  # noqa: FBT001 - theirs
        """Go over to streaming, or answer at once, when a body becomes too large to hold back."""
        exchange = self._exchange
        if not request or exchange is None or len(self.request_body_buf) <= MAX_BUFFERED:
            return False
        body = bytes(self.request_body_buf)
        self.request_body_buf.clear()
        if exchange.refusal is None:
            yield from self._judge(exchange, body)
        if exchange.refusal is not None:
            yield from self._answer(exchange)
            return True
        self.flow.request.stream = True
        exchange.cleared = True
        yield from self.start_request_stream()
        if self.client_state != self.state_errored:
            exchange.sent += len(body)
            yield SendHttp(RequestData(self.stream_id, body), self.context.server)
        return True

    def _judge(self, exchange: Exchange, piece: bytes) -> Generator[commands.Command, Any, None]:
        exchange.piece = piece
        yield BodyPieceHook(exchange)
        exchange.piece = b""

    def state_stream_request_body(self, event: HttpEvent) -> Generator[commands.Command, Any, None]:
        """Let the next piece of a large body pass when it has been judged."""
        exchange = self._exchange
        piece = event.data if isinstance(event, RequestData) else b""
        if exchange is not None and (piece or isinstance(event, RequestEndOfMessage)):
            yield from self._judge(exchange, piece)
            if exchange.verdict == "denied":
                return
            exchange.touch()
            exchange.sent += len(piece)
        yield from super().state_stream_request_body(event)

    def _answer(self, exchange: Exchange) -> Generator[commands.Command, Any, None]:
        """Answer while the body is still coming, the rest of which is thrown away."""
        response = self.flow.response = exchange.refusal
        assert response is not None  # noqa: S101 - the caller looked
        self.client_state = self.server_state = self.state_errored
        self.flow.live = False
        client = self.context.client
        yield SendHttp(ResponseHeaders(self.stream_id, response, False), client)
        yield SendHttp(ResponseData(self.stream_id, response.raw_content or b""), client)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), client)
        yield DropStream(self.stream_id)

    def make_server_connection(self) -> Generator[HttpCommand, Any, bool]:
        """Connect for a request that may leave, and for no other."""
        exchange = self._exchange
        if exchange is None or not exchange.cleared:
            yield from self._fail("the proxy could not come to a verdict", 500)
            return False
        connection, problem = yield GetHttpConnection(
            (self.flow.request.host, self.flow.request.port),
            self.flow.request.scheme == "https",
            self.flow.server_conn.via,
            self.flow.server_conn.transport_protocol,
        )
        if problem:
            yield from self._fail(*exchange.explain(problem))
            return False
        self.context.server = self.flow.server_conn = connection
        exchange.touch()
        yield Patience(exchange.timeout, exchange)
        return True

    def handle_event(self, event: events.Event) -> Generator[commands.Command, Any, None]:
        """Look, beside all else, whether the other side has been silent for too long."""
        if isinstance(event, events.Wakeup):
            yield from self._look_at_the_clock()
        else:
            yield from super().handle_event(event)

    def _look_at_the_clock(self) -> Generator[commands.Command, Any, None]:
        exchange = self._exchange
        if exchange is None or self.server_state != self.state_wait_for_response_headers:
            return
        left = exchange.touched + exchange.timeout - time.monotonic()
        if left > 0:
            yield Patience(left, exchange)
            return
        exchange.status = 504
        exchange.reason = f"no answer within {exchange.timeout:g} s"
        # Nobody else is to wait on it for an answer.
        yield commands.CloseConnection(self.context.server)
        error = ResponseProtocolError(self.stream_id, exchange.reason, exchange.status)
        yield from super().handle_event(error)

    def _fail(self, message: str, code: int) -> Generator[commands.Command, Any, None]:
        yield from self.handle_protocol_error(ResponseProtocolError(self.stream_id, message, code))
