"""What the images of one backend's engine are to another backend: found, built, saved.

Backends know nothing of each other. One that has no engine for images takes them from one that
has, through this protocol; the implementation is loaded by its place, as backends are.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final
from typing import Protocol
from typing import cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

AGENT_IMAGE: Final = "pytest-bottle-agent"
"""The name of the image with the agents' programs, which no registry has."""

_DOCKER: Final = "pytest_bottle.backends.docker.saving:docker_images"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceImage:
    """An image that an engine has."""

    name: str
    """As its user called it."""
    id: str
    """Changes with its content."""
    size: int
    """Bytes that it takes up there, about as many as an archive of it has."""


class ImageSource(Protocol):
    """An engine that has images. Each method may raise `CapabilityError` where it went away."""

    def find(self, reference: str) -> SourceImage | None:
        """Return an image that it has already."""
        ...

    def build(
        self,
        dockerfile: Path,
        build_args: tuple[tuple[str, str], ...],
        report: Callable[[str], None],
    ) -> SourceImage:
        """Return what a Dockerfile makes; nothing is built where it has that already.

        Raises:
            ImageError: there is no such file, or a step failed.
        """
        ...

    def save(self, image: SourceImage) -> Generator[bytes, None, None]:
        """Yield the image as a `docker save` archive, piece by piece."""
        ...


def docker_images() -> AbstractContextManager[ImageSource]:
    """Connect to the engine that `docker` would use.

    Raises:
        CapabilityError: there is none, or no SDK.
    """
    module, _, name = _DOCKER.partition(":")
    connect = getattr(importlib.import_module(module), name)
    return cast("AbstractContextManager[ImageSource]", connect())
