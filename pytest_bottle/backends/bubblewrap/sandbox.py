"""A bubblewrap sandbox in this process's hands: an exec channel to its keeper."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.base import Resource
from pytest_bottle.backends.bubblewrap import cgroup
from pytest_bottle.backends.channel.doors import hand_out
from pytest_bottle.errors import UserUnsupportedError
from pytest_bottle.state.owner import Owner

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.backends.base import ExecRequest
    from pytest_bottle.backends.base import ExecResult
    from pytest_bottle.backends.base import Guest
    from pytest_bottle.backends.channel.client import Channel

STOP_GRACE: Final = 10.0
"""Seconds that a keeper gets to end its sandbox before it is killed."""

_END_GRACE: Final = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """Where a running sandbox is, and how to join it."""

    owner: str
    """The keeper's identity, as `Owner.encode` writes it."""
    init: int
    """Host pid of the guest's first process."""
    outer: int
    """Pid of bwrap's outer process, which still sees the stage."""
    trees: tuple[str, ...] | None
    """Where its overlays are; None where none could be staged."""
    still: bool
    """Whether nothing runs in it, so that its files can be copied at any time."""
    uid: int | None
    gid: int | None
    """What to become before joining; None where the user itself made the sandbox."""
    rlimits: tuple[tuple[int, int], ...]
    cgroups: tuple[str, ...]
    socket: str | None
    """Path of the socket on which it takes further clients, if it does."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Keeper:
        """Rebuild from what `dataclasses.asdict` made of it, after a passage through JSON."""
        return cls(
            **{
                **values,
                "cgroups": tuple(values["cgroups"]),
                "rlimits": tuple((kind, limit) for kind, limit in values["rlimits"]),
                "trees": None if values["trees"] is None else tuple(values["trees"]),
            }
        )

    def lost_sentence(self) -> str:
        """Say what became of the sandbox when its channel has ended."""
        # Its descriptors are closed a moment before it has ended.
        if not Owner.decode(self.owner).wait(_END_GRACE):
            return "the connection to the bubblewrap sandbox broke while it still runs"
        return "the bubblewrap sandbox ended: its keeper or its first process was killed"


class BubblewrapSandbox:
    """See `Sandbox`."""

    def __init__(
        self, *, name: str, channel: Channel, guest: Guest, keeper: Keeper, env: Mapping[str, str]
    ) -> None:
        """Take over a connected channel."""
        self._name = name
        self._channel = channel
        self._guest = guest
        self._keeper = keeper
        self._env = env
        self._stopped = False

    @property
    def guest(self) -> Guest:
        """Its user, home and working directory."""
        return self._guest

    @property
    def resources(self) -> Sequence[Resource]:
        """The keeper, whose end is the sandbox's end."""
        return (Resource(kind="process", id=self._keeper.owner),)

    def exec(self, request: ExecRequest) -> ExecResult:
        """Run one command; see `Sandbox.exec`."""
        if request.user not in {None, self._guest.user, str(self._guest.uid)}:
            raise UserUnsupportedError(
                str(request.user),
                reason=f"a bubblewrap sandbox has one user, {self._guest.user!r} "
                f"(uid {self._guest.uid}). Set the bottle's user, or use the docker backend.",
            )
        return self._channel.exec(request)

    def listen(self, port: int) -> socket.socket:
        """Return a socket that listens in the guest; the keeper, which is there too, makes it."""
        return hand_out(self._channel, port)

    def connection(self, user: str | None = None) -> tuple[str, ...]:
        """Return a command line that attaches a person's shell."""
        del user  # There is just the one.
        return (sys.executable, "-m", "pytest_bottle", "enter", self._name)

    def reference(self) -> Mapping[str, Any]:
        """Return where it is, for `Backend.attach` and for a person's shell."""
        return {
            "keeper": dataclasses.asdict(self._keeper),
            "guest": dataclasses.asdict(self._guest),
            "env": dict(self._env),
        }

    def detach(self) -> None:
        """Let it outlive this process."""
        self._channel.detach()

    def close(self) -> None:
        """Let go of it."""
        self._channel.close()

    def stop(self) -> bool:
        """End it; returns when the kernel has ended its processes and freed its groups."""
        if self._stopped:
            return True
        self._stopped = True
        self._channel.quit()
        if not self._channel.wait_ended(STOP_GRACE):
            Owner.decode(self._keeper.owner).kill()
        self._channel.close()
        cgroup.remove([Path(path) for path in self._keeper.cgroups])
        if self._keeper.socket is not None:
            Path(self._keeper.socket).unlink(missing_ok=True)
        return True
