"""HTTP/1 bodies as mitmproxy does not frame them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from h11 import EndOfMessage
from mitmproxy.proxy.layers import http
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.layers.http._events import RequestHeaders

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitmproxy.proxy import commands
    from mitmproxy.proxy.layers.http._base import HttpEvent


class ChunkedReader(_http1.ChunkedReader):
    """Reads a body up to its trailers, and drops these.

    mitmproxy's reads none: its connection would hang.
    """

    def __call__(self, buffer: Any) -> Any:  # noqa: ANN401 - theirs
        """Return what comes next; None as long as it has not come."""
        event = super().__call__(buffer)
        return EndOfMessage() if isinstance(event, EndOfMessage) else event


class Http1Client(_http1.Http1Client):
    """Sends the body of an HTTP/2 request in chunks where nobody has said how long it is.

    mitmproxy's sends it without any frame: the server would take it for a request of its own, which
    nobody has judged.
    """

    def send(self, event: HttpEvent) -> Generator[commands.Command, Any, None]:
        """Send a part of a request."""
        if isinstance(event, RequestHeaders) and not event.end_stream:
            request = event.request
            if request.http_version != "HTTP/1.1" and "content-length" not in request.headers:
                request = request.copy()
                request.headers["Transfer-Encoding"] = "chunked"
                event = RequestHeaders(event.stream_id, request, event.end_stream)
        yield from super().send(event)


def correct_http1() -> None:
    """Have mitmproxy use these."""
    _http1.ChunkedReader = ChunkedReader
    http.Http1Client = Http1Client
