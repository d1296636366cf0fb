"""Clients of the exec channel: streams that are read and written as far as they go, in one thread.

It is a part of the program that `program.py` sends to guests: see there for its limits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import stat

from pytest_bottle.backends.channel.frames import HEADER
from pytest_bottle.backends.channel.listeners import carrying

CHUNK = 256 * 1024
HIGH_WATER = 4 * CHUNK


class Connection:
    """One client, with bytes on their way in and out."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd = read_fd
        self.write_fd = write_fd
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.carried: list[tuple[int, int]] = []
        """Descriptors on their way out, each with the number of bytes that go before it."""
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def carry(self, fd: int) -> None:
        """Send a copy of a descriptor along with the first byte of the next frame.

        Raises:
            OSError: a copy cannot be made, or the stream is no socket and carries none.
        """
        if not stat.S_ISSOCK(os.fstat(self.write_fd).st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        self.carried.append((len(self.outgoing), os.dup(fd)))

    def write(self) -> None:
        """Write what the stream takes now of the bytes up to the next descriptor, with its own.

        Raises:
            OSError: it takes none now, or never again.
        """
        end = min([CHUNK, *(before for before, _ in self.carried if before)])
        data = memoryview(self.outgoing)[:end]
        with data:
            if self.carried and self.carried[0][0] == 0:
                with socket.socket(fileno=os.dup(self.write_fd)) as stream:
                    done = stream.sendmsg([data], carrying(self.carried[0][1]))
                os.close(self.carried.pop(0)[1])
            else:
                done = os.write(self.write_fd, data)
        del self.outgoing[:done]
        self.carried = [(before - done, fd) for before, fd in self.carried]

    def close(self) -> None:
        """Close the stream, and drop what was on its way."""
        for fd in {self.read_fd, self.write_fd, *(fd for _, fd in self.carried)}:
            os.close(fd)


class Connections:
    """All clients and the selector that they share; what frames mean is for a subclass to say.

    The selector's data are pairs of a method and its first argument; the second is the event mask.
    """

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.connections: set[Connection] = set()

    def greet(self, connection: Connection) -> None:
        """Say the first words to a new client."""
        raise NotImplementedError

    def handle(self, connection: Connection, kind: bytes, number: int, payload: bytes) -> None:
        """Do what a frame asks for."""
        raise NotImplementedError

    def resume(self, connection: Connection) -> None:
        """Go on with what waited for a client to read."""
        raise NotImplementedError

    def dropped(self, connection: Connection) -> None:
        """Give up what a client that has gone had asked for."""
        raise NotImplementedError

    def connect(self, read_fd: int, write_fd: int) -> None:
        """Start serving a client."""
        connection = Connection(read_fd, write_fd)
        self.connections.add(connection)
        if read_fd != write_fd:
            self.selector.register(read_fd, selectors.EVENT_READ, (self.readable, connection))
        self.watch(connection)
        self.greet(connection)

    def listen(self, listener: socket.socket) -> None:
        """Accept further clients on a listening socket."""
        listener.setblocking(False)
        self.selector.register(listener, selectors.EVENT_READ, (self.accept, listener))

    def accept(self, listener: socket.socket, _mask: int) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        fd = client.detach()
        self.connect(fd, fd)

    def watch(self, connection: Connection) -> None:
        """Ask the selector for just what the connection can use."""
        writing = selectors.EVENT_WRITE if connection.outgoing else 0
        if connection.read_fd == connection.write_fd:
            events = selectors.EVENT_READ | writing
            entry = (self.both, connection)
            try:
                self.selector.modify(connection.read_fd, events, entry)
            except KeyError:
                self.selector.register(connection.read_fd, events, entry)
        elif writing:
            with contextlib.suppress(KeyError):
                self.selector.register(connection.write_fd, writing, (self.writable, connection))
        else:
            with contextlib.suppress(KeyError):
                self.selector.unregister(connection.write_fd)

    def registered(self, key: selectors.SelectorKey) -> bool:
        """Tell whether an earlier event of this round has closed what this event is about."""
        try:
            return bool(self.selector.get_key(key.fileobj).data == key.data)
        except (KeyError, ValueError):
            return False

    def send(self, connection: Connection, kind: bytes, number: int, payload: bytes) -> None:
        if connection not in self.connections:
            return
        connection.outgoing += HEADER.pack(len(payload), kind, number)
        connection.outgoing += payload
        self.writable(connection, 0)

    def writable(self, connection: Connection, _mask: int) -> None:
        try:
            while connection.outgoing:
                connection.write()
        except BlockingIOError:
            pass
        except OSError:
            self.disconnect(connection)
            return
        self.watch(connection)
        if len(connection.outgoing) < HIGH_WATER:
            self.resume(connection)

    def both(self, connection: Connection, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self.writable(connection, mask)
        if mask & selectors.EVENT_READ and connection in self.connections:
            self.readable(connection, mask)

    def readable(self, connection: Connection, _mask: int) -> None:
        try:
            data = os.read(connection.read_fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.disconnect(connection)
            return
        connection.incoming += data
        while len(connection.incoming) >= HEADER.size:
            length, kind, number = HEADER.unpack_from(connection.incoming)
            end = HEADER.size + length
            if len(connection.incoming) < end:
                break
            payload = bytes(memoryview(connection.incoming)[HEADER.size : end])
            del connection.incoming[:end]
            self.handle(connection, kind, number, payload)

    def disconnect(self, connection: Connection) -> None:
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        for fd in {connection.read_fd, connection.write_fd}:
            with contextlib.suppress(KeyError):
                self.selector.unregister(fd)
        connection.close()
        self.dropped(connection)
