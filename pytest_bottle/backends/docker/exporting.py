"""Reads the file system of an image as an archive."""

from __future__ import annotations

import contextlib
import io
from typing import IO
from typing import TYPE_CHECKING
from typing import Final
from typing import cast

from pytest_bottle.backends.docker.agent_image import absent
from pytest_bottle.backends.docker.agent_image import is_agent_image
from pytest_bottle.backends.docker.engine import translated
from pytest_bottle.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_bottle.backends.docker.engine import Engine

_CHUNK: Final = 1 << 20
_REMOVE_DEADLINE: Final = 10.0


@contextlib.contextmanager
def exported(engine: Engine, name: str) -> Iterator[tuple[IO[bytes], int]]:
    """Yield a tar stream of an image's files, and about how many bytes they have.

    Raises:
        ImageError: the engine does not have it.
        EngineError: here, and where the stream is read.
    """
    found = engine.inspect_image(name)
    if found is None:
        if is_agent_image(name):
            raise absent(name)
        raise ImageError(
            name, reason="the engine does not have it.", remedy=f"`docker pull {name}` gets it."
        )
    with translated():
        # It is never started.
        made = engine.api.create_container(found["Id"], ["true"], network_disabled=True)
    container = str(made["Id"])
    try:
        with translated():
            chunks = engine.api.export(container, chunk_size=_CHUNK)
        with contextlib.closing(_Stream(chunks)) as stream:
            yield cast("IO[bytes]", stream), found["Size"]
    finally:
        engine.remove(container, deadline=_REMOVE_DEADLINE)


class _Stream(io.RawIOBase):
    """Chunks as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if not self._left:
            with translated():
                self._left = memoryview(next(self._chunks, b""))
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
