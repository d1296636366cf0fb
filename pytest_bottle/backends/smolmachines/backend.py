"""The smolmachines backend: microVMs, reached through a server in each and not by a network."""

from __future__ import annotations

import contextlib
import platform
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.backends.base import Guest
from pytest_bottle.backends.base import Resource
from pytest_bottle.backends.base import silence
from pytest_bottle.backends.smolmachines.admission import admitted
from pytest_bottle.backends.smolmachines.bottle import SmolmachinesBottle
from pytest_bottle.backends.smolmachines.bottle_plan import MACHINE_KIND
from pytest_bottle.backends.smolmachines.departures import Departures
from pytest_bottle.backends.smolmachines.engine import current_engine
from pytest_bottle.backends.smolmachines.engine_exec import MachineShells
from pytest_bottle.backends.smolmachines.failures import SmolvmError
from pytest_bottle.backends.smolmachines.labels import NAME_LABEL
from pytest_bottle.backends.smolmachines.labels import OWNER_LABEL
from pytest_bottle.backends.smolmachines.labels import labels
from pytest_bottle.backends.smolmachines.launch import open_channel
from pytest_bottle.backends.smolmachines.launch import start_machine
from pytest_bottle.backends.smolmachines.lost import is_running
from pytest_bottle.backends.smolmachines.lost import lost_sentence
from pytest_bottle.backends.smolmachines.prepare import prepare_image
from pytest_bottle.backends.smolmachines.prepare import resolve
from pytest_bottle.backends.smolmachines.probe import probe_engine
from pytest_bottle.backends.smolmachines.removal import remove_machine
from pytest_bottle.backends.smolmachines.removal import remove_quietly
from pytest_bottle.backends.smolmachines.smolvm import Smolvm
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import LaunchError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.errors import TeardownError
from pytest_bottle.state.directory import state_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.backends.base import Probe
    from pytest_bottle.backends.channel.client import Channel
    from pytest_bottle.backends.smolmachines.engine import EngineProgram
    from pytest_bottle.backends.smolmachines.images import MachineImage
    from pytest_bottle.plan import BottlePlan


