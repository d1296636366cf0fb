"""How this host serves what a container connects to: by a socket that leaves it, or by a relay.

A listening socket leaves through a directory that this host shares with the container. There are
two ways into the container's network. The first process is there from before the guest's first
command on, and only it knows the token of a hand-over. Where it has no Python, or is another
process's to talk to, a container beside it shares its network, and nothing else: it starts from an
image, and not from files that the guest may have changed.

Where the engine is elsewhere, a server in the container carries the connections over its channel.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Self

from pytest_bottle.backends.channel.doors import hand_out
from pytest_bottle.backends.channel.doors import relay
from pytest_bottle.backends.channel.handover import HandOverError
from pytest_bottle.backends.channel.handover import Landing
from pytest_bottle.backends.docker.agent_image import AGENT_IMAGE
from pytest_bottle.backends.docker.container import DOOR_DIRECTORY
from pytest_bottle.backends.docker.container import beside_options
from pytest_bottle.backends.docker.engine import EngineError
from pytest_bottle.backends.docker.first_process import first_words
from pytest_bottle.backends.docker.image import DEFAULT_IMAGE
from pytest_bottle.backends.docker.image import IMAGE_VARIABLE
from pytest_bottle.backends.docker.lost import lost_sentence
from pytest_bottle.backends.docker.meeting import meet
from pytest_bottle.errors import DoorUnreachableError
from pytest_bottle.errors import LaunchError
from pytest_bottle.errors import SandboxLostError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from collections.abc import Iterator
    from collections.abc import Mapping

    from pytest_bottle.backends.channel.client import Channel
    from pytest_bottle.backends.docker.engine import Engine
    from pytest_bottle.plan import BottlePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorway:
    """What it takes to listen in a container, from whichever process."""

    directory: Path | None
    """On this host, and mounted in the container; None where the engine cannot."""
    image: str | None
    """What the container was started from, where that has a Python."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from what `to_json` returned."""
        directory = values["directory"]
        return cls(directory=None if directory is None else Path(directory), image=values["image"])

    def to_json(self) -> Mapping[str, Any]:
        """Return JSON values."""
        directory = None if self.directory is None else str(self.directory)
        return {"directory": directory, "image": self.image}


def make_directory(engine: Engine, plan: BottlePlan) -> Path | None:
    """Make the directory that a container's sockets pass; None where they could not."""
    if not engine.shares_files:
        return None
    directory = plan.state_dir.absolute() / "door"
    try:
        directory.mkdir(exist_ok=True)
        # Whoever the guest's users are on this host, they may pass to a name that they are told.
        directory.chmod(0o711)
    except OSError:
        return None
    return directory


def listen(
    engine: Engine,
    container: str,
    doorway: Doorway,
    port: int,
    *,
    channel: Channel | None,
    first: bool,
    departed: Callable[[str, bool], None],
) -> socket.socket:
    """Return a socket that listens in a container; see `Sandbox.listen`.

    Args:
        engine: Which runs the container.
        container: Its name.
        doorway: Its own.
        port: Of the guest's loopback.
        channel: To a server in it; None where its image has no Python.
        first: Whether that server is the first process.
        departed: Called with the name of a container that is going by itself.
    """
    reason = f"the engine at {engine.endpoint.host} shares no directory with this host"
    if doorway.directory is not None:
        try:
            with contextlib.ExitStack() as stack:
                landing = stack.enter_context(_landing(doorway.directory, port))
                if channel is not None and first:
                    return hand_out(channel, port, landing)
                beside = stack.enter_context(_beside(engine, container, doorway, departed))
                return hand_out(beside, port, landing)
        except HandOverError as problem:
            reason = f"no socket passes {doorway.directory}: {problem}"
    if channel is not None:
        return relay(channel, port)
    raise DoorUnreachableError(
        container,
        reason=f"its image has no python3, and {reason}.",
        remedy="Add python3 to the image, or use an engine of this host.",
    )


@contextlib.contextmanager
def _landing(directory: Path, port: int) -> Iterator[Landing]:
    """Open a landing.

    Raises:
        HandOverError: the directory takes none.
    """
    with contextlib.ExitStack() as stack:
        try:
            landing = stack.enter_context(Landing(directory, DOOR_DIRECTORY, port))
        except OSError as problem:
            raise HandOverError(str(problem)) from problem
        yield landing


@contextlib.contextmanager
def _beside(
    engine: Engine, container: str, doorway: Doorway, departed: Callable[[str, bool], None]
) -> Iterator[Channel]:
    """Run the channel's server in a container that shares another's network, for a moment.

    It goes with this process, as its first process ends with our end of its stdin.
    """
    name = f"{container}-door-{secrets.token_hex(3)}"
    image = doorway.image or _some_image(engine, container)
    options = beside_options(name, container, image, str(doorway.directory))
    with contextlib.ExitStack() as stack:
        try:
            engine.create(name, options)
            stack.callback(departed, name, True)
            stream = engine.attach(name)
            stack.callback(stream.close)
            stream.write(first_words())
            engine.start(name)
            channel = meet(engine, name, stream)
        except (EngineError, LaunchError, OSError) as problem:
            raise _not_beside(engine, container, problem) from problem
        if channel is None:
            raise _no_python(container, f"image {image!r} has none either")
        stack.callback(channel.close)
        stack.callback(channel.quit)
        yield channel


def _some_image(engine: Engine, container: str) -> str:
    """Return an image with a Python that the engine has, for a container whose own has none."""
    candidates = (os.environ.get(IMAGE_VARIABLE), AGENT_IMAGE, DEFAULT_IMAGE)
    with contextlib.suppress(EngineError):
        for candidate in filter(None, candidates):
            if engine.inspect_image(candidate) is not None:
                return candidate
    raise _no_python(container, f"the engine has none of {', '.join(filter(None, candidates))}")


def _no_python(container: str, reason: str) -> DoorUnreachableError:
    return DoorUnreachableError(
        container,
        reason=f"its image has no python3, and {reason}.",
        remedy=f"Set {IMAGE_VARIABLE} to an image with python3 that the engine has, or add "
        "python3 to the bottle's own.",
    )


def _not_beside(engine: Engine, container: str, problem: Exception) -> Exception:
    """Return what it means that no container starts beside another."""
    with contextlib.suppress(EngineError):
        found = engine.inspect(container)
        if found is not None and found["State"]["Running"]:
            return DoorUnreachableError(
                container,
                reason=f"no container starts beside it: {str(problem).rstrip('.')}.",
                remedy="`docker run` must work, and the engine have room for one more.",
            )
    return SandboxLostError(lost_sentence(engine, container))
