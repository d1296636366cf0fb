"""A test process, as the door speaks to it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Holder(Protocol):
    """A test process, as the door speaks to it."""

    async def ask(self, bottle: str, number: int, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a callable of the test answers, as JSON.

        Raises:
            TurnFailedError: it failed.
            DoorError: the process went away.
        """
        ...

    def tell(self, event: Mapping[str, Any]) -> None:
        """Let the process know of something."""
        ...
