"""Who may boot a machine now: so many at once on this host, and an image's first boot alone.

The engine unpacks an image at its first boot. Two that do so at once have been seen to fail, and so
many boots at once that none gets on in time.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.errors import OptionError
from pytest_bottle.state.directory import cache_directory
from pytest_bottle.state.directory import slots_directory
from pytest_bottle.state.once import safe_file_name
from pytest_bottle.state.publish import locked
from pytest_bottle.state.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOTS_VARIABLE: Final = "BOTTLE_SMOLVM_BOOTS"
"""How many machines may boot at once on this host; by default one for each two of its CPUs."""

_DEADLINE: Final = 600.0
"""Seconds to wait for one's turn."""

_POLL: Final = 0.05


@contextlib.contextmanager
def admitted(name: str, image: str | None = None) -> Iterator[None]:
    """Wait for one's turn to boot a machine.

    Args:
        name: the machine's.
        image: what it starts from; None where that has been booted, as a branch's has.

    Raises:
        SlotTimeoutError: the host stayed busy.
        OptionError: the variable says no number.
    """
    slots = Slots(slots_directory(), "smolvm-boots", _capacity())
    with contextlib.ExitStack() as stack:
        if image is not None:
            stack.enter_context(_alone_at_first(image))
        stack.enter_context(slots.acquire(label=name, deadline=_DEADLINE))
        yield


@contextlib.contextmanager
def _alone_at_first(image: str) -> Iterator[None]:
    """Keep others from booting an image until one has."""
    directory = cache_directory() / "smolvm-booted"
    directory.mkdir(mode=0o700, exist_ok=True)
    mark = directory / safe_file_name(image)
    if mark.exists():
        yield
        return
    with locked(mark.with_suffix(".lock"), poll=_POLL):
        yield
        mark.touch()


def _capacity() -> int:
    text = os.environ.get(BOOTS_VARIABLE, "")
    if not text:
        return max(1, (os.cpu_count() or 1) // 2)
    if text.isdecimal() and int(text):
        return int(text)
    raise OptionError(
        f"{text!r} is not a whole number above 0.",
        option=BOOTS_VARIABLE,
        source="environment variable",
    )
