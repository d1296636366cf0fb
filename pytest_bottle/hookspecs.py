"""The hooks by which other plugins and conftest files extend pytest-bottle.

Each is called once per process, when the first bottle or gate of a suite needs it; a conftest file
that pytest finds later is asked when it is found. What an option names has to be known when the run
starts. Implement them with `@pytest.hookimpl(optionalhook=True)` in a package that also works
without pytest-bottle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping

    from pytest_bottle.agents.base import Agent
    from pytest_bottle.backends.base import Backend
    from pytest_bottle.backends.base import Probe
    from pytest_bottle.provision.steps import Provisioner


@pytest.hookspec
def pytest_bottle_backends(config: pytest.Config) -> Iterable[Backend]:  # type: ignore[empty-body]
    """Return backends to add.

    `pytest_bottle.testing.BottleConformance` shows that one keeps its promises. For its remains to
    be removed after a crash, its class must take no arguments and be importable by its module's
    name.
    """


@pytest.hookspec
def pytest_bottle_agents(config: pytest.Config) -> Iterable[Agent]:  # type: ignore[empty-body]
    """Return kinds of agents to add."""


@pytest.hookspec
def pytest_bottle_provisioners(  # type: ignore[empty-body]
    config: pytest.Config,
) -> Iterable[Provisioner]:
    """Return provisioners to add, functions from a plan and the guest's paths to steps.

    Their steps come after the built-in ones.
    """


@pytest.hookspec
def pytest_bottle_capabilities(  # type: ignore[empty-body]
    config: pytest.Config,
) -> Mapping[str, Callable[[], Probe]]:
    """Return capabilities to add.

    For each name there is a function that finds out, for real, whether this host has it. It is
    called once per run.
    """
