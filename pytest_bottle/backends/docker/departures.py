"""Containers on their way out: who has been told to go, and who is really gone."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.docker.branching import remove_branch_image
from pytest_bottle.backends.docker.engine import EngineError
from pytest_bottle.errors import TeardownError

if TYPE_CHECKING:
    from pytest_bottle.backends.docker.engine import Engine

PATIENCE: Final = 3.0
"""Seconds that a container gets to go by itself before it is removed by force."""

_POLL: Final = 0.02


class Departures:
    """The containers that this process has stopped."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._leaving: dict[str, tuple[Engine, float]] = {}
        self._images: dict[str, Engine] = {}

    def add(self, engine: Engine, name: str, *, image: bool = False) -> None:
        """Note a container that is going by itself, and whether an image was made for it."""
        with self._lock:
            self._leaving[name] = (engine, time.monotonic() + PATIENCE)
            if image:
                self._images[name] = engine
            images = dict(self._images)
        # What can go now does not pile up until the end; the engine keeps what is still used.
        for one, its_engine in images.items():
            self._remove_image(its_engine, one, deadline=0.0)

    def _remove_image(self, engine: Engine, name: str, *, deadline: float) -> str:
        """Remove an image; return why it is still there, or nothing."""
        try:
            if not remove_branch_image(engine, name, deadline=deadline):
                return "its image is still used"
        except EngineError as problem:
            return str(problem)
        with self._lock:
            self._images.pop(name, None)
        return ""

    def settle(self, deadline: float) -> None:
        """Wait until all are gone; remove by force what stays too long.

        Raises:
            TeardownError: naming what remains after `deadline` seconds.
        """
        until = time.monotonic() + deadline
        with self._lock:
            leaving, images = dict(self._leaving), dict(self._images)
        problems: dict[str, str] = {}
        for name, (engine, patience) in leaving.items():
            try:
                gone = _await_end(engine, name, patience=patience, until=until)
            except EngineError as problem:
                problems[name] = str(problem)
                continue
            if gone:
                with self._lock:
                    self._leaving.pop(name, None)
            else:
                problems[name] = "the engine is still removing it"
        # When all containers are gone, as some may have been using the same image.
        for name in images.keys() - problems.keys():
            left = max(until - time.monotonic(), 0.1)
            if reason := self._remove_image(images[name], name, deadline=left):
                problems[name] = reason
        if problems:
            listed = "; ".join(f"{name} ({problem})" for name, problem in problems.items())
            message = (
                f"containers that could not be removed within {deadline:g} s: {listed}. "
                "`docker rm --force` removes them once the engine answers."
            )
            raise TeardownError(message)


def _await_end(engine: Engine, name: str, *, patience: float, until: float) -> bool:
    while True:
        now = time.monotonic()
        try:
            if engine.inspect(name) is None:
                return True
            if now >= min(patience, until):
                return engine.remove(name, deadline=max(until - now, 0.1))
        except EngineError as problem:
            # An engine that is being restarted answers again.
            if problem.status is not None or now >= until:
                raise
        time.sleep(_POLL)
