"""The one way that every bottle goes: prepare, launch, provision, tear down."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import threading
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.base import Enforcing
from pytest_bottle.backends.base import Probe
from pytest_bottle.backends.registry import BUILTIN
from pytest_bottle.bottle import Bottle
from pytest_bottle.bottle import Provisioned
from pytest_bottle.command_log import CommandLog
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import ImageError
from pytest_bottle.errors import InfraError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.errors import TeardownError
from pytest_bottle.gateway.egress.authority import CA_NAME
from pytest_bottle.gateway.egress.environment import ensure_environment
from pytest_bottle.gateway.ledger import FILE_NAME
from pytest_bottle.gateway.ledger import read_ledger
from pytest_bottle.gateway.ledger import total
from pytest_bottle.gateway.supervise.library import require_library
from pytest_bottle.lifecycle.doors import Doors
from pytest_bottle.lifecycle.extensions import Extensions
from pytest_bottle.lifecycle.golden import Golden
from pytest_bottle.lifecycle.launching import Launcher
from pytest_bottle.lifecycle.prepare import prepare
from pytest_bottle.lifecycle.prepare import refuse_network
from pytest_bottle.lifecycle.prepare import requested_backend
from pytest_bottle.lifecycle.prepare_git import prepare_git
from pytest_bottle.lifecycle.provisioning import found_state
from pytest_bottle.lifecycle.settings import AUTO
from pytest_bottle.lifecycle.settings import Settings
from pytest_bottle.lifecycle.sharing import Sharing
from pytest_bottle.reaper import remove_run
from pytest_bottle.redaction import redactor
from pytest_bottle.state.once import once
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import read_watchdog
from pytest_bottle.watchdog import ensure_watchdog

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_bottle.backends.base import Sandbox
    from pytest_bottle.gateway.ledger import Totals
    from pytest_bottle.gateway.open_gates import OpenGates
    from pytest_bottle.lifecycle.spec import Spec
    from pytest_bottle.manifest import Manifest
    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.state.run import Run

DRAFT: Final = "draft"
"""Stands for a bottle's name as long as it has none."""

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
        self._probing = threading.Lock()
        self._answers: dict[str, dict[str, Any]] = {}
        self._open: dict[str, contextlib.ExitStack] = {}
        self._prepared: set[str] = set()
        self._doors = Doors(run, settings)
        self._launcher = Launcher(run, settings, self.extensions, self._doors.authority)
        self._sharing = Sharing(run, self.extensions, self._launcher)
        self._golden = Golden(run, self.extensions, self._launcher, self._sharing)
        self.on_branch: Callable[[Bottle], None] = lambda _bottle: None
        """Told of each bottle that a test branched from another one."""

    # Capabilities

    def probe(self, name: str) -> Probe:
        """Find out, once per run, whether this host has a capability.

        Raises:
            KeyError: there is none of that name.
        """
        find_out = self.extensions.probe_of(name)
        if find_out is None:
            raise KeyError(name)

        def ask() -> dict[str, Any]:
            answer: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(find_out())))
            return answer

        with self._probing:
            if name not in self._answers:
                self._answers[name] = self._once_per_run(f"capability {name}", ask)
            return Probe(**self._answers[name])

    def _once_per_run(self, key: str, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        # A controller asks before it has workers, if at all: only they need a common memory, which
        # takes a directory, and so a watchdog, that a run without bottles is not to pay for.
        if self.run.controller != Owner.current():
            ensure_watchdog(self.run)
        elif not self.run.directory.is_dir():
            return ask()
        return once(self.run.directory, key, ask)

    @property
    def answers(self) -> Mapping[str, Mapping[str, Any]]:
        """What probes found out until now, as JSON values."""
        return self._answers

    def learn(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what the run's controller found out before it had workers."""
        self._answers.update({name: dict(answer) for name, answer in answers.items()})

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
        draft = self._plan(spec, manifest, shared=False)
        golden = self._golden.serves(draft, declared=not spec.overrides)
        with contextlib.ExitStack() as undo:
            plan = self._launcher.name(draft, undo)
            if plan.agent and self.extensions.agents[plan.agent.kind].uses_model(plan.agent):
                self._doors.start()
            gates = self._doors.open_gates(plan, undo, evidence)
            branched = self._golden.branch(draft, plan, undo) if golden else None
            if branched is None:
                sandbox, provisioned = self._launcher.launch(plan, undo)
            else:
                plan, sandbox, provisioned = branched
            if gates is not None:
                gates.listen(sandbox.listen)
            bottle = self._bottle(plan, sandbox, provisioned, evidence, gates)
            with self._lock:
                self._open[plan.name] = undo.pop_all()
        return bottle

    def branch(self, source: Bottle, *, evidence: Path | None = None) -> Bottle:
        """Return a new bottle that starts from the present state of another one.

        Its changes are counted from there.

        Args:
            source: The other one.
            evidence: A directory in which to write its record; None keeps it in memory.

        Raises:
            BranchUnsupportedError: its backend cannot do that.
            HostError: the host cannot do it.
            InfraError: it did not come up; nothing of it remains.
            SandboxLostError: the other one is gone.
        """
        draft = dataclasses.replace(
            source.plan, worker=self.run.worker, shared=False, branch_of=source.name
        )
        with contextlib.ExitStack() as undo:
            plan = self._launcher.name(draft, undo)
            gates = self._doors.open_gates(plan, undo, evidence)
            sandbox = self._launcher.branch(plan, source.sandbox.reference(), undo)
            provisioned = found_state(plan, sandbox)
            if gates is not None:
                gates.listen(sandbox.listen)
            bottle = self._bottle(plan, sandbox, provisioned, evidence, gates)
            if "git" in plan.door.kinds:
                bottle.git.take_over(source.git)
            with self._lock:
                self._open[plan.name] = undo.pop_all()
        self.on_branch(bottle)
        return bottle

    def share(self, spec: Spec, manifest: Manifest, *, evidence: Path | None = None) -> Bottle:
        """Return this process's handle of a bottle that all workers of the run share.

        The first to ask launches it; see `open` for arguments and errors. Its end is the end of the
        last worker that has a share in it.
        """
        draft = self._plan(spec, manifest, shared=True)
        plan, sandbox, provisioned = self._sharing.take(draft)
        bottle = self._bottle(plan, sandbox, provisioned, evidence)
        with self._lock:
            self._open[plan.name] = contextlib.ExitStack()
            self._open[plan.name].callback(sandbox.close)
        return bottle

    def _plan(self, spec: Spec, manifest: Manifest, *, shared: bool) -> BottlePlan:
        """Return a plan that lacks nothing but the bottle's own name and directory."""
        plan = prepare(
            spec,
            manifest,
            name=DRAFT,
            run_id=self.run.id,
            worker=self.run.worker,
            state_dir=self.run.directory / DRAFT,
            backend=self.choose_backend(spec, manifest),
            default_timeout=self.settings.timeout,
            agent_kinds={kind: agent.skills_dir for kind, agent in self.extensions.agents.items()},
            shared=shared,
        )
        backend = self.extensions.backend(plan.backend)
        if plan.network and not (isinstance(backend, Enforcing) and backend.enforces_egress):
            refuse_network(plan, spec, manifest)
        if plan.door.supervise is not None:
            require_library()
        if plan.door.egress is not None:
            ensure_environment(self.settings.report)
            ensure_watchdog(self.run)  # There is nothing to start the door in before.
            self._doors.start()
            plan = dataclasses.replace(plan, ca_file=self.run.directory / CA_NAME)
        prepare_git(plan, spec, manifest, probe=self.probe, once=self._once_at_prepare)
        self._prepare_image(plan)
        return plan

    def _once_at_prepare(self, key: str, ask: Callable[[], str]) -> str:
        ensure_watchdog(self.run)
        return once(self.run.directory, key, ask)

    def _prepare_image(self, plan: BottlePlan) -> None:
        """Have the backend check the plan; once per run for each image, also where that failed.

        Raises:
            ImageError: perhaps what another process of the run was told.
        """
        backend = self.extensions.backend(plan.backend)
        agent = plan.agent.kind if plan.agent else None  # A default may depend on it.
        key = f"image {plan.backend} {plan.image} {plan.user} {plan.workdir} {agent}"
        if key in self._prepared:
            return

        problems = []

        def make() -> dict[str, str] | None:
            try:
                backend.prepare(plan, self.settings.report)
            except ImageError as problem:
                # A pull takes its time to fail, and would do so for every test.
                problems.append(problem)
                return {
                    "image": problem.image,
                    "reason": problem.reason,
                    "remedy": problem.remedy,
                }
            return None

        # It may take minutes, and a person who does not want to wait may kill this process.
        ensure_watchdog(self.run)
        failed = once(self.run.directory, key, make)
        if failed is not None:
            raise problems[0] if problems else ImageError(**failed)
        self._prepared.add(key)

    def _bottle(
        self,
        plan: BottlePlan,
        sandbox: Sandbox,
        provisioned: Provisioned,
        evidence: Path | None,
        gates: OpenGates | None = None,
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
            gates=gates,
            open_model=self._doors.open,
            on_branch=functools.partial(self.branch, evidence=evidence),
            on_close=self._close,
        )

    # Close

    def _close(self, bottle: Bottle) -> None:
        with self._lock:
            undo = self._open.pop(bottle.name, None)
        self._doors.forget(bottle.name)
        if undo is not None:
            undo.close()

    def keep(self, bottle: Bottle) -> None:
        """Leave a bottle running after the run, for a person to look at."""
        with self._lock:
            undo = self._open.pop(bottle.name, None)
        if undo is None or bottle.plan.shared:
            return
        with undo, contextlib.suppress(SandboxLostError):  # Nothing to look at: it is taken down.
            bottle.sandbox.detach()
            self.run.journal.keep(bottle.name)
            undo.pop_all()

    def close(self) -> None:
        """Tear down what is still open, and wait until nothing of this process is left.

        Raises:
            TeardownError: naming what could not be removed.
        """
        problems: list[str] = []
        self._doors.close()
        with self._lock:
            stacks, self._open = list(self._open.values()), {}
        for undo in reversed(stacks):
            _try(problems, undo.close)
        for give_back in (*self._sharing.give_back(), *self._golden.give_back()):
            _try(problems, give_back)
        for backend in self.extensions.loaded_backends:
            _try(problems, functools.partial(backend.settle, SETTLE_DEADLINE))
        if not problems:
            _try(problems, self._launcher.settle)
        self._launcher.release_slots()
        for backend in self.extensions.loaded_backends:
            _try(problems, backend.shutdown)
        if problems:
            raise TeardownError("; ".join(problems))

    @property
    def spent(self) -> Totals | None:
        """What all models of the run took until now; None where nobody asked one."""
        lines = read_ledger(self.run.directory / FILE_NAME)
        return total(lines) if lines else None

    def end_run(self) -> None:
        """Say that the whole run has ended; only for the process that controls it.

        Its watchdog, if it ever had one, removes the rest and the run's directory.
        """
        if read_watchdog(self.run.directory) is None:
            remove_run(self.run.directory)
        else:
            self.run.end()


def _try(problems: list[str], action: Callable[[], object]) -> None:
    try:
        action()
    except (OSError, InfraError) as problem:
        problems.append(str(problem))
