"""Do something once for all processes that share a directory."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING
from typing import TypeVar
from typing import cast

from pytest_bottle.state.publish import locked
from pytest_bottle.state.publish import publish
from pytest_bottle.state.publish import read_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

_POLL = 0.02
_READABLE = 40


def once(directory: Path, key: str, make: Callable[[], T]) -> T:
    """Return what `make` returned to the first process that asked, making it if none has yet.

    The others wait meanwhile. A failure is not remembered: it is the caller's, and the next one
    tries again.

    Args:
        directory: of the run, or the cache for what serves all runs.
        key: what is made; any text.
        make: returns JSON values; what JSON does not keep (tuples) is lost for the first, too.
    """
    path = directory / "once" / f"{safe_file_name(key)}.json"
    try:
        return cast("T", read_json(path))
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    with locked(path.with_suffix(".lock"), poll=_POLL):
        try:
            return cast("T", read_json(path))
        except FileNotFoundError:
            text = json.dumps(make())
            publish(path, text)
            return cast("T", json.loads(text))


def safe_file_name(key: str) -> str:
    """Return a file name for any text: distinct for distinct texts, and still readable."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', key)[:_READABLE].strip('-')}.{digest}"
