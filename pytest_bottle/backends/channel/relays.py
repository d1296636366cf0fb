"""Connections of the guest's that are carried over a client's stream, where no socket can cross.

Each direction has a window: so many bytes may be on their way until the other end says that it has
passed some on. So nobody has to keep what its neighbour does not take, and none stalls the others.

It is a part of the program that `program.py` sends to guests: see there for its limits.
"""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import struct

from pytest_bottle.backends.channel.connections import HIGH_WATER
from pytest_bottle.backends.channel.connections import Connection
from pytest_bottle.backends.channel.connections import Connections
from pytest_bottle.backends.channel.frames import CUT
from pytest_bottle.backends.channel.frames import DATA
from pytest_bottle.backends.channel.frames import OPEN
from pytest_bottle.backends.channel.frames import SHUT
from pytest_bottle.backends.channel.frames import TAKEN
from pytest_bottle.backends.channel.frames import WINDOW
from pytest_bottle.backends.channel.listeners import open_listener

RELAY_PIECE = 64 * 1024
TUNNELS = 128
"""That are carried at once; further ones are cut."""


class Tunnel:
    """One connection of the guest's."""

    def __init__(self, connection: Connection, number: int, end: socket.socket) -> None:
        self.connection = connection
        self.number = number
        self.end = end
        self.credit = WINDOW
        self.outgoing = bytearray()
        self.guest_ended = False
        self.host_ended = False
        self.shut = False


class Relays:
    """All that is carried, for all clients of a server."""

    def __init__(self, server: Connections) -> None:
        self.server = server
        self.listeners: dict[tuple[Connection, int], socket.socket] = {}
        self.tunnels: dict[tuple[Connection, int], Tunnel] = {}
        self.numbers = itertools.count(1)

    def listen(self, connection: Connection, port: int, backlog: int) -> None:
        """Listen for a client, for as long as it stays."""
        listener = open_listener(port, backlog)
        listener.setblocking(False)
        self.listeners[connection, port] = listener
        entry = (self.accept, (connection, port))
        self.server.selector.register(listener, selectors.EVENT_READ, entry)

    def accept(self, where: tuple[Connection, int], _mask: int) -> None:
        connection, port = where
        try:
            end, _ = self.listeners[where].accept()
        except OSError:
            return
        if len(self.tunnels) >= TUNNELS:
            end.close()
            return
        end.setblocking(False)
        tunnel = Tunnel(connection, next(self.numbers), end)
        self.tunnels[connection, tunnel.number] = tunnel
        self.server.send(connection, OPEN, tunnel.number, struct.pack("!I", port))
        self.settle(tunnel)

    def handle(self, connection: Connection, kind: bytes, number: int, payload: bytes) -> None:
        """Do what a client's frame about a tunnel says."""
        tunnel = self.tunnels.get((connection, number))
        if tunnel is None:
            return
        if kind == DATA:
            tunnel.outgoing += payload
            self.write(tunnel)
        elif kind == TAKEN:
            tunnel.credit += int.from_bytes(payload, "big")
            self.watch(tunnel)
        elif kind == SHUT:
            tunnel.host_ended = True
            self.write(tunnel)
        elif kind == CUT:
            self.cut(tunnel, tell=False)

    def resume(self, connection: Connection) -> None:
        """Read again from what a slow client had stopped."""
        for tunnel in list(self.tunnels.values()):
            if tunnel.connection is connection:
                self.watch(tunnel)

    def dropped(self, connection: Connection) -> None:
        """Close what belongs to a client that has gone."""
        for where in [where for where in self.listeners if where[0] is connection]:
            listener = self.listeners.pop(where)
            self.server.selector.unregister(listener)
            listener.close()
        for tunnel in [t for t in self.tunnels.values() if t.connection is connection]:
            self.cut(tunnel, tell=False)

    def watch(self, tunnel: Tunnel) -> None:
        """Ask the selector for just what the tunnel can use."""
        selector = self.server.selector
        slow = len(tunnel.connection.outgoing) > HIGH_WATER
        reading = not (tunnel.guest_ended or slow) and tunnel.credit > 0
        events = (selectors.EVENT_READ if reading else 0) | (
            selectors.EVENT_WRITE if tunnel.outgoing else 0
        )
        known = tunnel.end in selector.get_map()
        if events and known:
            selector.modify(tunnel.end, events, (self.ready, tunnel))
        elif events:
            selector.register(tunnel.end, events, (self.ready, tunnel))
        elif known:
            selector.unregister(tunnel.end)

    def ready(self, tunnel: Tunnel, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self.write(tunnel)
        if mask & selectors.EVENT_READ and (tunnel.connection, tunnel.number) in self.tunnels:
            self.read(tunnel)

    def read(self, tunnel: Tunnel) -> None:
        """Pass on what the guest wrote."""
        try:
            data = tunnel.end.recv(min(tunnel.credit, RELAY_PIECE))
        except BlockingIOError:
            return
        except OSError:
            self.cut(tunnel, tell=True)
            return
        tunnel.credit -= len(data)
        tunnel.guest_ended = not data
        kind = DATA if data else SHUT
        self.server.send(tunnel.connection, kind, tunnel.number, data)
        self.settle(tunnel)

    def write(self, tunnel: Tunnel) -> None:
        """Give the guest what it takes now, and let the client know."""
        taken = 0
        try:
            while tunnel.outgoing:
                done = tunnel.end.send(memoryview(tunnel.outgoing)[:RELAY_PIECE])
                del tunnel.outgoing[:done]
                taken += done
            if tunnel.host_ended and not tunnel.shut:
                tunnel.shut = True
                tunnel.end.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self.cut(tunnel, tell=True)
            return
        if taken:
            self.server.send(tunnel.connection, TAKEN, tunnel.number, struct.pack("!I", taken))
        self.settle(tunnel)

    def settle(self, tunnel: Tunnel) -> None:
        """Close a tunnel that both ends have left, or go on; a client may have gone meanwhile."""
        if (tunnel.connection, tunnel.number) not in self.tunnels:
            return
        if tunnel.guest_ended and tunnel.shut:
            self.remove(tunnel)
        else:
            self.watch(tunnel)

    def cut(self, tunnel: Tunnel, *, tell: bool) -> None:
        """End a tunnel at once, so that the guest sees that it is not a proper end."""
        if (tunnel.connection, tunnel.number) not in self.tunnels:
            return
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            tunnel.end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.remove(tunnel)
        if tell:
            self.server.send(tunnel.connection, CUT, tunnel.number, b"")

    def remove(self, tunnel: Tunnel) -> None:
        del self.tunnels[tunnel.connection, tunnel.number]
        if tunnel.end in self.server.selector.get_map():
            self.server.selector.unregister(tunnel.end)
        tunnel.end.close()
