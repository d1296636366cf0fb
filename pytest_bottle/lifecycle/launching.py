"""Starts and provisions one planned sandbox, so that it is taken down whatever happens."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.backends.base import Branching
from pytest_bottle.backends.registry import BUILTIN
from pytest_bottle.backends.registry import CLASS_KEY
from pytest_bottle.backends.registry import place_of
from pytest_bottle.backends.registry import remove_resource
from pytest_bottle.errors import BranchUnsupportedError
from pytest_bottle.lifecycle.prepare import write_prompt_file
from pytest_bottle.lifecycle.provisioning import provision
from pytest_bottle.lifecycle.reference import write_reference
from pytest_bottle.lifecycle.settings import default_launches
from pytest_bottle.lifecycle.settings import default_slots
from pytest_bottle.reaper import sweep
from pytest_bottle.state.directory import slots_directory
from pytest_bottle.state.directory import state_root
from pytest_bottle.state.slots import Slots
from pytest_bottle.state.tree import remove_tree
from pytest_bottle.watchdog import ensure_watchdog

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_bottle.backends.base import Backend
    from pytest_bottle.backends.base import Sandbox
    from pytest_bottle.bottle import Provisioned
    from pytest_bottle.lifecycle.extensions import Extensions
    from pytest_bottle.lifecycle.settings import Settings
    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.state.resource import Resource
    from pytest_bottle.state.run import Run
    from pytest_bottle.state.slots import Ticket


class Launcher:
    """Launches this process's sandboxes: admitted, watched over, and in the journal before."""

    def __init__(
        self,
        run: Run,
        settings: Settings,
        extensions: Extensions,
        authority: Callable[[], Path] | None = None,
    ) -> None:
        """Start nothing yet; `authority` waits until there is a plan's `ca_file`."""
        self._run = run
        self._settings = settings
        self._extensions = extensions
        self._authority = authority
        self._swept = False
        self._bottles = Slots(slots_directory(), "bottles", settings.slots or default_slots())
        self._launches = Slots(slots_directory(), "launches", default_launches())
        self._tickets: dict[str, Ticket] = {}
        self._endings: dict[str, _Ending] = {}
        self._leaving: list[str] = []
        """Bottles that their engines still remove."""

    def name(self, draft: BottlePlan, undo: contextlib.ExitStack) -> BottlePlan:
        """Give a planned bottle its name, and its directory with the prompt in it.

        The stack takes them back.

        Raises:
            ProcessStartError: there is nothing that would look after it.
            RunEndedError: the run was taken down.
        """
        ensure_watchdog(self._run)
        name = self._run.next_name()
        plan = dataclasses.replace(draft, name=name, state_dir=self._run.bottle_directory(name))
        undo.callback(self._leave_nothing, plan)
        write_prompt_file(plan)
        return plan

    def launch(self, plan: BottlePlan, undo: contextlib.ExitStack) -> tuple[Sandbox, Provisioned]:
        """Start and provision a named sandbox, which ends with this process; the stack undoes it.

        Raises:
            HostError: the host has no place for it.
            InfraError: it did not come up.
            ManifestError: what it was to be provisioned with is gone.
        """
        backend = self._extensions.backend(plan.backend)
        sandbox = self._start(plan, undo, backend, functools.partial(backend.launch, plan))
        if plan.ca_file is not None and self._authority is not None:
            self._authority()
        return sandbox, provision(plan, sandbox, self._extensions.provisioners)

    def branch(
        self, plan: BottlePlan, reference: Mapping[str, Any], undo: contextlib.ExitStack
    ) -> Sandbox:
        """Start a named sandbox from the present state of another one; the stack undoes it.

        Raises:
            HostError: the host has no place for it, or cannot branch it.
            InfraError: it did not come up.
            SandboxLostError: the other one is gone; this can be tried again.
        """
        backend = self._extensions.backend(plan.backend)
        start = functools.partial(branching_backend(backend).branch, plan, reference)
        with contextlib.ExitStack() as attempt:
            sandbox = self._start(plan, attempt, backend, start)
            undo.push(attempt.pop_all())
        return sandbox

    def _start(
        self,
        plan: BottlePlan,
        undo: contextlib.ExitStack,
        backend: Backend,
        start: Callable[[], Sandbox],
    ) -> Sandbox:
        self._sweep_once()
        label = f"{plan.name} (pid {os.getpid()})"
        # Those that wait for slots may need a golden bottle to start from: it takes none.
        if not plan.template:
            self._tickets[plan.name] = self._bottles.acquire(
                label=label, deadline=self._settings.slot_deadline, on_wait=self._waiting
            )
            undo.callback(self._release, plan.name)
        ensure_watchdog(self._run)
        planned = _marked(backend, backend.planned_resources(plan))
        self._run.journal.add(plan.name, planned)
        ending = self._endings[plan.name] = _Ending(backend, planned)
        undo.callback(ending.end)
        with self._launches.acquire(
            label=label, deadline=self._settings.slot_deadline, on_wait=self._waiting
        ):
            ending.sandbox = sandbox = start()
        self._run.journal.add(plan.name, _marked(backend, sandbox.resources))
        write_reference(plan, sandbox)
        return sandbox

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

    def _leave_nothing(self, plan: BottlePlan) -> None:
        # What resists stays in the journal, and the watchdog tries again.
        ending = self._endings.pop(plan.name, None)
        remove_tree(plan.state_dir)
        gone = True if ending is None else ending.gone
        if gone is not None:
            self.leave(plan.name, gone=gone)

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


def branching_backend(backend: object) -> Branching:
    """Return a backend as one that branches.

    Raises:
        BranchUnsupportedError: it does not.
    """
    if isinstance(backend, Branching):
        return backend
    raise BranchUnsupportedError(
        str(getattr(backend, "name", backend)),
        reason="the backend has no way to do that.",
        remedy="Take another backend, or leave out `golden` and open a second bottle with "
        "bottle_factory.",
    )