class SmolmachinesBackend:
    """See `Backend`."""

    name = "smolmachines"
    wall = "microVM"
    golden = True
    branches_processes = True
    enforces_egress = True

    def __init__(self) -> None:
        """Touch nothing yet."""
        self._lock = threading.Lock()
        self._smolvm: Smolvm | None = None
        self._images: dict[tuple[object, ...], MachineImage] = {}
        self._departures = Departures()

    def probe(self) -> Probe:
        """Boot a guest, unless it is known already that one boots."""
        return probe_engine(engine_with_state)

    def prepare(self, plan: BottlePlan, report: Callable[[str], None] = silence) -> None:
        """Have the image ready, and check what can be known before a machine boots."""
        self._images[_image_key(plan)] = prepare_image(self._engine(), plan, report)

    def planned_resources(self, plan: BottlePlan) -> Sequence[Resource]:
        """Return the machine, by the name that it will have."""
        return [machine_resource(plan.name)]

    def launch(self, plan: BottlePlan) -> SmolmachinesBottle:
        """Start the planned machine."""
        smolvm = self._engine()
        key = _image_key(plan)
        if key not in self._images:
            self._images[key] = prepare_image(smolvm, plan, silence)
        resolved = resolve(plan, self._images[key])
        with contextlib.ExitStack() as undo:
            undo.callback(remove_quietly, smolvm, plan.name)
            with admitted(plan.name, resolved.image.identity):
                started = start_machine(smolvm, resolved, branchable=True)
            bottle = self._meet(smolvm, plan, started.guest, started.socket)
            undo.pop_all()
        return bottle

    def attach(
        self,
        plan: BottlePlan,
        reference: Mapping[str, Any],
    ) -> SmolmachinesBottle:
        """Connect to a machine that another process launched."""
        name = reference["name"]
        try:
            smolvm = self._engine()
            found = smolvm.machine_status(name)
        except (SmolvmError, CapabilityError) as problem:
            message = f"cannot connect to the machine {name}: {problem}"
            raise SandboxLostError(message) from problem
        if found is None or found.state != "running":
            raise SandboxLostError(lost_sentence(smolvm, name))
        return self._meet(smolvm, plan, Guest(**reference["guest"]), reference["server"])

    def branch(self, plan: BottlePlan, reference: Mapping[str, Any]) -> SmolmachinesBottle:
        """Start a machine with another one's memory and disks as they are now; see `Branching`.

        Commands that run in the source for somebody at that moment end in the branch.
        """
        source, smolvm = reference["name"], self._engine()
        # Until its deletion has begun the engine would still branch it, and then not delete it.
        if source in self._departures:
            raise SandboxLostError(f"the machine {source} was stopped")
        # A branch that ended as it began has been seen; its source was none the worse.
        with contextlib.suppress(SmolvmError, SandboxLostError):
            return self._branch_once(smolvm, plan, reference)
        try:
            return self._branch_once(smolvm, plan, reference)
        except (SmolvmError, SandboxLostError) as problem:
            if not is_running(smolvm, source):
                raise SandboxLostError(lost_sentence(smolvm, source)) from problem
            message = f"{plan.name} cannot be branched from {source}: {problem}"
            raise LaunchError(message) from problem

    def _branch_once(
        self, smolvm: Smolvm, plan: BottlePlan, reference: Mapping[str, Any]
    ) -> SmolmachinesBottle:
        with contextlib.ExitStack() as undo:
            undo.callback(remove_quietly, smolvm, plan.name)
            with admitted(plan.name):
                smolvm.machine_branch(reference["name"], plan.name, labels=labels(plan))
            guest = Guest(**reference["guest"])
            bottle = self._meet(smolvm, plan, guest, reference["server"], alone=True)
            undo.pop_all()
        return bottle

    def remove(self, resource: Resource) -> None:
        """Remove a machine, and what was branched from it."""
        state_dir = resource.data.get("state_dir")
        try:
            remove_machine(self._engine_at(state_dir), resource.id, cascade=True)
        except (SmolvmError, CapabilityError) as problem:
            message = f"the machine {resource.id} could not be removed: {problem}"
            raise TeardownError(message) from problem

    def orphans(self) -> Sequence[tuple[Resource, str]]:
        """Return all of our machines on this engine; nothing where there is no engine."""
        try:
            machines = self._engine().machine_ls()
        except (SmolvmError, CapabilityError):
            return ()
        return [
            (machine_resource(machine.labels[NAME_LABEL]), machine.labels[OWNER_LABEL])
            for machine in machines
            if {NAME_LABEL, OWNER_LABEL} <= set(machine.labels)
        ]

    def settle(self, deadline: float) -> None:
        """Wait until all that was stopped is gone."""
        self._departures.settle(deadline)

    def shutdown(self) -> None:
        """Wait for what is still being removed."""
        self._departures.close()

    def _engine(self) -> Smolvm:
        with self._lock:
            if self._smolvm is None:
                self._smolvm = engine_with_state(current_engine())
            return self._smolvm

    def _engine_at(self, state_dir: str | None) -> Smolvm:
        """Return this host's engine with the state that a journal names."""
        smolvm = self._engine()
        here = None if smolvm.state_dir is None else str(smolvm.state_dir)
        if state_dir is None or state_dir == here:
            return smolvm
        return Smolvm(smolvm.program, Path(state_dir))

    def _meet(
        self,
        smolvm: Smolvm,
        plan: BottlePlan,
        guest: Guest,
        server: str | None,
        *,
        alone: bool = False,
    ) -> SmolmachinesBottle:
        """Connect to a machine that runs; `alone` ends what its source's clients had begun.

        Raises:
            SandboxLostError: it does not answer.
        """
        name = plan.name
        channel: Channel | None = None
        if server is not None:
            try:
                channel = open_channel(smolvm, name, server)
            except OSError as problem:
                message = f"cannot connect to the machine {name}: {problem}"
                raise SandboxLostError(message) from problem
            guest = Guest(workdir=guest.workdir, **channel.wait_ready())
            if alone:
                channel.claim()
        return SmolmachinesBottle(
            smolvm=smolvm,
            name=name,
            guest=guest,
            channel=channel,
            shells=MachineShells(
                smolvm,
                name,
                user=plan.user,
                env=_shell_environment(plan, guest),
                workdir=plan.workdir,
            ),
            server=server,
            departed=lambda leaving: self._departures.add(smolvm, leaving),
        )


def engine_with_state(engine: EngineProgram) -> Smolvm:
    """Return what runs an engine's verbs, with a place of our own for its state.

    Only the engine for Linux takes another place than the user's.
    """
    if platform.system() != "Linux":
        return Smolvm(engine.path)
    return Smolvm(engine.path, engine_state_directory())


def engine_state_directory() -> Path:
    """Return `<root>/smolvm`, made where it is missing; the engine's own users may pass."""
    directory = state_root() / "smolvm"
    directory.mkdir(mode=0o711, exist_ok=True)
    return directory


def machine_resource(name: str) -> Resource:
    """Return a machine, as the journal has it."""
    data = {} if platform.system() != "Linux" else {"state_dir": str(engine_state_directory())}
    return Resource(kind=MACHINE_KIND, id=name, data=data)


def _shell_environment(plan: BottlePlan, guest: Guest) -> dict[str, str]:
    """Return what the engine does not set itself."""
    own = {"USER": guest.user, "LOGNAME": guest.user, "SHELL": "/bin/sh", "LANG": "C.UTF-8"}
    return {**own, **dict(plan.env)}


def _image_key(plan: BottlePlan) -> tuple[object, ...]:
    return (plan.image, plan.agent.kind if plan.agent else None)
