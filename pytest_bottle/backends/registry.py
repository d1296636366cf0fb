"""The backends that pytest-bottle brings along, each loaded only when it is asked for."""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Final
from typing import cast

from pytest_bottle.errors import TeardownError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.backends.base import Backend
    from pytest_bottle.backends.base import Resource

BUILTIN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bubblewrap": "pytest_bottle.backends.bubblewrap.backend:BubblewrapBackend",
        "docker": "pytest_bottle.backends.docker.backend:DockerBackend",
        "smolmachines": "pytest_bottle.backends.smolmachines.backend:SmolmachinesBackend",
    }
)
"""Where each backend's class is, by the backend's name, in the order of `auto`."""

CLASS_KEY: Final = "backend_class"
"""The key of a resource's data that says where a third party's backend class is."""


def load_backend(place: str) -> Backend:
    """Return a new backend from `module:class`."""
    module, _, name = place.partition(":")
    return cast("Backend", getattr(importlib.import_module(module), name)())


def place_of(backend: Backend) -> str:
    """Return where a backend's class is, in the form that `load_backend` takes."""
    kind = type(backend)
    return f"{kind.__module__}:{kind.__qualname__}"


def remove_resource(resource: Resource) -> None:
    """Remove a journalled resource through the backend that it belongs to.

    Raises:
        TeardownError: the backend cannot be loaded here, or could not remove it.
    """
    name = resource.kind.partition(":")[0]
    place = resource.data.get(CLASS_KEY) or BUILTIN.get(name)
    if place is None:
        message = f"no backend is known that could remove {resource.kind} {resource.id}"
        raise TeardownError(message)
    try:
        backend = load_backend(place)
    except (ImportError, AttributeError) as problem:
        message = f"{place}, which could remove {resource.id}, does not load: {problem}"
        raise TeardownError(message) from problem
    try:
        backend.remove(resource)
    finally:
        backend.shutdown()
