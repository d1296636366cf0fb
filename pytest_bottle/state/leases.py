"""Bottles that all workers of a run share: launched by the first, taken down by the last."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar
from typing import cast

from pytest_bottle.state.once import safe_file_name
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.publish import locked
from pytest_bottle.state.publish import publish
from pytest_bottle.state.publish import read_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_bottle.state.run import Run

Reference = TypeVar("Reference")

_POLL = 0.02


class Lease:
    """One process's share in something that was launched once for the run."""

    def __init__(self, path: Path, holder: str) -> None:
        """Not for callers: `acquire` returns them."""
        self._path = path
        self._holder = holder

    def replace(self, seen: Reference, launch: Callable[[], Reference]) -> Reference:
        """Return what took the place of a lost one; the first process that asks launches it.

        Args:
            seen: the reference of the lost one.
            launch: starts another, and returns its reference.
        """
        with _shared(self._path) as shared:
            if shared["reference"] in (None, json.loads(json.dumps(seen))):
                # Where this launch fails, the next process that asks tries again.
                shared["reference"] = None
                shared["reference"] = json.loads(json.dumps(launch()))
            return cast("Reference", shared["reference"])

    def release(self, stop: Callable[[Any], None]) -> bool:
        """Give the share back; whether it was the last, and `stop` took it down. Idempotent.

        Args:
            stop: takes down what the reference names. Nobody attaches to it meanwhile, or later.
        """
        with _shared(self._path) as shared:
            if self._holder not in shared["holders"]:
                return False
            shared["holders"].remove(self._holder)
            if shared["holders"] or shared["reference"] is None:
                return False
            reference, shared["reference"] = shared["reference"], None
            # Known to be gone before it goes: whoever dies in `stop` leaves nothing to attach to.
            publish(self._path, json.dumps(shared))
            stop(reference)
            return True


def acquire(run: Run, key: str, launch: Callable[[], Reference]) -> tuple[Reference, Lease]:
    """Take a share in what the run has under a key, launching it where it has nothing yet.

    The other workers wait meanwhile. Where the launch fails, the error is the caller's, and the
    next one tries again.

    Args:
        run: whose workers share it.
        key: what is shared, such as the digest of a plan.
        launch: starts it, and returns JSON values from which other processes find it.
    """
    path = run.directory / "shared" / f"{safe_file_name(key)}.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    holder = f"{Owner.current().encode()}/{os.urandom(4).hex()}"
    with _shared(path) as shared:
        if shared["reference"] is None:
            shared["reference"] = json.loads(json.dumps(launch()))
        shared["holders"].append(holder)
        return cast("Reference", shared["reference"]), Lease(path, holder)


@contextmanager
def _shared(path: Path) -> Iterator[dict[str, Any]]:
    """Lock and read what is shared, without dead holders, and publish what became of it."""
    with locked(path.with_suffix(".lock"), poll=_POLL):
        try:
            shared = cast("dict[str, Any]", read_json(path))
        except FileNotFoundError:
            shared = {"reference": None, "holders": []}
        shared["holders"] = [
            holder for holder in shared["holders"] if Owner.decode(holder.split("/")[0]).alive()
        ]
        try:
            yield shared
        finally:
            publish(path, json.dumps(shared))
