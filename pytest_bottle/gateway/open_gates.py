"""The gates of one bottle, as the test process that opened them holds them."""

from __future__ import annotations

import contextlib
import socket
import threading
import warnings
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.errors import DoorError
from pytest_bottle.errors import RecordsWarning
from pytest_bottle.gateway.gate_client import GateClient
from pytest_bottle.guest_door import PORTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

    from pytest_bottle.gateway.client import Connection
    from pytest_bottle.gateway.gate_opening import GateOpening

LISTEN_TIMEOUT: Final = 200.0
"""Seconds until a gate has to serve: its libraries may have to be read from a cold disk."""


class OpenGates:
    """The gates of one bottle. All may be called from several threads."""

    def __init__(self, connection: Connection, opening: GateOpening) -> None:
        """Open them in the door; they serve once `listen` has been called.

        Raises:
            DoorError: the door is gone or refuses.
            CapabilityError: a library is missing.
        """
        self.token: Final = opening.token
        self._connection = connection
        self._bottle = opening.bottle
        self._lock = threading.Lock()
        self._listeners: list[socket.socket] = []
        self._closed = False
        connection.call("gates-open", opening=opening.to_json())
        self.clients: Final[Mapping[str, GateClient]] = {
            kind: GateClient(connection, bottle=opening.bottle, kind=kind, on_broken=self._hang_up)
            for kind in opening.plan.kinds
        }

    def listen(self, listen: Callable[[int], socket.socket]) -> None:
        """Have each gate serve its port in the guest.

        Args:
            listen: returns a listening socket in the guest, by its port.

        Raises:
            DoorError: the door is gone, or a gate did not start.
            HostError: the sandbox cannot be reached by a door.
            SandboxLostError: the sandbox is gone.
        """
        for kind in self.clients:
            listener = listen(PORTS[kind])
            with self._lock:
                self._listeners.append(listener)
            self._connection.call(
                "gate-listen",
                bottle=self._bottle,
                kind=kind,
                fds=[listener.fileno()],
                timeout=LISTEN_TIMEOUT,
            )

    def begin(self) -> None:
        """Count records from now on, for the next test."""
        for client in self.clients.values():
            with contextlib.suppress(DoorError):  # For the test's next look at them to find out.
                client.begin()

    def check(self) -> None:
        """Return where all gates still serve; warn where what they did is not written down.

        Raises:
            DoorError: one of them went away under the test.
        """
        for client in self.clients.values():
            with contextlib.suppress(DoorError):
                client.records()
            if client.broken:
                raise DoorError(f"lost the {client.kind} of {self._bottle}: {client.broken}")
            for problem in client.problems:
                words = f"{self._bottle}: {client.kind}: {problem}. Make room for its artifacts."
                warnings.warn(words, RecordsWarning, stacklevel=2)

    def close(self) -> None:
        """Close all gates; what is known of them stays. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for client in self.clients.values():
            with contextlib.suppress(DoorError):
                client.close()
        with contextlib.suppress(DoorError):
            self._connection.call("gates-close", bottle=self._bottle)
        self._hang_up()

    def _hang_up(self) -> None:
        """Close our ends: a guest would wait for an answer that nobody gives."""
        with self._lock:
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
