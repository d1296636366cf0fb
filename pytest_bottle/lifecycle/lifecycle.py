"""The one way that every bottle goes: prepare, launch, provision, tear down."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.base import Probe
from pytest_bottle.backends.registry import BUILTIN
from pytest_bottle.bottle import Bottle
from pytest_bottle.bottle import Provisioned
from pytest_bottle.command_log import CommandLog
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import InfraError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.errors import TeardownError
from pytest_bottle.lifecycle.extensions import Extensions
from pytest_bottle.lifecycle.launching import Launcher
from pytest_bottle.lifecycle.prepare import prepare
from pytest_bottle.lifecycle.prepare import requested_backend
from pytest_bottle.lifecycle.settings import AUTO
from pytest_bottle.lifecycle.settings import Settings
from pytest_bottle.lifecycle.sharing import Sharing
from pytest_bottle.reaper import remove_run
from pytest_bottle.redaction import redactor
from pytest_bottle.state.once import once
from pytest_bottle.state.run import read_watchdog
from pytest_bottle.state.tree import remove_tree
from pytest_bottle.watchdog import ensure_watchdog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_bottle.backends.base import Sandbox
    from pytest_bottle.lifecycle.spec import Spec
    from pytest_bottle.manifest import Manifest
    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.state.run import Run

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
        self._prepared: set[str] = set()
        self._launcher = Launcher(run, settings, self.extensions)
        self._sharing = Sharing(run, self.extensions, self._launcher)

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
            undo.callback(remove_tree, self.run.directory / name)
            plan = self._plan(spec, manifest, name, shared=False)
            sandbox, provisioned = self._launcher.launch(plan, undo)
            bottle = self._bottle(plan, sandbox, provisioned, evidence)
            with self._lock:
                self._open[name] = undo.pop_all()
        return bottle

    def share(self, spec: Spec, manifest: Manifest, *, evidence: Path | None = None) -> Bottle:
        """Return this process's handle of a bottle that all workers of the run share.

        The first to ask launches it; see `open` for arguments and errors. Its end is the end of the
        last worker that has a share in it.
        """
        draft = self._plan(spec, manifest, "shared", shared=True)
        plan, sandbox, provisioned = self._sharing.take(draft)
        bottle = self._bottle(plan, sandbox, provisioned, evidence)
        with self._lock:
            self._open[plan.name] = contextlib.ExitStack()
            self._open[plan.name].callback(sandbox.close)
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
        key = f"image {plan.backend} {plan.image} {plan.user} {plan.workdir}"
        if key in self._prepared:
            return

        def make() -> bool:
            backend.prepare(plan, self.settings.report)
            return True

        # It may take minutes, and a person who does not want to wait may kill this process.
        ensure_watchdog(self.run)
        once(self.run.directory, key, make)
        self._prepared.add(key)

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

    # Close

    def _close(self, bottle: Bottle) -> None:
        with self._lock:
            undo = self._open.pop(bottle.name, None)
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
        with self._lock:
            stacks, self._open = list(self._open.values()), {}
        for undo in reversed(stacks):
            _try(problems, undo.close)
        for give_back in self._sharing.give_back():
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
