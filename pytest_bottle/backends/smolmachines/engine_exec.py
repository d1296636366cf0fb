"""Commands that the engine itself starts in a machine: where its image has no Python."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.channel.shell_exec import NotStartedError
from pytest_bottle.backends.smolmachines.failures import read_failure
from pytest_bottle.backends.smolmachines.lost import is_running
from pytest_bottle.backends.smolmachines.lost import lost_sentence
from pytest_bottle.backends.smolmachines.stream import MachineStream
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.errors import UserUnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.backends.channel.shell_exec import ShellStream
    from pytest_bottle.backends.smolmachines.smolvm import Smolvm

_NO_SUCH_USER: Final = re.compile("user .* not found", re.IGNORECASE)


class MachineShells:
    """See `Shells`.

    Args:
        smolvm: the engine.
        machine: the machine's name.
        user: the bottle's own; None is the image's.
        env: what all commands of the bottle have in their environment.
        workdir: where they run.
    """

    def __init__(
        self,
        smolvm: Smolvm,
        machine: str,
        *,
        user: str | None,
        env: Mapping[str, str],
        workdir: str,
    ) -> None:
        """Start nothing."""
        self._smolvm = smolvm
        self._machine = machine
        self._user = user
        self._env = env
        self._workdir = workdir

    def start(
        self, argv: Sequence[str], *, user: str | None, env: Mapping[str, str]
    ) -> MachineStream:
        """Start one."""
        line = self._smolvm.exec_argv(
            self._machine,
            argv,
            user=user or self._user,
            env={**self._env, **env},
            workdir=self._workdir,
            interactive=True,
        )
        try:
            return MachineStream(line)
        except OSError as problem:
            raise NotStartedError(str(problem)) from problem

    def returncode(self, stream: ShellStream) -> int | None:
        """Return what the engine passed on of a shell's end."""
        return stream.returncode() if isinstance(stream, MachineStream) else None

    def running(self) -> bool:
        """Tell whether the machine still runs."""
        return is_running(self._smolvm, self._machine)

    def lost(self) -> str:
        """Return what happened to the machine."""
        return lost_sentence(self._smolvm, self._machine)

    def refusal(self, words: str, user: str | None) -> Exception:
        """Return what the engine's refusal to start a command means."""
        failure = read_failure("machine exec", 1, words.encode())
        if _NO_SUCH_USER.search(failure.message):
            return UserUnsupportedError(str(user), reason=f"the engine says: {failure.message}.")
        if "chdir" in failure.message:
            words = "the sandbox's working directory is gone"
            return FileNotFoundError(errno.ENOENT, words, self._workdir)
        return SandboxLostError(f"{self.lost()} (The engine says: {failure.message})")
