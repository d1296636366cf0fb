"""Has the server listen, for somebody on this host who serves what connects."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.channel.handover import BACKLOG
from pytest_bottle.backends.channel.handover import LOOPBACK
from pytest_bottle.backends.channel.handover import HandOverError
from pytest_bottle.backends.channel.handover import NoListenerError
from pytest_bottle.backends.channel.handover import listening_socket
from pytest_bottle.errors import SandboxLostError

if TYPE_CHECKING:
    from pytest_bottle.backends.channel.client import Channel
    from pytest_bottle.backends.channel.handover import Landing
    from pytest_bottle.backends.channel.pending import Failure

LANDING_GRACE: Final = 1.0
"""Seconds that a socket may arrive after the word that it was sent."""

_ATTEMPTS: Final = 5


def hand_out(channel: Channel, port: int, landing: Landing | None = None) -> socket.socket:
    """Return the server's own listening socket; see `Sandbox.listen`.

    Args:
        channel: To the server.
        port: Of the guest's loopback.
        landing: Where the socket arrives, open; None where the channel's stream carries it.

    Raises:
        OSError: the guest cannot listen there.
        HandOverError: the server cannot send anything to the landing.
        SandboxLostError: it is gone, or did not hand over what was asked for.
    """
    path, token = (None, None) if landing is None else (landing.path, landing.token)
    answer = channel.ask_to_listen(port=port, backlog=BACKLOG, path=path, token=token, relay=False)
    if answer.failure is not None:
        raise _not_listening(answer.failure, port)
    try:
        if answer.descriptor is not None:
            return listening_socket(answer.descriptor, port)
    except NoListenerError as problem:
        raise SandboxLostError(f"the guest handed over {problem}") from problem
    arrived = landing.take(LANDING_GRACE) if landing and answer.returncode == 0 else None
    if arrived is not None:
        return arrived
    if channel.wait_ended(0):
        raise channel.lost_error()
    raise SandboxLostError(f"the guest handed over no socket that listens on port {port}")


class CarriedSocket(socket.socket):
    """A socket of this host whose connections are carried from a port of the guest."""

    def __init__(self, listener: socket.socket, port: int) -> None:
        """Take over a listening socket."""
        super().__init__(listener.family, listener.type, fileno=listener.detach())
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        """Return where the guest connects to it."""
        return LOOPBACK, self._port


def relay(channel: Channel, port: int) -> CarriedSocket:
    """Have the server listen, and carry what connects over the channel.

    Args:
        channel: To the server.
        port: Of the guest's loopback; 0 is any that is free.

    Returns:
        A socket that listens on a free port of this host, where other processes can connect to
        it too.

    Raises:
        OSError: the guest cannot listen there.
        SandboxLostError: it is gone.
    """
    attempts = itertools.count(1)
    while True:
        with contextlib.ExitStack() as undo:
            listener = undo.enter_context(socket.create_server((LOOPBACK, 0), backlog=BACKLOG))
            # Free on this host is likely to be free in the guest.
            guest_port = port or listener.getsockname()[1]
            carried = undo.enter_context(CarriedSocket(listener, guest_port))
            known = channel.tunnels.lead_to(guest_port, carried)
            if known:  # The guest has not heard that the last one was closed.
                undo.pop_all()
                return carried
            undo.callback(channel.tunnels.forget, guest_port)
            answer = channel.ask_to_listen(
                port=guest_port, backlog=BACKLOG, path=None, token=None, relay=True
            )
            if answer.returncode == 0:
                undo.pop_all()
                return carried
        if answer.failure is None:
            raise channel.lost_error()
        taken = answer.failure.code == errno.EADDRINUSE
        if port or not taken or next(attempts) == _ATTEMPTS:
            raise _not_listening(answer.failure, guest_port)


def _not_listening(failure: Failure, port: int) -> Exception:
    """Return what the server's failure to listen, or to hand over, means."""
    words = os.strerror(failure.code)
    if failure.stage == "bind":
        return OSError(failure.code, words, f"{LOOPBACK}:{port} in the guest")
    return HandOverError(words)
