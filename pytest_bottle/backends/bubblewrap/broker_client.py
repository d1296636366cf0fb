"""This process's one broker: started for its first sandbox, ended with the process."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any
from typing import Final

import pytest_bottle
from pytest_bottle import process
from pytest_bottle.backends.bubblewrap.messages import receive
from pytest_bottle.backends.bubblewrap.messages import send
from pytest_bottle.errors import LaunchError

REPLY_TIMEOUT: Final = 30.0
"""Seconds: longer than the keeper's own limit for a start, so that its words arrive."""

END_TIMEOUT: Final = 5.0
"""Seconds that a broker gets to end by itself."""

_PACKAGE_PARENT: Final = str(Path(pytest_bottle.__file__).parent.parent)
_START: Final = (
    f"import sys; sys.path.insert(0, {_PACKAGE_PARENT!r}); "
    "from pytest_bottle.backends.bubblewrap.broker import main; main()"
)


class BrokerClient:
    """Starts the broker on demand, and asks it for sandboxes."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: process.Process | None = None

    def launch(
        self, request: dict[str, Any], fds: list[int]
    ) -> tuple[dict[str, Any], socket.socket]:
        """Ask for a sandbox; return its keeper's answer and the channel to it.

        Args:
            request: What `broker.Keeper` lists.
            fds: Descriptors for the keeper, to come after the channel's; ours stay open.

        Raises:
            LaunchError: with the words of bwrap or of the kernel.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._ask(request, [theirs.fileno(), *fds])
            return _answer(ours), ours
        except BaseException:
            ours.close()
            raise

    def close(self) -> None:
        """End the broker, and with it every sandbox of this process that has not detached."""
        with self._lock:
            self._end()

    def _ask(self, request: dict[str, Any], fds: list[int]) -> None:
        with self._lock:
            try:
                send(self._connected(), request, fds)
            except OSError as problem:
                self._end()
                message = f"the bubblewrap broker took no request: {problem}"
                raise LaunchError(message) from problem

    def _connected(self) -> socket.socket:
        """Return the connection to a broker that lives; one is started where there is none."""
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair()
        ours.settimeout(REPLY_TIMEOUT)
        with theirs:
            # Isolated and without site-packages: it must start fast, and import nothing late.
            self._process = process.start(
                [sys.executable, "-I", "-S", "-c", _START, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env={"LANG": "C.UTF-8", "PATH": os.defpath},
            )
        self._control = ours
        return ours

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(END_TIMEOUT)
            except process.WaitTimeout:
                self._process.kill()
                self._process.wait()
            self._process = None


def _answer(channel: socket.socket) -> dict[str, Any]:
    channel.settimeout(REPLY_TIMEOUT)
    try:
        answer = receive(channel)
    except OSError as problem:
        message = f"the sandbox's keeper did not answer: {problem}"
        raise LaunchError(message) from problem
    channel.settimeout(None)
    if answer is None:
        message = "the sandbox's keeper, or its broker, was killed while it started"
        raise LaunchError(message)
    reply, _ = answer
    if "error" in reply:
        message = f"bubblewrap did not start the sandbox: {reply['error']}"
        raise LaunchError(message)
    return reply
