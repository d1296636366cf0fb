"""A fake sandbox in this process's hands: an exec channel to its keeper."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import socket
import threading
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.base import Resource
from pytest_bottle.backends.channel.handover import BACKLOG
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.errors import TeardownError
from pytest_bottle.errors import UserUnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_bottle import process
    from pytest_bottle.backends.base import ExecRequest
    from pytest_bottle.backends.base import ExecResult
    from pytest_bottle.backends.base import Guest
    from pytest_bottle.backends.channel.client import Channel
    from pytest_bottle.state.owner import Owner

STOP_GRACE: Final = 10.0
"""Seconds that a keeper gets to end its commands before it is killed."""


class Countdown:
    """Says yes a given number of times, to whichever thread asks first."""

    def __init__(self, count: int) -> None:
        """Start with `count`."""
        self._left = count
        self._lock = threading.Lock()

    def next(self) -> bool:
        """Whether this time is one of them."""
        with self._lock:
            self._left -= 1
            return self._left >= 0


class FakeSandbox:
    """See `Sandbox`."""

    def __init__(
        self,
        *,
        channel: Channel,
        guest: Guest,
        owner: Owner,
        directory: Path,
        env: Mapping[str, str],
        socket_path: Path | None,
        keeper: process.Process | None,
        lose_after: int | None,
        stops_to_fail: Countdown,
    ) -> None:
        """Take over a connected channel; `keeper` is None where another process started it."""
        self._channel = channel
        self._guest = guest
        self._owner = owner
        self._directory = directory
        self._env = env
        self._socket_path = socket_path
        self._keeper = keeper
        self._lose_after = lose_after
        self._commands = itertools.count()
        self._stops_to_fail = stops_to_fail
        self._stopped = False

    @property
    def guest(self) -> Guest:
        """Its user, home and working directory."""
        return self._guest

    @property
    def resources(self) -> Sequence[Resource]:
        """The keeper, whose end is the end of every command."""
        return [Resource(kind="process", id=self._owner.encode())]

    def exec(self, request: ExecRequest) -> ExecResult:
        """Run one command; see `Sandbox.exec`."""
        if request.user not in {None, self._guest.user, str(self._guest.uid)}:
            raise UserUnsupportedError(
                str(request.user),
                reason=f"a fake sandbox has one user, {self._guest.user!r} "
                f"(uid {self._guest.uid}), the one that runs the tests.",
            )
        if self._lose_after is not None and next(self._commands) >= self._lose_after:
            self._owner.kill()
            self._channel.wait_ended(STOP_GRACE)
        return self._channel.exec(request)

    def listen(self, port: int) -> socket.socket:
        """Return a socket that listens on a free port of the host, which is the guest's network.

        The port that was asked for may be another sandbox's.
        """
        del port
        if self._channel.wait_ended(0):
            raise SandboxLostError("the fake sandbox ended: its keeper was killed")
        return socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)

    def connection(self, user: str | None = None) -> tuple[str, ...]:
        """Return a command line that attaches a person's shell."""
        del user  # There is just the one.
        variables = [f"{name}={value}" for name, value in self._env.items()]
        script = 'cd -- "$0" && exec env -i -- "$@" /bin/sh -i'
        return ("/bin/sh", "-c", script, self._guest.workdir, *variables)

    def reference(self) -> Mapping[str, Any]:
        """Return where it is, for `Backend.attach`."""
        return {
            "owner": self._owner.encode(),
            "guest": dataclasses.asdict(self._guest),
            "directory": str(self._directory),
            "socket": None if self._socket_path is None else str(self._socket_path),
            "env": dict(self._env),
        }

    def detach(self) -> None:
        """Let it outlive this process."""
        self._channel.detach()

    def close(self) -> None:
        """Let go of it."""
        self._channel.close()

    def stop(self) -> bool:
        """End it; returns when its processes have ended and its directory is gone."""
        if self._stopped:
            return True
        self._stopped = True
        self._channel.quit()
        if not self._owner.wait(STOP_GRACE):
            self._owner.kill()
        if self._keeper is not None:
            self._keeper.wait()
        self._channel.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._directory.exists():
            message = f"the directory {self._directory} cannot be removed"
            raise TeardownError(message)
        if self._stops_to_fail.next():
            message = f"something of {self._directory} remains: this stop was to fail"
            raise TeardownError(message)
        return True
