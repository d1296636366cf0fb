"""This process's one broker: started for its first sandbox, ended with the process."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

import pytest_bottle
from pytest_bottle import process
from pytest_bottle.backends.bubblewrap.messages import receive
from pytest_bottle.backends.bubblewrap.messages import send
from pytest_bottle.errors import LaunchError

if TYPE_CHECKING:
    import subprocess  # noqa: TID251 - a type

REPLY_TIMEOUT: Final = 30.0
"""Seconds: longer than the keeper's own limit for a start, so that its words arrive."""

_PACKAGE_PARENT: Final = str(Path(pytest_bottle.__file__).parent.parent)
_START: Final = (
    f"import sys; sys.path.insert(0, {_PACKAGE_PARENT!r}); "
    "from pytest_bottle.backends.bubblewrap.broker import main; main()"
)


class BrokerClient:
    """Starts the broker on demand, and asks it for sandboxes, one request at a time."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Ask for a sandbox; return the keeper's and the first process's pids.

        Raises:
            LaunchError: with the words of bwrap or of the kernel.
        """
        with self._lock:
            try:
                control = self._connected()
                send(control, request, fds)
                answer = receive(control)
            except OSError as problem:
                self._end()
                message = f"the bubblewrap broker did not answer: {problem}"
                raise LaunchError(message) from problem
            if answer is None:
                self._end()
                message = "the bubblewrap broker ended while a sandbox was starting"
                raise LaunchError(message)
        reply, _ = answer
        if "error" in reply:
            message = f"bubblewrap did not start the sandbox: {reply['error']}"
            raise LaunchError(message)
        return reply

    def close(self) -> None:
        """End the broker, and with it every sandbox of this process that has not detached."""
        with self._lock:
            self._end()

    def _connected(self) -> socket.socket:
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
            self._process.wait(REPLY_TIMEOUT)
            self._process = None
