"""Starts and provisions one planned sandbox, so that it is taken down whatever happens."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from pytest_bottle.backends.registry import BUILTIN
from pytest_bottle.backends.registry import CLASS_KEY
from pytest_bottle.backends.registry import place_of
from pytest_bottle.backends.registry import remove_resource
from pytest_bottle.lifecycle.prepare import write_prompt_file
from pytest_bottle.lifecycle.provisioning import provision
from pytest_bottle.lifecycle.reference import write_reference
from pytest_bottle.lifecycle.settings import default_launches
from pytest_bottle.lifecycle.settings import default_slots
from pytest_bottle.reaper import sweep
from pytest_bottle.state.directory import slots_directory
from pytest_bottle.state.directory import state_root
from pytest_bottle.state.resource import Resource
from pytest_bottle.state.slots import Slots
from pytest_bottle.watchdog import ensure_watchdog

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterable
    from collections.abc import Sequence

    from pytest_bottle.backends.base import Backend
    from pytest_bottle.backends.base import Sandbox
    from pytest_bottle.bottle import Provisioned
    from pytest_bottle.lifecycle.extensions import Extensions
    from pytest_bottle.lifecycle.settings import Settings
    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.state.run import Run
    from pytest_bottle.state.slots import Ticket


class Launcher:
    """Launches this process's sandboxes: admitted, watched over, and in the journal before."""

    def __init__(self, run: Run, settings: Settings, extensions: Extensions) -> None:
        """Start nothing yet."""
        self._run = run
        self._settings = settings
        self._extensions = extensions
        self._swept = False
        self._bottles = Slots(slots_directory(), "bottles", settings.slots or default_slots())
        self._launches = Slots(slots_directory(), "launches", default_launches())
        self._tickets: dict[str, Ticket] = {}
        self._leaving: list[str] = []
        """Bottles that their engines still remove."""

    def launch(self, plan: BottlePlan, undo: contextlib.ExitStack) -> tuple[Sandbox, Provisioned]:
        """Start and provision a sandbox, which ends with this process; the stack undoes it all.

        Raises:
            HostError: the host has no place for it.
            InfraError: it did not come up.
            ManifestError: what it was to be provisioned with is gone.
        """
        self._sweep_once()
        backend = self._extensions.backend(plan.backend)
        self._run.bottle_directory(plan.name)
        write_prompt_file(plan)
        label = f"{plan.name} (pid {os.getpid()})"
        self._tickets[plan.name] = self._bottles.acquire(
            label=label, deadline=self._settings.slot_deadline, on_wait=self._waiting
        )
        undo.callback(self._release, plan.name)
        ensure_watchdog(self._run)
        planned = _marked(backend, backend.planned_resources(plan))
        directory = Resource(kind="directory", id=str(plan.state_dir))
        self._run.journal.add(plan.name, [directory, *planned])
        ending = _Ending(backend, planned)
        undo.callback(self._settle, plan.name, ending)
        undo.callback(ending.end)
        with self._launches.acquire(
            label=label, deadline=self._settings.slot_deadline, on_wait=self._waiting
        ):
            ending.sandbox = sandbox = backend.launch(plan)
        self._run.journal.add(plan.name, _marked(backend, sandbox.resources))
        write_reference(plan, sandbox)
        return sandbox, provision(plan, sandbox, self._extensions.provisioners)

    def leave(self, name: str, *, gone: bool) -> None:
        """Strike a bottle that was stopped from the journal, as soon as all of it is gone."""
        if gone:
            self._run.journal.settled(name)
        else:
            self._leaving.append(name)

    def settle(self) -> None:
        """Strike those bottles from the journal that the engines have removed by now."""
        leaving, self._leaving = self._leaving, []
        for name in leaving:
            self._run.journal.settled(name)

    def release_slots(self) -> None:
        """Give back the slots of the bottles that outlive this process."""
        for name in list(self._tickets):
            self._release(name)

    def _release(self, name: str) -> None:
        self._tickets.pop(name).release()

    def _settle(self, name: str, ending: _Ending) -> None:
        # What resisted stays in the journal, and the watchdog tries again.
        if ending.gone is not None:
            self.leave(name, gone=ending.gone)

    def _sweep_once(self) -> None:
        """Remove what earlier runs left, where even their watchdog died."""
        if not self._swept:
            self._swept = True
            sweep(state_root(), remove_resource)

    def _waiting(self, position: int, holders: list[str], waited: float) -> None:
        self._settings.report(
            f"waiting for a slot for {waited:.0f} s: place {position} in the line, "
            f"{len(holders)} held"
        )


class _Ending:
    """How one sandbox, or what there may be of it, is ended."""

    def __init__(self, backend: Backend, planned: Sequence[Resource]) -> None:
        self._backend = backend
        self._planned = planned
        self.sandbox: Sandbox | None = None
        self.gone: bool | None = None
        """As `Sandbox.stop` returned it; None where nobody knows."""

    def end(self) -> None:
        if self.sandbox is not None:
            self.gone = self.sandbox.stop()
            return
        # A backend cleans up after a launch that failed, but the failure may be its engine's.
        for resource in self._planned:
            if ":" in resource.kind:  # The others are the reaper's.
                self._backend.remove(resource)
        self.gone = True


def _marked(backend: Backend, resources: Iterable[Resource]) -> list[Resource]:
    """Add to a third party's resources where its class is, for the processes that clean up."""
    if backend.name in BUILTIN:
        return list(resources)
    place = {CLASS_KEY: place_of(backend)}
    return [
        dataclasses.replace(resource, data={**resource.data, **place}) for resource in resources
    ]
