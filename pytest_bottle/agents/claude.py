"""Runs Claude Code without a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.agents.base import Agent
from pytest_bottle.agents.claude_stream import read_claude

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.agents.base import ModelEndpoint
    from pytest_bottle.agents.run import ReadRun
    from pytest_bottle.plan import AgentPlan

EXECUTABLE: Final = "claude"

_QUIET: Final[Mapping[str, str]] = {
    # Only the model is called: no telemetry, no update check, no look-up that waits for DNS.
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
}

_MCP_START: Final = "60000"
"""Milliseconds until an MCP server has to answer."""

_PERMISSION_OPTIONS: Final = frozenset(
    {
        "--permission-mode",
        "--permission-prompt-tool",
        "--dangerously-skip-permissions",
        "--allow-dangerously-skip-permissions",
        "--allowedTools",
        "--allowed-tools",
    }
)
"""Who gives one of these has a policy of their own."""


class ClaudeAgent(Agent):
    """The agent kind `claude`.

    No tool is denied to it, unless the agent's `args` have a policy: `--permission-mode`,
    `--allowedTools` or another option for permissions.
    """

    kind = "claude"

    def executable(self, plan: AgentPlan) -> str:  # noqa: ARG002
        """Return the program that has to be in the bottle."""
        return EXECUTABLE

    def uses_model(self, plan: AgentPlan) -> bool:  # noqa: ARG002
        """Return True."""
        return True

    def argv(
        self,
        plan: AgentPlan,
        prompt: str,  # noqa: ARG002
        *,
        prompt_path: str | None = None,
        max_turns: int | None = None,
        resume: str | None = None,
    ) -> tuple[str, ...]:
        """Return the command line for one task; see `Agent.argv`."""
        command = [EXECUTABLE, "-p", "--output-format", "stream-json", "--verbose"]
        if not any(word.partition("=")[0] in _PERMISSION_OPTIONS for word in plan.args):
            command.append("--dangerously-skip-permissions")
        command += _prompt_option(prompt_path)
        if plan.model is not None:
            command += ["--model", plan.model]
        if max_turns is not None:
            command += ["--max-turns", str(max_turns)]
        if resume is not None:
            # In one word: what begins with a dash stays this option's value.
            command.append(f"--resume={resume}")
        return (*command, *plan.args)

    def stdin(self, plan: AgentPlan, prompt: str) -> bytes:  # noqa: ARG002
        """Return the task.

        As an argument it would be bounded in length, taken for an option if it began with a dash,
        and swallowed by an option in `args` that takes a list.
        """
        return prompt.encode()

    def env(
        self, plan: AgentPlan, endpoint: ModelEndpoint | None = None, *, root: bool = False
    ) -> Mapping[str, str]:
        """Return variables that keep it quiet and lead it to its model, and the plan's own."""
        env = dict(_QUIET)
        if root:
            # Root is refused --dangerously-skip-permissions without it; and a sandbox it is.
            env["IS_SANDBOX"] = "1"
        if endpoint is not None:
            env["ANTHROPIC_BASE_URL"] = endpoint.url
            env["ANTHROPIC_API_KEY"] = endpoint.token
        if plan.mcp_servers:
            longest = str(round(1000 * max(server.timeout for server in plan.mcp_servers)))
            env |= {
                # The first turn has the tools, also on a host under load.
                "MCP_CONNECTION_NONBLOCKING": "0",
                "MCP_TIMEOUT": _MCP_START,
                "MCP_TOOL_TIMEOUT": longest,
                "CLAUDE_CODE_MCP_TOOL_IDLE_TIMEOUT": longest,
            }
        return {**env, **dict(plan.env)}

    def read(
        self,
        stdout: bytes,
        stderr: bytes,
        returncode: int | None,
        record: bytes = b"",  # noqa: ARG002
    ) -> ReadRun:
        """Return what its stream of events tells; see `Agent.read`."""
        return read_claude(stdout, stderr, returncode)


def exec_claude_argv(args: Sequence[str], *, prompt_path: str | None) -> tuple[str, ...]:
    """Return the command line of `claude` with the caller's own arguments.

    Args:
        args: The arguments.
        prompt_path: Guest path of the agent's prompt; None where it has none.
    """
    return (EXECUTABLE, *_prompt_option(prompt_path), *args)


def _prompt_option(prompt_path: str | None) -> tuple[str, ...]:
    return () if prompt_path is None else ("--append-system-prompt-file", prompt_path)
