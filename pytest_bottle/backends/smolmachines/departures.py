"""Machines on their way out: a deletion in the background for each, and who is really gone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.smolmachines.failures import SmolvmError
from pytest_bottle.backends.smolmachines.removal import remove_machine
from pytest_bottle.errors import TeardownError

if TYPE_CHECKING:
    from pytest_bottle.backends.smolmachines.smolvm import Smolvm

_AT_ONCE: Final = 2
"""Deletions in flight: each flushes and removes a machine's disks."""


class Departures:
    """The machines that this process has stopped."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._leaving: dict[str, tuple[Smolvm, Future[None]]] = {}

    def add(self, smolvm: Smolvm, name: str) -> None:
        """Have a machine removed; one with branches is stopped, and goes after them."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_AT_ONCE, "bottle-departure")
            self._leaving[name] = (smolvm, self._pool.submit(_remove, smolvm, name))

    def __contains__(self, name: str) -> bool:
        """Whether a machine was told to go, and is not known to be gone."""
        with self._lock:
            return name in self._leaving

    def settle(self, deadline: float) -> None:
        """Wait until all are gone.

        Raises:
            TeardownError: naming what remains after `deadline` seconds.
        """
        until = time.monotonic() + deadline
        problems: dict[str, str] = {}
        with self._lock:
            leaving = dict(self._leaving)
        wait([future for _, future in leaving.values()], timeout=deadline)
        sources: dict[str, Smolvm] = {}
        for name, (smolvm, future) in leaving.items():
            if not future.done():
                problems[name] = "the engine is still removing it"
            elif isinstance(problem := future.exception(), SmolvmError) and problem.has_branches:
                sources[name] = smolvm
            elif problem is not None:
                problems[name] = str(problem)
        problems |= _again(sources, until)
        with self._lock:
            for name in leaving.keys() - problems.keys():
                self._leaving.pop(name, None)
        if problems:
            listed = "; ".join(f"{name} ({problem})" for name, problem in problems.items())
            message = (
                f"machines that could not be removed within {deadline:g} s: {listed}. "
                "`smolvm machine delete --force --cascade --name NAME` removes one."
            )
            raise TeardownError(message)

    def close(self) -> None:
        """Start no more deletions, and wait for those in flight."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()


def _remove(smolvm: Smolvm, name: str) -> None:
    try:
        remove_machine(smolvm, name)
    except SmolvmError as problem:
        if problem.has_branches:
            smolvm.machine_stop(name)
        raise


def _again(sources: dict[str, Smolvm], until: float) -> dict[str, str]:
    """Remove sources, once their branches, which may be among them, had their time to go.

    Returns:
        What is left, and why.
    """
    problems: dict[str, str] = {}
    while sources:
        for name, smolvm in list(sources.items()):
            try:
                remove_machine(smolvm, name)
            except SmolvmError as problem:
                if problem.has_branches and time.monotonic() <= until:
                    continue
                problems[name] = str(problem)
            del sources[name]
        if sources:
            time.sleep(0.2)
    return problems
