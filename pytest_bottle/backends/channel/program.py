"""The guest's end of the exec channel as one text, to be run by a guest's own Python.

The parts must run there on their own: standard library only, Python 3.7 or later, and nothing
imported once they serve (a late import would load the guest's code).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

_PARTS: Final = (
    "frames",
    "killing",
    "command",
    "listeners",
    "connections",
    "execs",
    "relays",
    "server",
)
"""Modules of this package, each before those that import it."""

_FUTURE: Final = "from __future__ import annotations\n"
_OWN_IMPORT: Final = "from pytest_bottle."


@functools.cache
def guest_program(*further: Path) -> bytes:
    """Return the parts as one module, less the imports of one another.

    Args:
        further: modules of a backend's own, which come last.
    """
    lines = [_FUTURE]
    for path in (*(Path(__file__).with_name(f"{part}.py") for part in _PARTS), *further):
        text = path.read_text(encoding="utf-8")
        lines += [
            line
            for line in text.splitlines(keepends=True)
            if line != _FUTURE and not line.startswith(_OWN_IMPORT)
        ]
    return "".join(lines).encode()
