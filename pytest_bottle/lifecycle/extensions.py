"""What a run can use: backends, kinds of agents, provisioners and capabilities, by name."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING

from pytest_bottle.agents.registry import BUILTIN as BUILTIN_AGENTS
from pytest_bottle.backends.registry import BUILTIN as BUILTIN_BACKENDS
from pytest_bottle.backends.registry import load_backend
from pytest_bottle.errors import OptionError
from pytest_bottle.lifecycle.capability import BUILTIN as BUILTIN_CAPABILITIES
from pytest_bottle.nearest import nearest
from pytest_bottle.provision.order import PROVISIONERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable

    from pytest_bottle.agents.base import Agent
    from pytest_bottle.backends.base import Backend
    from pytest_bottle.backends.base import Probe
    from pytest_bottle.provision.steps import Provisioner


@dataclass(slots=True)
class Extensions:
    """The built-in ones, and those that plugins have added.

    A backend is also a capability of the same name: that it opens.
    """

    agents: dict[str, Agent] = field(default_factory=lambda: dict(BUILTIN_AGENTS))
    provisioners: tuple[Provisioner, ...] = PROVISIONERS
    _backends: dict[str, Backend] = field(default_factory=dict)
    _probes: dict[str, Callable[[], Probe]] = field(
        default_factory=lambda: dict(BUILTIN_CAPABILITIES)
    )

    def add(
        self,
        *,
        backends: Iterable[Backend] = (),
        agents: Iterable[Agent] = (),
        provisioners: Iterable[Provisioner] = (),
        capabilities: Iterable[tuple[str, Callable[[], Probe]]] = (),
    ) -> None:
        """Add a plugin's own; one of a known name takes its place."""
        self._backends.update((backend.name, backend) for backend in backends)
        self.agents.update((agent.kind, agent) for agent in agents)
        self.provisioners = (*self.provisioners, *provisioners)
        self._probes.update(capabilities)

    @property
    def backend_names(self) -> tuple[str, ...]:
        """All backends, the built-in ones first, in the order of `auto`."""
        return tuple(dict.fromkeys([*BUILTIN_BACKENDS, *self._backends]))

    @property
    def capability_names(self) -> tuple[str, ...]:
        """All capabilities, sorted."""
        return tuple(sorted({*self.backend_names, *self._probes}))

    @property
    def loaded_backends(self) -> tuple[Backend, ...]:
        """Those that were asked for until now."""
        return tuple(self._backends.values())

    def backend(self, name: str) -> Backend:
        """Return a backend, loading a built-in one the first time.

        Raises:
            OptionError: there is none of that name.
        """
        if name not in self._backends:
            if name not in BUILTIN_BACKENDS:
                raise OptionError(
                    f"there is no backend {name!r}.",
                    option="backend",
                    source="marker, manifest or option",
                    remedy=nearest(name, self.backend_names),
                )
            self._backends[name] = load_backend(BUILTIN_BACKENDS[name])
        return self._backends[name]

    def probe_of(self, name: str) -> Callable[[], Probe] | None:
        """Return what finds a capability out; None where there is none of that name."""
        if name in self._probes:
            return self._probes[name]
        if name in self.backend_names:
            return self.backend(name).probe
        return None
