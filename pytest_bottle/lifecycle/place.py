"""Where a value was written, so that an error about it names that place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Protocol

from pytest_bottle.errors import ManifestError
from pytest_bottle.errors import MarkerError

if TYPE_CHECKING:
    from pytest_bottle.errors import AuthorError
    from pytest_bottle.lifecycle.spec import Spec
    from pytest_bottle.manifest import Manifest


class Place(Protocol):
    """A key of the manifest, or an argument of the marker."""

    def error(self, problem: str, *, remedy: str) -> AuthorError:
        """Return the error that says so."""
        ...


@dataclass(frozen=True, slots=True)
class _ManifestPlace:
    file: str
    key: str

    def error(self, problem: str, *, remedy: str) -> AuthorError:
        return ManifestError(problem, file=self.file, key=self.key, remedy=remedy)


@dataclass(frozen=True, slots=True)
class _MarkerPlace:
    node: str
    argument: str

    def error(self, problem: str, *, remedy: str) -> AuthorError:
        return MarkerError(f"{self.argument}: {problem}", node=self.node, remedy=remedy)


def in_manifest(manifest: Manifest, *key: str) -> Place:
    """Return the place of a manifest's key."""
    return _ManifestPlace(file=str(manifest.path), key=manifest.key(*key))


def in_marker(spec: Spec, argument: str, item: str = "") -> Place:
    """Return the place of a marker's argument, or of one item of it."""
    return _MarkerPlace(node=spec.node, argument=f"{argument}[{item!r}]" if item else argument)
