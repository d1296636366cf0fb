"""Bottles that all workers of a run share: one launches it, all attach, the last takes it down."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.bottle import Provisioned
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.state.leases import acquire
from pytest_bottle.state.tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

    from pytest_bottle.backends.base import Sandbox
    from pytest_bottle.lifecycle.extensions import Extensions
    from pytest_bottle.lifecycle.launching import Launcher
    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.state.leases import Lease
    from pytest_bottle.state.run import Run

_BASELINE: Final = "baseline.tar"
"""In a bottle's directory: its workdir as it was provisioned."""


class Sharing:
    """This process's shares in the run's bottles."""

    def __init__(self, run: Run, extensions: Extensions, launcher: Launcher) -> None:
        """Take no share yet."""
        self._run = run
        self._extensions = extensions
        self._launcher = launcher
        self._lock = threading.Lock()
        self._leases: list[tuple[Lease, BottlePlan]] = []

    def take(self, draft: BottlePlan) -> tuple[BottlePlan, Sandbox, Provisioned]:
        """Take a share in the bottle that is as planned; launch it where the run has none yet.

        Where it was lost, the first to find out replaces it.

        Args:
            draft: the plan, but for the name and the directory, which the first chooses.

        Returns:
            The plan, an own connection, and what provisioning left behind.

        Raises:
            BottleError: as `Launcher.launch`.
            SandboxLostError: it went away at once, and so did its replacement.
        """
        launched: dict[str, Sandbox] = {}
        launch = functools.partial(self.launch, draft, launched)
        reference, lease = acquire(self._run, draft.digest, launch)
        with self._lock:
            self._leases.append((lease, draft))
        try:
            return self._meet(draft, reference, launched)
        except SandboxLostError:
            return self._meet(draft, lease.replace(reference, launch), launched)

    def give_back(self) -> list[Callable[[], object]]:
        """Return what gives each share back; with the last one of a bottle it is taken down."""
        with self._lock:
            held, self._leases = self._leases, []
        return [
            functools.partial(lease.release, functools.partial(self.stop, draft))
            for lease, draft in held
        ]

    def launch(
        self, draft: BottlePlan, launched: dict[str, Sandbox] | None = None
    ) -> dict[str, Any]:
        """Launch and provision a bottle that ends with the run; return where it is.

        Args:
            draft: The plan, less what names one bottle.
            launched: Gets the connection to it, by its name; without, that is closed.
        """
        with contextlib.ExitStack() as undo:
            plan = self._launcher.name(draft, undo)
            sandbox, provisioned = self._launcher.launch(plan, undo)
            (plan.state_dir / _BASELINE).write_bytes(provisioned.baseline)
            # Until here it ended with this process; from here on it ends with the run.
            self._run.journal.add(plan.name, (), scope_owner="run")
            sandbox.detach()
            reference = {
                "name": plan.name,
                "sandbox": dict(sandbox.reference()),
                "prompt_path": provisioned.prompt_path,
            }
            undo.pop_all()
        if launched is None:
            sandbox.close()
        else:
            launched[plan.name] = sandbox
        return reference

    def baseline(self, reference: Mapping[str, Any]) -> bytes:
        """Return a tar of a bottle's workdir as it was provisioned.

        Raises:
            SandboxLostError: it is gone.
        """
        directory = self._run.bottle_directory(reference["name"])
        try:
            return (directory / _BASELINE).read_bytes()
        except FileNotFoundError as problem:
            message = f"bottle {reference['name']} was taken down"
            raise SandboxLostError(message) from problem

    def _meet(
        self, draft: BottlePlan, reference: Mapping[str, Any], launched: Mapping[str, Sandbox]
    ) -> tuple[BottlePlan, Sandbox, Provisioned]:
        plan = self._named(draft, reference["name"])
        sandbox = launched.get(plan.name) or self._attach(plan, reference)
        provisioned = Provisioned(
            baseline=self.baseline(reference),
            prompt_path=reference["prompt_path"],
        )
        return plan, sandbox, provisioned

    def stop(self, draft: BottlePlan, reference: Mapping[str, Any]) -> None:
        """End a bottle that `launch` launched, perhaps in another process."""
        plan = self._named(draft, reference["name"])
        try:
            gone = self._attach(plan, reference).stop()
        except SandboxLostError:
            return  # What there is of it is in the journal, which is read at the run's end.
        remove_tree(plan.state_dir)
        self._launcher.leave(plan.name, gone=gone)

    def _attach(self, plan: BottlePlan, reference: Mapping[str, Any]) -> Sandbox:
        return self._extensions.backend(plan.backend).attach(plan, reference["sandbox"])

    def _named(self, draft: BottlePlan, name: str) -> BottlePlan:
        return dataclasses.replace(draft, name=name, state_dir=self._run.bottle_directory(name))
