"""A container in this process's hands: an exec channel to its first process, or the engine."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.backends.channel.shell_exec import ShellExec
from pytest_bottle.backends.docker.doorway import listen
from pytest_bottle.backends.docker.engine_exec import ContainerShells
from pytest_bottle.backends.docker.first_process import stay_words
from pytest_bottle.backends.docker.lost import lost_sentence
from pytest_bottle.errors import SandboxLostError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.backends.base import ExecRequest
    from pytest_bottle.backends.base import ExecResult
    from pytest_bottle.backends.base import Guest
    from pytest_bottle.backends.base import Resource
    from pytest_bottle.backends.channel.client import Channel
    from pytest_bottle.backends.docker.attach import AttachedStream
    from pytest_bottle.backends.docker.doorway import Doorway
    from pytest_bottle.backends.docker.engine import Engine


@dataclasses.dataclass(slots=True, kw_only=True)
class Hold:
    """What ties this process to the container's first process.

    Letting go of it ends the container, unless that was told to stay.
    """

    stream: AttachedStream
    token: str
    stays: bool = False


class DockerSandbox:
    """See `Sandbox`.

    Args:
        name: the container's.
        channel: None where the image has no Python, so that the engine runs each command.
        hold: None where another process launched it.
        doorway: how to listen in it.
        commit_lock: a path, where one commit is to serve all its branches.
        departed: called once, when the container is expected to go by itself; with False where it
            has to be removed.
    """

    def __init__(
        self,
        *,
        name: str,
        engine: Engine,
        guest: Guest,
        channel: Channel | None,
        hold: Hold | None,
        doorway: Doorway,
        commit_lock: str | None,
        departed: Callable[[str, bool], None],
    ) -> None:
        """Take over a connected channel and the hold on the container."""
        self._name = name
        self._engine = engine
        self._guest = guest
        self._channel = channel
        self._hold = hold
        self._doorway = doorway
        self._commit_lock = commit_lock
        self._departed = departed
        self._stopped = False

    @property
    def guest(self) -> Guest:
        """Its user, home and working directory."""
        return self._guest

    @property
    def resources(self) -> Sequence[Resource]:
        """Nothing beyond the container, whose name was known before."""
        return ()

    def exec(self, request: ExecRequest) -> ExecResult:
        """Run one command; see `Sandbox.exec`."""
        own = {None, self._guest.user, str(self._guest.uid)}
        if self._channel is not None and request.user in own:
            return self._channel.exec(request)
        if self._stopped:
            raise SandboxLostError(self._lost())
        return ShellExec(ContainerShells(self._engine, self._name), request).run()

    def listen(self, port: int) -> socket.socket:
        """Return a socket that listens in the guest; see `Sandbox.listen`."""
        if self._stopped:
            raise SandboxLostError(self._lost())
        return listen(
            self._engine,
            self._name,
            self._doorway,
            port,
            channel=self._channel,
            first=self._hold is not None,
            departed=self._departed,
        )

    def connection(self, user: str | None = None) -> tuple[str, ...]:
        """Return a command line that attaches a person's shell."""
        return (
            "docker",
            *self._engine.endpoint.arguments,
            *("exec", "-it", "--user", user or self._guest.user),
            *("--workdir", self._guest.workdir, self._name, "/bin/sh"),
        )

    def reference(self) -> Mapping[str, Any]:
        """Return where it is, for `Backend.attach`."""
        return {
            "host": self._engine.endpoint.host,
            "name": self._name,
            "python": self._channel is not None,
            "guest": dataclasses.asdict(self._guest),
            "doorway": self._doorway.to_json(),
            "commit_lock": self._commit_lock,
        }

    def detach(self) -> None:
        """Let it outlive this process.

        Raises:
            SandboxLostError: it is gone.
        """
        if self._hold is None or self._hold.stays:
            return
        if self._channel is not None:
            self._channel.detach()
        else:
            try:
                self._hold.stream.write(stay_words(self._hold.token))
            except OSError as problem:
                raise SandboxLostError(self._lost()) from problem
        self._hold.stays = True

    def close(self) -> None:
        """Let go of it."""
        if self._channel is not None:
            self._channel.close()
        if self._hold is not None:
            self._hold.stream.close()

    def stop(self) -> bool:
        """End it; the engine removes it in the background, and `Backend.settle` waits for that."""
        if self._stopped:
            return False
        self._stopped = True
        ends = self._hold is not None and (self._channel is not None or not self._hold.stays)
        if ends and self._channel is not None:
            self._channel.quit()
        self.close()
        self._departed(self._name, ends)
        return False

    def _lost(self) -> str:
        return lost_sentence(self._engine, self._name)
