"""Hands the engine's images to other backends."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.docker import unavailable
from pytest_bottle.backends.docker.endpoint import current_endpoint
from pytest_bottle.backends.docker.engine import Engine
from pytest_bottle.backends.docker.engine import EngineError
from pytest_bottle.backends.docker.engine import translated
from pytest_bottle.backends.docker.image import build_image
from pytest_bottle.backends.source import SourceImage
from pytest_bottle.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Generator
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK: Final = 1 << 20

_TIMEOUT: Final = 600.0
"""Seconds for a piece: some engines assemble the whole archive before they send the first."""


class DockerImages:
    """See `ImageSource`."""

    def __init__(self, engine: Engine) -> None:
        """Use an engine, which somebody else closes."""
        self._engine = engine

    def find(self, reference: str) -> SourceImage | None:
        """Ask the engine."""
        with _explained(self._engine):
            found = self._engine.inspect_image(reference)
        if found is None:
            return None
        return SourceImage(name=reference, id=found["Id"], size=found["Size"])

    def build(
        self,
        dockerfile: Path,
        build_args: tuple[tuple[str, str], ...],
        report: Callable[[str], None],
    ) -> SourceImage:
        """Have the engine build it, as the Docker backend does."""
        with _explained(self._engine):
            built = build_image(self._engine, dockerfile, build_args, report)
            found = self._engine.inspect_image(built.id)
        return SourceImage(
            name=str(dockerfile), id=built.id, size=found["Size"] if found is not None else 0
        )

    def save(self, image: SourceImage) -> Generator[bytes, None, None]:
        """Read it from the engine."""
        with _explained(self._engine), translated():
            yield from self._engine.api.get_image(image.id, chunk_size=_CHUNK)


@contextlib.contextmanager
def docker_images() -> Iterator[DockerImages]:
    """Connect to the engine that `docker` would use.

    Raises:
        CapabilityError: there is none, or no SDK.
    """
    endpoint = current_endpoint()
    try:
        engine = Engine(endpoint, timeout=_TIMEOUT)
    except EngineError as problem:
        raise _unavailable(endpoint.host, problem) from problem
    with contextlib.closing(engine):
        yield DockerImages(engine)


@contextlib.contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    try:
        yield
    except EngineError as problem:
        raise _unavailable(engine.endpoint.host, problem) from problem


def _unavailable(host: str, problem: EngineError) -> CapabilityError:
    detail, fix = unavailable.explain(host, str(problem))
    return CapabilityError("docker", reason=detail, fix=fix)
