"""Golden bottles: provisioned once for the run, never handed out, and branched for each test."""

from __future__ import annotations

import dataclasses
import functools
import threading
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.base import Branching
from pytest_bottle.bottle import Provisioned
from pytest_bottle.errors import BranchUnsupportedError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.lifecycle.launching import branching_backend
from pytest_bottle.provision.prompt import provision_prompt
from pytest_bottle.state.leases import acquire

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable
    from collections.abc import Mapping

    from pytest_bottle.backends.base import Sandbox
    from pytest_bottle.lifecycle.extensions import Extensions
    from pytest_bottle.lifecycle.launching import Launcher
    from pytest_bottle.lifecycle.sharing import Sharing
    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.state.leases import Lease
    from pytest_bottle.state.run import Run

_KEY: Final = "golden"


class Golden:
    """This process's part in the run's golden bottles."""

    def __init__(
        self, run: Run, extensions: Extensions, launcher: Launcher, sharing: Sharing
    ) -> None:
        """Take no part yet."""
        self._run = run
        self._extensions = extensions
        self._launcher = launcher
        self._sharing = sharing
        self._lock = threading.Lock()
        self._taken: dict[str, tuple[Lease, BottlePlan, Mapping[str, Any]]] = {}
        self._refused: set[str] = set()
        """Digests of plans that a backend would not branch, and that do not insist on it."""
        self._met: set[str] = set()
        """Digests of plans of one test, each of which may well be the only one of its kind."""

    def serves(self, draft: BottlePlan, *, declared: bool) -> bool:
        """Tell whether a bottle starts from a golden one.

        Args:
            draft: The plan, less what names one bottle.
            declared: Whether it is one of the manifest's as it stands there. Else, and where nobody
                says what is wanted, the first of its kind is launched by itself: a golden bottle
                stays for the whole run, and tests that each ask for files of their own would leave
                one each.

        Raises:
            BranchUnsupportedError: its author wants that, and its backend cannot.
        """
        backend = self._extensions.backend(draft.backend)
        if draft.golden:
            branching_backend(backend)
            return True
        if draft.golden is False or not (isinstance(backend, Branching) and backend.golden):
            return False
        digest = draft.digest
        with self._lock:
            again = declared or digest in self._met
            self._met.add(digest)
        return again and digest not in self._refused

    def branch(
        self, draft: BottlePlan, plan: BottlePlan, undo: contextlib.ExitStack
    ) -> tuple[BottlePlan, Sandbox, Provisioned] | None:
        """Start a named bottle from the golden one of its plan, made where the run has none yet.

        Where that was lost, the first to find out replaces it.

        Args:
            draft: The plan, less what names one bottle.
            plan: The same, named.
            undo: What takes the sandbox down.

        Returns:
            The plan, the sandbox, and what provisioning left in it; None where its backend will not
            branch it, and nobody insists.

        Raises:
            BottleError: as `Launcher.launch`.
        """
        reference = self._take(draft)
        try:
            try:
                return self._branch(reference, plan, undo)
            except SandboxLostError:
                return self._branch(self._replace(draft, reference), plan, undo)
        except BranchUnsupportedError:
            if draft.golden:
                raise
            self._refused.add(draft.digest)
            return None

    def _branch(
        self, reference: Mapping[str, Any], plan: BottlePlan, undo: contextlib.ExitStack
    ) -> tuple[BottlePlan, Sandbox, Provisioned]:
        plan = dataclasses.replace(plan, branch_of=reference["name"])
        baseline = self._sharing.baseline(reference)
        sandbox = self._launcher.branch(plan, reference["sandbox"], undo)
        _, prompt_path = provision_prompt(plan, sandbox.guest.home)
        return plan, sandbox, Provisioned(baseline=baseline, prompt_path=prompt_path)

    def give_back(self) -> list[Callable[[], object]]:
        """Return what gives each share back; with the last one a golden bottle is taken down."""
        with self._lock:
            held, self._taken = list(self._taken.values()), {}
        return [
            functools.partial(lease.release, functools.partial(self._sharing.stop, template))
            for lease, template, _ in held
        ]

    def _take(self, draft: BottlePlan) -> Mapping[str, Any]:
        with self._lock:
            if draft.digest not in self._taken:
                template = dataclasses.replace(draft, shared=True, template=True)
                launch = functools.partial(self._sharing.launch, template)
                reference, lease = acquire(self._run, f"{_KEY} {draft.digest}", launch)
                self._taken[draft.digest] = (lease, template, reference)
            return self._taken[draft.digest][2]

    def _replace(self, draft: BottlePlan, seen: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            lease, template, known = self._taken[draft.digest]
            if known == seen:  # Else another thread was first.
                launch = functools.partial(self._sharing.launch, template)
                known = lease.replace(dict(seen), launch)
                self._taken[draft.digest] = (lease, template, known)
            return known
