"""Runs Claude Code without a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.plan import AgentPlan

EXECUTABLE = "claude"

ENVIRONMENT: Mapping[str, str] = {
    # Only the model is called: no telemetry, no update check, no look-up that waits for DNS.
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    # Without it root is refused --dangerously-skip-permissions; and a sandbox it is.
    "IS_SANDBOX": "1",
}


class ClaudeAgent:
    """The agent kind `claude`."""

    kind = "claude"

    def executable(self, plan: AgentPlan) -> str:  # noqa: ARG002
        """Return the program that has to be in the bottle."""
        return EXECUTABLE

    def argv(
        self,
        plan: AgentPlan,
        prompt: str,
        *,
        prompt_path: str | None = None,
        max_turns: int | None = None,
        resume: str | None = None,
    ) -> tuple[str, ...]:
        """Return the command line for one task; see `Agent.argv`."""
        # The task is a positional argument: one that starts with a dash would be an option.
        task = f" {prompt}" if prompt.startswith("-") else prompt
        command = [EXECUTABLE, "-p", task, "--output-format", "stream-json", "--verbose"]
        command += ["--dangerously-skip-permissions", *_prompt_option(prompt_path)]
        if plan.model is not None:
            command += ["--model", plan.model]
        if max_turns is not None:
            command += ["--max-turns", str(max_turns)]
        if resume is not None:
            command += ["--resume", resume]
        return (*command, *plan.args)

    def env(self, plan: AgentPlan) -> Mapping[str, str]:
        """Return variables that keep it quiet, and the plan's own."""
        return {**ENVIRONMENT, **dict(plan.env)}


def exec_claude_argv(args: Sequence[str], *, prompt_path: str | None) -> tuple[str, ...]:
    """Return the command line of `claude` with the caller's own arguments.

    Args:
        args: The arguments.
        prompt_path: Guest path of the agent's prompt; None where it has none.
    """
    return (EXECUTABLE, *_prompt_option(prompt_path), *args)


def _prompt_option(prompt_path: str | None) -> tuple[str, ...]:
    return () if prompt_path is None else ("--append-system-prompt-file", prompt_path)
