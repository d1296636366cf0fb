"""What mitmproxy asks about connections: what they are read as, and where they may lead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy.layers import ClientTLSLayer
from mitmproxy.proxy.layers import ServerTLSLayer
from mitmproxy.proxy.layers import TCPLayer
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.layers.tls import parse_client_hello

from pytest_bottle.gateway.egress.exchange import Exchange
from pytest_bottle.gateway.egress.hosts import address_of
from pytest_bottle.gateway.egress.hosts import canonical_host
from pytest_bottle.gateway.egress.layers import GuardedLayer
from pytest_bottle.gateway.egress.policy import HOST_MISMATCH
from pytest_bottle.gateway.egress.policy import PRIVATE_ADDRESS
from pytest_bottle.gateway.egress.program import CHECKED

if TYPE_CHECKING:
    from mitmproxy.proxy.layer import NextLayer
    from mitmproxy.proxy.server_hooks import ServerConnectionHookData
    from mitmproxy.tls import TlsData

    from pytest_bottle.gateway.egress.policy import Policy
    from pytest_bottle.gateway.egress.program import CheckedLoop
    from pytest_bottle.gateway.egress.serving import GuestConnection
    from pytest_bottle.gateway.egress.serving import Serving

_LOOK_UP: Final = 20.0
"""Seconds for the address of a name."""


class Connections:
    """Judges where all bottles' connections lead."""

    def __init__(self, serving: Serving, loop: CheckedLoop) -> None:
        """Judge none yet."""
        self._serving = serving
        self._loop = loop

    def next_layer(self, asked: NextLayer) -> None:
        """Choose what a connection is read as."""
        context = asked.context
        connection = self._serving.of(context.client)
        if len(context.layers) == 1:
            upstream = connection.guard.plan.upstream is not None
            mode = HTTPMode.upstream if upstream else HTTPMode.regular
            asked.layer = GuardedLayer(context, mode)
        elif isinstance(context.layers[-1], ClientTLSLayer):
            asked.layer = GuardedLayer(context, HTTPMode.transparent)
        elif len(data := asked.data_client()) > 2:  # noqa: PLR2004 - as TLS is known by
            if not starts_like_tls_record(data):
                asked.layer = (
                    TCPLayer(context)
                    if connection.tunnel
                    else GuardedLayer(context, HTTPMode.transparent)
                )
            elif self._greets(connection, data):
                if connection.tunnel:
                    asked.layer = TCPLayer(context)
                else:
                    asked.layer = ServerTLSLayer(context)
                    asked.layer.child_layer = ClientTLSLayer(context)

    def _greets(self, connection: GuestConnection, data: bytes) -> bool:
        """Tell whether a TLS handshake has come and is for the host that was asked for."""
        assert connection.target is not None  # noqa: S101 - it was connected
        host, port = connection.target
        try:
            hello = parse_client_hello(data)
            if hello is None:
                return False
            sni = None if hello.sni is None else canonical_host(hello.sni)
        except ValueError:
            sni = "?"
        if sni == host or (sni is None and (address_of(host) or not connection.tunnel)):
            return True
        exchange = blank(connection, "CONNECT", "https", host, port, "tls")
        reason = f"TLS was begun with {sni or 'no name'} on a connection to {host}"
        refused = connection.guard.deny(exchange, HOST_MISMATCH, reason)
        exchange.record()
        if refused:
            connection.cut()
        return not refused

    async def server_connect(self, asked: ServerConnectionHookData) -> None:
        """Look up a name once, and connect to what was found if that is allowed."""
        server = asked.server
        server.error = "the proxy could not come to a verdict"  # As long as there is none.
        connection = self._serving.of(asked.client)
        assert server.address is not None  # noqa: S101 - it is about to be connected to
        host, port = server.address[0], server.address[1]
        if (host, port) in connection.models:
            server.error = None
            return
        upstream = (host, port) == connection.upstream
        if not upstream and (host, port) not in connection.approved:
            return
        if address_of(host) is not None:
            server.error = None
            return
        try:
            async with asyncio.timeout(_LOOK_UP):
                found = await self._loop.look_up(host, port)
        except (OSError, TimeoutError) as error:
            server.error = f"the name {host} has no address: {error}"
            return
        policy = connection.guard.policy
        problems = ["" if upstream else _why_not(policy, host, port, one) for one in found]
        checked = [one for one, why in zip(found, problems, strict=True) if not why]
        if checked:
            CHECKED.set(checked)
            server.error = None
        elif problems:
            self._refuse_address(connection, (host, port), problems[0])
            server.error = problems[0]
        else:
            server.error = f"the name {host} has no address"

    def _refuse_address(
        self, connection: GuestConnection, target: tuple[str, int], why: str
    ) -> None:
        connection.refused[target] = why
        if connection.tunnel:
            exchange = blank(connection, "CONNECT", "https", *target, "tls")
            exchange.verdict, exchange.rule = "denied", PRIVATE_ADDRESS
            exchange.reason, exchange.status = why, 403
            exchange.record()

    def tcp_message(self, flow: Any) -> None:  # noqa: ANN401 - a flow of TCP
        """Forget what passed through a tunnel."""
        flow.messages.clear()

    def tcp_error(self, flow: Any) -> None:  # noqa: ANN401 - the same
        """Record a tunnel that led nowhere."""
        connection = self._serving.of(flow.client_conn)
        if connection.target is None or connection.target in connection.refused:
            return
        exchange = blank(connection, "CONNECT", "https", *connection.target, "tls")
        exchange.rule = connection.guard.policy.connect(*connection.target).rule
        exchange.status, exchange.reason = 502, flow.error.msg
        exchange.record()

    def tls_failed_client(self, data: TlsData) -> None:
        """Record that a bottle did not take the proxy's certificate: it would be hard to guess."""
        connection = self._serving.of(data.context.client)
        if connection.target is None:
            return
        exchange = blank(connection, "CONNECT", "https", *connection.target, "tls")
        exchange.rule = connection.guard.policy.connect(*connection.target).rule
        exchange.reason = f"the bottle broke off the TLS handshake: {data.conn.error}"
        exchange.record()


def blank(
    connection: GuestConnection, method: str, scheme: str, host: str, port: int, protocol: str
) -> Exchange:
    """Return an exchange of which nothing else is known yet."""
    return Exchange(
        guard=connection.guard,
        method=method,
        scheme=scheme,
        host=host,
        port=port,
        path="",
        protocol=protocol,
        timeout=connection.guard.timeout,
        cut=connection.cut,
        connection=connection,
    )


def _why_not(policy: Policy, host: str, port: int, found: Any) -> str:  # noqa: ANN401 - addrinfo
    address = address_of(str(found[4][0]).partition("%")[0])
    return f"{host} has no address" if address is None else policy.address(host, port, address)
