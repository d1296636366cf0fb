"""Checks, before a bottle starts, that this host can serve its git gate, and reach upstreams."""

from __future__ import annotations

import importlib.util
import os
from functools import partial
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.errors import CapabilityError
from pytest_bottle.gateway.git.upstream import check_upstream
from pytest_bottle.lifecycle.prepare import remote_place

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_bottle.backends.base import Probe
    from pytest_bottle.lifecycle.spec import Spec
    from pytest_bottle.manifest import Manifest
    from pytest_bottle.plan import BottlePlan

CAPABILITY: Final = "git"


def prepare_git(
    plan: BottlePlan,
    spec: Spec,
    manifest: Manifest,
    *,
    probe: Callable[[str], Probe],
    once: Callable[[str, Callable[[], str]], str],
) -> None:
    """Return where nothing keeps the plan's git gate from serving.

    Args:
        plan: The plan; without remotes there is nothing to check.
        spec: What it was made from.
        manifest: What it was made from.
        probe: Finds out whether the host has a capability.
        once: Asks something once per run, by a key.

    Raises:
        CapabilityError: git, or what finds secrets in pushes, is not installed.
        ManifestError: an upstream cannot be used as it is declared.
    """
    git = plan.door.git
    if git is None or not git.remotes:
        return
    answer = probe(CAPABILITY)
    if not answer.ok:
        raise CapabilityError(CAPABILITY, reason=answer.detail, fix=answer.fix)
    # Found and not loaded: it is the door that needs it.
    if importlib.util.find_spec("detect_secrets") is None:
        reason = "the git gate searches pushes for secrets, and detect-secrets is not installed."
        raise CapabilityError(CAPABILITY, reason=reason, fix="pip install 'pytest-bottle[git]'")
    for remote in git.remotes:
        if remote.url is None:
            continue
        token = os.environ.get(remote.credential.token_ref, "") if remote.credential else ""
        key = f"upstream {remote.url} {remote.credential}"
        problem = once(key, partial(check_upstream, remote, token))
        if problem:
            words, _, remedy = problem.partition("\n")
            raise remote_place(spec, manifest, remote.name).error(words, remedy=remedy)
