"""The git gate of one bottle, in the door process."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.errors import DoorError
from pytest_bottle.gateway.git.pushes import Judge
from pytest_bottle.gateway.git.remote import Remote
from pytest_bottle.gateway.git.remote import upstream_of
from pytest_bottle.gateway.git.serving import GitServer
from pytest_bottle.gateway.scrubbing import Scrubber
from pytest_bottle.web_values import parse_ref_pattern

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_bottle.door_plan import RemotePlan
    from pytest_bottle.gateway.gates import GateContext

_DIRECTORY: Final = "git"


class GitGate:
    """The remotes of one bottle."""

    def __init__(self, context: GateContext) -> None:
        """Make the mirrors, empty; no upstream is reached before somebody fetches or pushes.

        Raises:
            DoorError: they could not be made.
        """
        opening = context.opening
        hidden = {**opening.secrets, **opening.credentials, "door token": opening.token}
        plan = opening.plan.git
        directory = opening.state / _DIRECTORY
        self._remotes: dict[str, Remote] = {}
        for remote in () if plan is None else plan.remotes:
            self._remotes[remote.name] = self._made(remote, context, directory)
        self._server = GitServer(
            token=opening.token,
            remotes=self._remotes,
            judge=Judge(hidden),
            records=context.records,
            scrub=Scrubber(hidden).text,
        )

    def _made(self, plan: RemotePlan, context: GateContext, directory: Path) -> Remote:
        token = ""
        if plan.credential is not None:
            token = context.opening.credentials.get(plan.credential.token_ref, "")
        upstream = None
        if plan.url is not None:
            environ = context.opening.environ
            upstream = upstream_of(plan, token, environ, context.directory)
        remote = Remote(plan, directory, upstream)
        try:
            remote.make()
        except OSError as error:
            raise DoorError(f"cannot make a mirror of {plan.name}: {error}") from error
        return remote

    async def listen(self, listener: socket.socket) -> None:
        """Serve a listening socket, which is the gate's from here on."""
        await self._server.listen(listener)

    async def do(self, verb: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what the test process, or another gate, asks for.

        `repository` returns the `path` of a remote's bare repository on this host. `allow_push`
        allows pushes to one more pattern of refs, from now on.

        Raises:
            DoorError: there is no such remote, pattern or verb.
        """
        match verb:
            case "repository":
                return {"path": str(self._remote(fields).mirror.path)}
            case "allow_push":
                try:
                    pattern = parse_ref_pattern(fields.get("ref"))
                except ValueError as error:
                    raise DoorError(f"cannot allow pushes there: a ref {error}") from error
                allowed = self._remote(fields).allow_push
                if pattern not in allowed:
                    allowed.append(pattern)
                return {"allow_push": list(allowed)}
            case _:
                raise DoorError(f"knows no operation {verb!r} of git")

    def _remote(self, fields: Mapping[str, Any]) -> Remote:
        name = fields.get("remote")
        if name is None and len(self._remotes) == 1:
            return next(iter(self._remotes.values()))
        if name not in self._remotes:
            known = ", ".join(sorted(self._remotes))
            raise DoorError(f"knows no remote {name!r} of this bottle; it has {known}")
        return self._remotes[str(name)]

    async def settle(self) -> None:
        """Return: all is in the records before a guest sees the end of it."""

    async def close(self) -> None:
        """Hang up on everybody, and stop listening. Idempotent."""
        await self._server.close()
