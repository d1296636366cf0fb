"""The one way that every bottle goes: prepare, launch, provision, tear down."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.base import Probe
from pytest_bottle.backends.registry import BUILTIN
from pytest_bottle.backends.registry import CLASS_KEY
from pytest_bottle.backends.registry import place_of
from pytest_bottle.backends.registry import remove_resource
from pytest_bottle.bottle import Bottle
from pytest_bottle.bottle import Provisioned
from pytest_bottle.command_log import CommandLog
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import TeardownError
from pytest_bottle.lifecycle.extensions import Extensions
from pytest_bottle.lifecycle.prepare import prepare
from pytest_bottle.lifecycle.prepare import requested_backend
from pytest_bottle.lifecycle.prepare import write_prompt_file
from pytest_bottle.lifecycle.provisioning import provision
from pytest_bottle.lifecycle.reference import write_reference
from pytest_bottle.lifecycle.settings import AUTO
from pytest_bottle.lifecycle.settings import Settings
from pytest_bottle.lifecycle.settings import default_launches
from pytest_bottle.lifecycle.settings import default_slots
from pytest_bottle.reaper import remove_run
from pytest_bottle.reaper import sweep
from pytest_bottle.redaction import redactor
from pytest_bottle.state import leases
from pytest_bottle.state.directory import slots_directory
from pytest_bottle.state.directory import state_root
from pytest_bottle.state.once import once
from pytest_bottle.state.resource import Resource
from pytest_bottle.state.run import read_watchdog
from pytest_bottle.state.slots import Slots
from pytest_bottle.state.tree import remove_tree
from pytest_bottle.watchdog import ensure_watchdog

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_bottle.backends.base import Backend
    from pytest_bottle.backends.base import Sandbox
    from pytest_bottle.lifecycle.spec import Spec
    from pytest_bottle.manifest import Manifest
    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.state.journal import ScopeOwner
    from pytest_bottle.state.run import Run
    from pytest_bottle.state.slots import Ticket

SETTLE_DEADLINE: Final = 60.0
"""Seconds, at the end of a process, for engines to finish removing what was stopped."""



class Lifecycle:
    """Opens and closes this process's bottles, as part of a run.

    Safe to use from several threads. Nothing is started before the first bottle is asked for.
    """

    def __init__(self, run: Run, settings: Settings, extensions: Extensions | None = None) -> None:
        """Bind a run."""
        self.run: Final = run
        self.settings: Final = settings
        self.extensions: Final = extensions or Extensions()
        self._lock = threading.Lock()
        self._open: dict[str, contextlib.ExitStack] = {}
        self._settling: list[str] = []
        self._prepared: set[str] = set()
        self._leases: list[tuple[leases.Lease, Backend, BottlePlan]] = []
        self._swept = False
        slots = settings.slots or default_slots()
        self._slots = Slots(slots_directory(), "bottles", slots)
        self._launches = Slots(slots_directory(), "launches", default_launches())

    # Capabilities

    def probe(self, name: str) -> Probe:
        """Find out, once per run, whether this host has a capability.

        Raises:
            KeyError: there is none of that name.
        """
        find_out = self.extensions.probe_of(name)
        if find_out is None:
            raise KeyError(name)
        answer = once(
            self.run.directory, f"capability {name}", lambda: dataclasses.asdict(find_out())
        )
        return Probe(**answer)

    def choose_backend(self, spec: Spec, manifest: Manifest) -> str:
        """Return the marker's backend, else the manifest's, else the setting's, else what opens.

        Raises:
            CapabilityError: the setting is `auto`, and no backend opens here.
            MarkerError: the spec names what the manifest does not have.
        """
        named = requested_backend(spec, manifest) or self.settings.backend
        if named != AUTO:
            return named
        seen = []
        for name in BUILTIN:
            answer = self.probe(name)
            if answer.ok:
                return name
            seen.append(f"{name}: {answer.detail} (fix: {answer.fix})")
        raise CapabilityError(
            "bottle",
            reason="no backend opens on this host. " + " ".join(seen),
            fix="`pytest-bottle doctor` shows more",
        )

    # Open

    def open(self, spec: Spec, manifest: Manifest, *, evidence: Path | None = None) -> Bottle:
        """Return a new bottle, ready for its test.

        Args:
            spec: What is asked for.
            manifest: Where its agents and bottles are.
            evidence: A directory in which to write its record; None keeps it in memory.

        Raises:
            AuthorError: the spec or the manifest is wrong; nothing was started.
            HostError: the host cannot do it.
            InfraError: it did not come up; nothing of it remains.
        """
        name = self.run.next_name()
        with contextlib.ExitStack() as undo:
            plan = self._plan(spec, manifest, name, shared=False)
            undo.callback(remove_tree, plan.state_dir)
            sandbox, provisioned = self._launch(plan, undo)
            bottle = self._bottle(plan, sandbox, provisioned, evidence)
            with self._lock:
                self._open[name] = undo.pop_all()
        return bottle

    def share(self, spec: Spec, manifest: Manifest, *, evidence: Path | None = None) -> Bottle:
        """Return this process's handle of a bottle that all workers of the run share.

        The first to ask launches it; see `open` for arguments and errors. Its end is the end of the
        last worker that has a share in it.
        """
        draft = self._plan(spec, manifest, f"{self.run.id}-shared", shared=True)
        remove_tree(draft.state_dir)
        launched: list[Sandbox] = []

        def launch() -> dict[str, Any]:
            name = self.run.next_name()
            state_dir = self.run.bottle_directory(name)
            plan = dataclasses.replace(draft, name=name, state_dir=state_dir)
            with contextlib.ExitStack() as undo:
                undo.callback(remove_tree, state_dir)
                sandbox, provisioned = self._launch(plan, undo)
                (state_dir / "baseline.tar").write_bytes(provisioned.baseline)
                sandbox.detach()
                undo.pop_all()
            launched.append(sandbox)
            return {
                "name": name,
                "reference": dict(sandbox.reference()),
                "prompt_path": provisioned.prompt_path,
            }

        reference, lease = leases.acquire(self.run, draft.digest, launch)
        name = reference["name"]
        plan = dataclasses.replace(draft, name=name, state_dir=self.run.bottle_directory(name))
        backend = self.extensions.backend(plan.backend)
        with self._lock:
            self._leases.append((lease, backend, plan))
        sandbox = launched[0] if launched else backend.attach(plan, reference["reference"])
        provisioned = Provisioned(
            baseline=(plan.state_dir / "baseline.tar").read_bytes(),
            prompt_path=reference["prompt_path"],
        )
        bottle = self._bottle(plan, sandbox, provisioned, evidence)
        with self._lock:
            self._open[name] = contextlib.ExitStack()
            self._open[name].callback(sandbox.close)
        return bottle

    def _plan(self, spec: Spec, manifest: Manifest, name: str, *, shared: bool) -> BottlePlan:
        plan = prepare(
            spec,
            manifest,
            name=name,
            run_id=self.run.id,
            worker=self.run.worker,
            state_dir=self.run.directory / name,
            backend=self.choose_backend(spec, manifest),
            default_timeout=self.settings.timeout,
            agent_kinds=tuple(self.extensions.agents),
            shared=shared,
        )
        self._prepare_image(plan)
        return plan

    def _prepare_image(self, plan: BottlePlan) -> None:
        """Have the backend check the plan; once per run for each image."""
        backend = self.extensions.backend(plan.backend)
        key = f"image {plan.backend} {plan.image} {plan.user}"
        if key in self._prepared:
            return

        def make() -> bool:
            backend.prepare(plan)
            return True

        once(self.run.directory, key, make)
        self._prepared.add(key)

    def _launch(
        self, plan: BottlePlan, undo: contextlib.ExitStack
    ) -> tuple[Sandbox, Provisioned]:
        """Start and provision a sandbox; whatever was started is undone by the stack."""
        self._sweep_once()
        backend = self.extensions.backend(plan.backend)
        self.run.bottle_directory(plan.name)
        write_prompt_file(plan)
        undo.push(self._admit(plan))
        ensure_watchdog(self.run)
        directory = Resource(kind="directory", id=str(plan.state_dir))
        planned = _marked(backend, [directory, *backend.planned_resources(plan)])
        scope_owner: ScopeOwner = "run" if plan.shared else "worker"
        self.run.journal.add(plan.name, planned, scope_owner=scope_owner)
        gone = _Gone()
        undo.callback(self._settle, plan.name, gone)
        with self._launches.acquire(
            label=plan.name, deadline=self.settings.slot_deadline, on_wait=self._waiting
        ):
            sandbox = backend.launch(plan)
        undo.callback(gone.stop, sandbox)
        self.run.journal.add(
            plan.name, _marked(backend, sandbox.resources), scope_owner=scope_owner
        )
        write_reference(plan, sandbox)
        return sandbox, provision(plan, sandbox, self.extensions.provisioners)

    def _bottle(
        self,
        plan: BottlePlan,
        sandbox: Sandbox,
        provisioned: Provisioned,
        evidence: Path | None,
    ) -> Bottle:
        if evidence is not None:
            evidence.mkdir(parents=True, exist_ok=True)
        return Bottle(
            plan=plan,
            wall=self.extensions.backend(plan.backend).wall,
            sandbox=sandbox,
            provisioned=provisioned,
            agent_kind=self.extensions.agents[plan.agent.kind] if plan.agent else None,
            log=CommandLog(
                redactor(plan.secrets),
                evidence / f"{plan.name}.commands.jsonl" if evidence else None,
            ),
            on_close=self._close,
        )

    def _admit(self, plan: BottlePlan) -> Ticket:
        return self._slots.acquire(
            label=f"{plan.name} (pid of {self.run.worker}: run {self.run.id[:8]})",
            deadline=self.settings.slot_deadline,
            on_wait=self._waiting,
        )

    def _waiting(self, position: int, holders: list[str], waited: float) -> None:
        self.settings.report(
            f"waiting for a slot for {waited:.0f} s: place {position} in the line, "
            f"{len(holders)} held"
        )

    def _sweep_once(self) -> None:
        """Remove what earlier runs left, where even their watchdog died."""
        if not self._swept:
            self._swept = True
            sweep(state_root(), remove_resource)

    # Close

    def _close(self, bottle: Bottle) -> None:
        with self._lock:
            undo = self._open.pop(bottle.name, None)
        if undo is not None:
            undo.close()

    def _settle(self, name: str, gone: _Gone) -> None:
        """Strike a bottle from the journal, now or when its engine has removed it."""
        if gone.certainly:
            self.run.journal.settled(name)
        else:
            self._settling.append(name)

    def keep(self, bottle: Bottle) -> None:
        """Leave a bottle running after the run, for a person to look at."""
        with self._lock:
            undo = self._open.pop(bottle.name, None)
        if undo is None or bottle.plan.shared:
            return
        bottle.sandbox.detach()
        self.run.journal.keep(bottle.name)
        undo.pop_all()

    def close(self) -> None:
        """Tear down what is still open, and wait until nothing of this process is left.

        Raises:
            TeardownError: naming what could not be removed.
        """
        problems: list[str] = []
        with self._lock:
            stacks, self._open = list(self._open.values()), {}
            held, self._leases = self._leases, []
        for undo in reversed(stacks):
            _try(problems, undo.close)
        for lease, backend, plan in held:
            _try(problems, functools.partial(self._release, lease, backend, plan))
        for backend in self.extensions.loaded_backends:
            _try(problems, functools.partial(backend.settle, SETTLE_DEADLINE))
        if not problems:
            for name in self._settling:
                self.run.journal.settled(name)
            self._settling.clear()
        for backend in self.extensions.loaded_backends:
            _try(problems, backend.shutdown)
        if problems:
            raise TeardownError("; ".join(problems))

    def end_run(self) -> None:
        """Say that the whole run has ended; only for the process that controls it.

        Its watchdog, if it ever had one, removes the rest and the run's directory.
        """
        if read_watchdog(self.run.directory) is None:
            remove_run(self.run.directory)
        else:
            self.run.end()

    def _release(self, lease: leases.Lease, backend: Backend, plan: BottlePlan) -> None:
        """Give a share back; the last one takes the bottle down."""

        def stop(reference: Mapping[str, Any]) -> None:
            backend.attach(plan, reference["reference"]).stop()
            remove_tree(plan.state_dir)
            self._settling.append(plan.name)

        lease.release(stop)


class _Gone:
    """Whether a sandbox is certainly gone: it never started, or its stop said so."""

    def __init__(self) -> None:
        self.certainly = True

    def stop(self, sandbox: Sandbox) -> None:
        self.certainly = False
        self.certainly = sandbox.stop()


def _try(problems: list[str], action: Callable[[], object]) -> None:
    try:
        action()
    except (OSError, TeardownError) as problem:
        problems.append(str(problem))


def _marked(backend: Backend, resources: Iterable[Resource]) -> list[Resource]:
    """Add to a third party's resources where its class is, for the processes that clean up."""
    if backend.name in BUILTIN:
        return list(resources)
    place = {CLASS_KEY: place_of(backend)}
    return [
        dataclasses.replace(resource, data={**resource.data, **place}) for resource in resources
    ]
