"""A microVM in this process's hands: an exec channel to the server in it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.backends.channel.doors import relay
from pytest_bottle.backends.channel.shell_exec import ShellExec
from pytest_bottle.backends.smolmachines.denials import read_denials
from pytest_bottle.backends.smolmachines.failures import SmolvmError
from pytest_bottle.errors import DoorUnreachableError
from pytest_bottle.errors import SandboxLostError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.backends.base import EgressDenial
    from pytest_bottle.backends.base import ExecRequest
    from pytest_bottle.backends.base import ExecResult
    from pytest_bottle.backends.base import Guest
    from pytest_bottle.backends.base import Resource
    from pytest_bottle.backends.channel.client import Channel
    from pytest_bottle.backends.smolmachines.engine_exec import MachineShells
    from pytest_bottle.backends.smolmachines.smolvm import Smolvm


class SmolmachinesBottle:
    """See `Sandbox`.

    Args:
        smolvm: the engine that runs it.
        name: the machine's.
        channel: to the server in it; None where its image has no Python, so that the engine runs
            each command.
        shells: what the engine runs commands with.
        server: the name of the server's socket in the guest.
        departed: called once, with the machine's name, when it has to be removed.
    """

    def __init__(
        self,
        *,
        smolvm: Smolvm,
        name: str,
        guest: Guest,
        channel: Channel | None,
        shells: MachineShells,
        server: str | None,
        departed: Callable[[str], None],
    ) -> None:
        """Take over a connected channel."""
        self._smolvm = smolvm
        self._name = name
        self._guest = guest
        self._channel = channel
        self._shells = shells
        self._server = server
        self._departed = departed
        self._stopped = False

    @property
    def guest(self) -> Guest:
        """Its user, home and working directory."""
        return self._guest

    @property
    def resources(self) -> Sequence[Resource]:
        """Nothing beyond the machine, whose name was known before."""
        return ()

    def exec(self, request: ExecRequest) -> ExecResult:
        """Run one command; see `Sandbox.exec`."""
        own = {self._guest.user, str(self._guest.uid)}
        if request.user in own:
            request = dataclasses.replace(request, user=None)
        if self._channel is not None:
            return self._channel.exec(request)
        if self._stopped:
            raise SandboxLostError(f"the machine {self._name} was stopped")
        return ShellExec(self._shells, request).run()

    def listen(self, port: int) -> socket.socket:
        """Return a socket whose connections come from the guest; see `Sandbox.listen`.

        The engine gives a machine no network to take a socket from, so that connections are
        carried over the channel. The engine's own way for that, a socket of the host's mounted
        into the guest, is not taken: a branch has its source's, and it stalls for good where both
        directions are busy at once (smolvm 1.32).
        """
        if self._stopped:
            raise SandboxLostError(f"the machine {self._name} was stopped")
        if self._channel is None:
            raise DoorUnreachableError(
                self._name,
                reason="its image has no python3, which carries connections out of a microVM.",
                remedy="Add python3 to the image.",
            )
        return relay(self._channel, port)

    def denials(self) -> Sequence[EgressDenial]:
        """Return what the guest was refused; see `Guarded`."""
        if self._stopped:
            raise SandboxLostError(f"the machine {self._name} was stopped")
        try:
            return read_denials(self._smolvm.egress_events(self._name))
        except SmolvmError as problem:
            message = f"the denials of the machine {self._name} cannot be read: {problem.message}"
            raise SandboxLostError(message) from problem

    def connection(self, user: str | None = None) -> tuple[str, ...]:
        """Return a command line that attaches a person's shell."""
        return tuple(
            self._smolvm.exec_argv(
                self._name,
                ("/bin/sh",),
                user=user or str(self._guest.uid),
                workdir=self._guest.workdir,
                interactive=True,
                tty=True,
            )
        )

    def reference(self) -> Mapping[str, Any]:
        """Return where it is, for `Backend.attach`."""
        return {
            "name": self._name,
            "server": self._server,
            "guest": dataclasses.asdict(self._guest),
        }

    def detach(self) -> None:
        """Nothing to do: no process holds a machine, the journal ends it."""

    def close(self) -> None:
        """Let go of it."""
        if self._channel is not None:
            self._channel.close()

    def stop(self) -> bool:
        """End it; the engine removes it in the background, and `Backend.settle` waits for that."""
        if not self._stopped:
            self._stopped = True
            self._departed(self._name)
            self.close()
        return False
