"""Commands that the Docker engine itself starts in a container."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.channel.shell_exec import NotStartedError
from pytest_bottle.backends.docker.attach import AttachedStream
from pytest_bottle.backends.docker.engine import EngineError
from pytest_bottle.backends.docker.lost import lost_sentence
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.errors import UserUnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.backends.channel.shell_exec import ShellStream
    from pytest_bottle.backends.docker.engine import Engine

_NO_SUCH_USER: Final = re.compile("unable to find user|no matching entries in passwd")


class ContainerShells:
    """See `Shells`."""

    def __init__(self, engine: Engine, container: str) -> None:
        """Name the container, and the engine that runs it."""
        self._engine = engine
        self._container = container

    def start(
        self, argv: Sequence[str], *, user: str | None, env: Mapping[str, str]
    ) -> AttachedStream:
        """Start one."""
        try:
            return self._engine.exec(self._container, argv, user=user, env=env)
        except EngineError as problem:
            raise NotStartedError(str(problem)) from problem

    def returncode(self, stream: ShellStream) -> int | None:
        """Return what the engine knows of a shell's end."""
        identity = stream.id if isinstance(stream, AttachedStream) else None
        try:
            return self._engine.exec_returncode(identity or "")
        except EngineError as problem:
            raise SandboxLostError(self.lost()) from problem

    def running(self) -> bool:
        """Tell whether the container still runs."""
        try:
            found = self._engine.inspect(self._container)
        except EngineError:
            return False
        return found is not None and bool(found["State"]["Running"])

    def lost(self) -> str:
        """Return what happened to the container."""
        return lost_sentence(self._engine, self._container)

    def refusal(self, words: str, user: str | None) -> Exception:
        """Return what the engine's refusal to start a command means."""
        if _NO_SUCH_USER.search(words):
            return UserUnsupportedError(str(user), reason=f"the engine says: {words}.")
        if "chdir to cwd" in words:
            return FileNotFoundError(errno.ENOENT, "the sandbox's working directory is gone", words)
        return SandboxLostError(f"{self.lost()} (The engine says: {words})")
