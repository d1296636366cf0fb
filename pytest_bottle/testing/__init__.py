"""For authors of backends and of plugins: a conformance suite and a fake backend.

A backend's own test module needs no more than this::

    from pytest_bottle.testing import BottleConformance


    class TestMyBackend(BottleConformance):
        backend = "mine"
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from pytest_bottle.testing.conformance import BottleConformance
    from pytest_bottle.testing.fake import FakeBackend

__all__ = ["BottleConformance", "FakeBackend"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- the type is the attribute's own
    """Import what is asked for: the fake must not need pytest, nor the suite the fake."""
    if name == "BottleConformance":
        import pytest  # noqa: PLC0415

        pytest.register_assert_rewrite("pytest_bottle.testing.conformance")
        from pytest_bottle.testing.conformance import BottleConformance  # noqa: PLC0415

        return BottleConformance
    if name == "FakeBackend":
        from pytest_bottle.testing.fake import FakeBackend  # noqa: PLC0415

        return FakeBackend
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
