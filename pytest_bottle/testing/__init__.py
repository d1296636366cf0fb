"""For authors of backends and of plugins: suites that a backend has to pass, and a fake backend.

A backend's own test module needs no more than this::

    from pytest_bottle.testing import BottleConformance
    from pytest_bottle.testing import BottleEscape
    from pytest_bottle.testing import BottleIsolation


    class TestMyBackend(BottleConformance):
        backend = "mine"


    class TestMyWall(BottleIsolation):
        backend = "mine"


    class TestMyDoor(BottleEscape):
        backend = "mine"
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from pytest_bottle.testing.conformance import BottleConformance
    from pytest_bottle.testing.escape import BottleEscape
    from pytest_bottle.testing.fake import FakeBackend
    from pytest_bottle.testing.isolation import BottleIsolation

__all__ = ["BottleConformance", "BottleEscape", "BottleIsolation", "FakeBackend"]

_SUITES = {
    "BottleConformance": "conformance",
    "BottleEscape": "escape",
    "BottleIsolation": "isolation",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- the type is the attribute's own
    """Import what is asked for: the fake must not need pytest, nor the suites the fake."""
    if name in _SUITES:
        import pytest  # noqa: PLC0415

        module = f"{__name__}.{_SUITES[name]}"
        pytest.register_assert_rewrite(module)
        return getattr(importlib.import_module(module), name)
    if name == "FakeBackend":
        from pytest_bottle.testing.fake import FakeBackend  # noqa: PLC0415

        return FakeBackend
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
