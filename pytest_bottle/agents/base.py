"""What a kind of agent promises to whoever runs it in a bottle."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import ClassVar

from pytest_bottle.agents.plain import read_plain
from pytest_bottle.plan import SKILLS_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.agents.run import ReadRun
    from pytest_bottle.plan import AgentPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEndpoint:
    """Where an agent finds its model, as seen from the guest."""

    url: str
    """Without the API's version at its end: `http://127.0.0.1:4000`."""
    token: str
    """What the agent presents as its key. Everybody in the guest can read it."""


class Agent(abc.ABC):
    """A kind of agent: how it is started for one task, and how its output is read.

    It knows no sandbox: what it returns is put in place and run by others.
    """

    kind: ClassVar[str]
    """The name used in manifests."""
    skills_dir: ClassVar[str] = SKILLS_DIRECTORY
    """The directory that its skills belong in, below the guest user's home."""

    @abc.abstractmethod
    def executable(self, plan: AgentPlan) -> str:
        """Return the program that has to be in the bottle."""

    def uses_model(self, plan: AgentPlan) -> bool:  # noqa: ARG002
        """Return whether the agent asks a model, so that the bottle has to have a door to it."""
        return False

    @abc.abstractmethod
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

    def stdin(self, plan: AgentPlan, prompt: str) -> bytes | None:  # noqa: ARG002
        """Return what its process reads from standard input; None leaves it empty.

        An argument is at most 128 KiB long on Linux; a task that comes this way has no bound.
        """
        return None

    def env(
        self,
        plan: AgentPlan,
        endpoint: ModelEndpoint | None = None,  # noqa: ARG002
        *,
        root: bool = False,  # noqa: ARG002
    ) -> Mapping[str, str]:
        """Return what its process needs in the environment; the plan's own variables win.

        Args:
            plan: The agent.
            endpoint: Its model; None where it has to find one itself.
            root: Whether the guest's user is root.
        """
        return dict(plan.env)

    def files(
        self,
        plan: AgentPlan,  # noqa: ARG002
        endpoint: ModelEndpoint | None,  # noqa: ARG002
        home: str,  # noqa: ARG002
    ) -> Mapping[str, str]:
        """Return what has to be written before a task: texts by guest path.

        Args:
            plan: The agent.
            endpoint: Its model; None where it has to find one itself.
            home: The guest user's home.
        """
        return {}

    def read(
        self,
        stdout: bytes,
        stderr: bytes,  # noqa: ARG002
        returncode: int | None,
        record: bytes = b"",  # noqa: ARG002
    ) -> ReadRun:
        """Return what the output of one task tells, be it cut short. Whatever it is, never raises.

        Args:
            stdout: Standard output, as far as it came.
            stderr: Standard error.
            returncode: The process's; None where it was killed from outside, or still runs.
            record: What `record_argv` wrote, if it was run.
        """
        return read_plain(stdout, returncode)

    def record_argv(self, read: ReadRun) -> tuple[str, ...] | None:  # noqa: ARG002
        """Return a command that prints what the agent itself recorded of the run.

        It is run in the guest, after the task, as the same user. None where what the agent writes
        to its standard output says it all.

        Args:
            read: What was read of the output.
        """
        return None
