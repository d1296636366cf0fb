"""A plugin that adds one of each kind to pytest-bottle: four hooks, and what they return.

A project's own top-level conftest.py may implement the same hooks.
"""

from __future__ import annotations

import dataclasses
import posixpath
import shutil
import tempfile
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import pytest

from pytest_bottle.agents.base import Agent
from pytest_bottle.backends.base import Backend
from pytest_bottle.backends.base import Probe
from pytest_bottle.backends.bubblewrap.backend import BubblewrapBackend
from pytest_bottle.backends.bubblewrap.sandbox import BubblewrapSandbox
from pytest_bottle.plan import AgentPlan
from pytest_bottle.plan import BottlePlan
from pytest_bottle.plan import Limits
from pytest_bottle.provision.steps import GuestPaths
from pytest_bottle.provision.steps import Provisioner
from pytest_bottle.provision.steps import PutFile
from pytest_bottle.provision.steps import Step

GIBIBYTE = 1024**3


def probe_scratch_space() -> Probe:
    """Find out whether this host has a gibibyte to spare for temporary files."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    return Probe(
        ok=free >= GIBIBYTE,
        detail=f"{free / GIBIBYTE:.1f} GiB free in {tempfile.gettempdir()}",
        fix="free some space there, or set TMPDIR",
    )


class ShellAgent(Agent):
    """The agent kind `shell`: takes its task for a shell script, and runs it.

    What it writes is its answer. A kind that writes events instead has a `read` of its own.
    """

    kind = "shell"

    def executable(self, plan: AgentPlan) -> str:
        return "/bin/sh"

    def argv(
        self,
        plan: AgentPlan,
        prompt: str,
        *,
        prompt_path: str | None = None,
        max_turns: int | None = None,
        resume: str | None = None,
    ) -> tuple[str, ...]:
        return (self.executable(plan), "-c", prompt, *plan.args)


def provision_git_identity(plan: BottlePlan, guest: GuestPaths) -> Sequence[Step]:
    """Give every agent a name to commit under, unless its bottle's manifest does that."""
    if plan.agent is None or plan.door.git is not None:
        return ()
    config = f"[user]\n\tname = {plan.agent.name}\n\temail = {plan.agent.name}@example.com\n"
    return (PutFile(path=posixpath.join(guest.home, ".gitconfig"), content=config.encode()),)


class TinyBackend(BubblewrapBackend):
    """The backend `tiny`: bubblewrap, with next to no memory and few processes.

    Its class takes no arguments and can be imported, so that its bottles are also removed where
    pytest itself has died.
    """

    name = "tiny"

    def launch(self, plan: BottlePlan) -> BubblewrapSandbox:
        limits = Limits(memory=64 * 1024**2, pids=16, disk=8 * 1024**2)
        return super().launch(dataclasses.replace(plan, limits=limits))


@pytest.hookimpl(optionalhook=True)
def pytest_bottle_capabilities() -> Mapping[str, Callable[[], Probe]]:
    return {"scratch-space": probe_scratch_space}


@pytest.hookimpl(optionalhook=True)
def pytest_bottle_agents() -> Sequence[ShellAgent]:
    return [ShellAgent()]


@pytest.hookimpl(optionalhook=True)
def pytest_bottle_provisioners() -> Sequence[Provisioner]:
    return [provision_git_identity]


@pytest.hookimpl(optionalhook=True)
def pytest_bottle_backends() -> Sequence[Backend]:
    return [TinyBackend()]
