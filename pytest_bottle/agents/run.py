"""What an agent did with a task: its turns and tool calls, how it ended, what it took."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal
from typing import Self

from pytest_bottle.agents.looking import look_for_calls
from pytest_bottle.agents.looking import look_for_commands
from pytest_bottle.agents.looking import look_for_skill
from pytest_bottle.agents.telling import ending_lines
from pytest_bottle.errors import AgentError
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.backends.base import ExecResult
    from pytest_bottle.findings import Finding
    from pytest_bottle.gateway.values import ModelRequest

Role = Literal["user", "assistant", "system"]


class Exit(StrEnum):
    """What ended a run. A tool that was denied does not: see `AgentRun.permission_denials`."""

    COMPLETED = "completed"
    """The agent said that it was done."""
    MAX_TURNS = "max_turns"
    """The bound that the test set was reached."""
    API_ERROR = "api_error"
    """The model could not be asked, or refused; see `AgentRun.api_error`."""
    CRASHED = "crashed"
    """The agent's process ended without a word about the task."""
    KILLED = "killed"
    """It was ended from outside: its time, or its budget, was up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One use of a tool by the agent."""

    name: str
    """As the agent calls the tool."""
    input: Mapping[str, Any]
    output: str | None = None
    """What the tool answered, as text; None where no answer was seen."""
    error: bool = False
    """Whether the tool failed."""
    denied: bool = False
    """Whether the agent's permissions forbade it, so that it did not run."""
    id: str = ""
    command: str | None = None
    """The shell command that it ran, whatever the agent calls its shell; None for other tools."""
    skill: str | None = None
    """The name of the skill that it loaded; None for other tools, and where that failed."""
    parent: str | None = None
    """The id of the call whose subagent made this one; None where it was the agent itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Something that was said in the conversation, with the tools that were called in it."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    parent: str | None = None
    """The id of the call whose subagent spoke; None where it was the agent itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A tool call that the agent's permissions forbade."""

    tool: str
    input: Mapping[str, Any]
    reason: str = ""
    """As the agent was told; empty where it was not seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRun:
    """What an agent's output tells of a run. It comes from the guest: all of it may be a lie."""

    exit: Exit
    text: str = ""
    """The agent's last words."""
    transcript: tuple[Turn, ...] = ()
    """The agent's turns, and what was said between them; the task is `AgentRun.prompt`."""
    usage: Usage = field(default_factory=Usage)
    """Tokens as the agent counted them."""
    permission_denials: tuple[Denial, ...] = ()
    session: str | None = None
    """What `resume` takes to go on; None where it was not seen."""
    api_error: tuple[int | None, str] | None = None
    """The model's HTTP status, where it is known, and message; None where `exit` is another."""
    model: str | None = None
    """The model that the agent says it used."""
    version: str | None = None
    """The version that the agent says it has."""
    unreadable: int = 0
    """Lines of its output that made no sense."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AgentRun(ReadRun):
    """One task, given to an agent, to its end."""

    agent: str
    """Its name in the manifest."""
    kind: str
    prompt: str
    """The task."""
    result: ExecResult
    """The agent's process: return code, time, and its raw output."""
    cost: float | None = None
    """US dollars; None where it is not known."""
    requests: Sequence[ModelRequest] = ()
    """What it asked the model, where that went through the bottle's door."""
    misses: list[str] = field(default_factory=list)
    """What assertions looked for in vain, for the failure report."""

    @classmethod
    def of(
        cls,
        read: ReadRun,
        *,
        agent: str,
        kind: str,
        prompt: str,
        result: ExecResult,
        usage: Usage | None = None,
        cost: float | None = None,
        requests: Sequence[ModelRequest] = (),
        misses: list[str] | None = None,
    ) -> Self:
        """Return a run from what was read of it and what its caller knows.

        Args:
            read: What the agent's output tells.
            agent: Its name in the manifest.
            kind: Its kind.
            prompt: The task.
            result: The process that it was.
            usage: Tokens as they were counted outside of the guest; None keeps the agent's count.
            cost: US dollars; None where it is not known.
            requests: What it asked the model.
            misses: Where what assertions looked for in vain is added; None begins a list.
        """
        told = {part.name: getattr(read, part.name) for part in dataclasses.fields(ReadRun)}
        if usage is not None:
            told["usage"] = usage
        return cls(
            **told,
            agent=agent,
            kind=kind,
            prompt=prompt,
            result=result,
            cost=cost,
            requests=requests,
            misses=[] if misses is None else misses,
        )

    def __repr__(self) -> str:
        """Return who ran, how it ended and which tools it called, in a line."""
        tools = ", ".join(self.tools_called[:5])
        more = ", ..." if len(self.tools_called) > 5 else ""  # noqa: PLR2004
        return f"<AgentRun {self.agent} ({self.kind}): {self.exit}; tools: {tools or 'none'}{more}>"

    @property
    def success(self) -> bool:
        """Whether the run completed. What came of the task is for the test to see."""
        return self.exit is Exit.COMPLETED

    @property
    def returncode(self) -> int:
        """Its process's return code. It alone does not tell how the run ended: see `exit`."""
        return self.result.returncode

    @property
    def duration(self) -> float:
        """Seconds, as seen from the host."""
        return self.result.duration

    @property
    def stdout(self) -> str:
        """All that its process wrote to standard output."""
        return self.result.stdout

    @property
    def stderr(self) -> str:
        """All that its process wrote to standard error."""
        return self.result.stderr

    @property
    def tool_calls(self) -> list[ToolCall]:
        """All tool calls in their order, those of subagents too."""
        return [call for turn in self.transcript for call in turn.tool_calls]

    @property
    def tools_called(self) -> list[str]:
        """The names of the tools that were called, in order, those of subagents too."""
        return [call.name for call in self.tool_calls]

    def called(self, name: str, /, **inputs: object) -> Finding[ToolCall]:
        """Look for calls of a tool.

        Args:
            name: The tool, as the agent calls it.
            inputs: What its input has to be, by name: a value, or a matcher such as
                `contains("pytest")`. Other inputs may be there besides.

        Returns:
            The calls, in order; false where there are none.
        """
        return look_for_calls(self.transcript, name, inputs, self.misses)

    def ran(self, command: object, /) -> Finding[ToolCall]:
        """Look for shell commands that the agent ran or tried to, whatever its shell tool is.

        Args:
            command: The whole command, or a matcher such as `contains("pytest")`.

        Returns:
            The calls, in order; false where there are none.
        """
        return look_for_commands(self.transcript, command, self.misses)

    def used_skill(self, name: str, /) -> Finding[ToolCall]:
        """Look for calls that loaded a skill's body.

        Returns:
            The calls, in order; false where there are none.
        """
        return look_for_skill(self.transcript, name, self.misses)

    def check(self) -> Self:
        """Return self, or raise where the run did not complete.

        Raises:
            AgentError: with how it ended, and the end of its transcript and of its output.
        """
        if self.success:
            return self
        raise AgentError("\n".join(ending_lines(self)))
