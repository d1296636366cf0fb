"""What a kind of agent promises to whoever runs it in a bottle."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Protocol
from typing import runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.plan import AgentPlan


@runtime_checkable
class Agent(Protocol):
    """A kind of agent: a command line and an environment for one task; its stdin stays empty."""

    @property
    def kind(self) -> str:
        """The name used in manifests."""
        ...

    def executable(self, plan: AgentPlan) -> str:
        """Return the program that has to be in the bottle."""
        ...

    def argv(
        self,
        plan: AgentPlan,
        prompt: str,
        *,
        prompt_path: str | None = None,
        max_turns: int | None = None,
        resume: str | None = None,
    ) -> tuple[str, ...]:
        """Return the command line for one task.

        Args:
            plan: The agent.
            prompt: The task.
            prompt_path: Guest path of the agent's own prompt; None where it has none.
            max_turns: How often the model may answer; None sets no bound.
            resume: The session to go on with; None begins one.

        Raises:
            ManifestError: the agent's table does not suffice for a command line.
            MarkerError: this kind cannot do what is asked for.
        """
        ...

    def env(self, plan: AgentPlan) -> Mapping[str, str]:
        """Return what its process needs in the environment; the plan's own variables win."""
        ...
