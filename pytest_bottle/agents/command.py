"""Runs any command line as an agent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_bottle.errors import ManifestError
from pytest_bottle.errors import MarkerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.plan import AgentPlan

_PLACEHOLDER = re.compile(r"\{(prompt|prompt_file|model)\}")


class CommandAgent:
    """The agent kind `command`: the agent's `args` are its whole command line.

    In each argument `{prompt}` stands for the task, `{prompt_file}` for the guest path of the
    agent's own prompt and `{model}` for its model. Without a `{prompt}` the task is added as the
    last argument.
    """

    kind = "command"

    def executable(self, plan: AgentPlan) -> str:
        """Return the program that has to be in the bottle."""
        if plan.args:
            return plan.args[0]
        raise _missing(plan, "args", 'Write the command line, such as ["my-agent", "{prompt}"].')

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
        for name, value in (("max_turns", max_turns), ("resume", resume)):
            if value is not None:
                problem = f"agent {plan.name!r} is of kind 'command', which takes no {name}=."
                raise MarkerError(problem, remedy="Write such options in the agent's args.")
        values = {"prompt": prompt, "prompt_file": prompt_path, "model": plan.model}

        def fill(placeholder: re.Match[str]) -> str:
            value = values[placeholder[1]]
            if value is None:
                key = "prompt" if placeholder[1] == "prompt_file" else "model"
                remedy = f"Set it, or take {placeholder[0]} out of args."
                raise _missing(plan, key, remedy)
            return value

        program = self.executable(plan)
        arguments = tuple(_PLACEHOLDER.sub(fill, argument) for argument in plan.args[1:])
        placed = any("prompt" in _PLACEHOLDER.findall(argument) for argument in plan.args[1:])
        return (program, *arguments) if placed else (program, *arguments, prompt)

    def env(self, plan: AgentPlan) -> Mapping[str, str]:
        """Return the plan's own variables."""
        return dict(plan.env)


def _missing(plan: AgentPlan, key: str, remedy: str) -> ManifestError:
    problem = "is needed and not set."
    return ManifestError(problem, file="manifest", key=f"agents.{plan.name}.{key}", remedy=remedy)
