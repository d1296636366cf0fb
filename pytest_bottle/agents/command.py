"""Runs any command line as an agent; its output is its answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.agents.base import Agent
from pytest_bottle.errors import ManifestError
from pytest_bottle.errors import MarkerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.agents.base import ModelEndpoint
    from pytest_bottle.plan import AgentPlan

_PLACEHOLDER: Final = re.compile(r"\{(prompt|prompt_file|model)\}")
_MODEL_PLACEHOLDER: Final = re.compile(r"\{(model_url|model_token)\}")

_ARGUMENT_LIMIT: Final = 128 * 1024 - 1
"""Bytes of one argument on Linux."""


class CommandAgent(Agent):
    """The agent kind `command`: the agent's `args` are its whole command line.

    In each argument `{prompt}` stands for the task, `{prompt_file}` for the guest path of the
    agent's own prompt and `{model}` for its model. Without a `{prompt}` the task is added as the
    last argument. In its `env`, `{model_url}` and `{model_token}` stand for where its model is and
    for the key that it presents there; an agent that has neither is given no model.
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
        command = (program, *arguments) if placed else (program, *arguments, prompt)
        if any(len(word.encode(errors="surrogatepass")) > _ARGUMENT_LIMIT for word in command):
            problem = f"the task for agent {plan.name!r} is too long for its command line."
            raise MarkerError(problem, remedy="Write it to a file, and have the agent read that.")
        return command

    def uses_model(self, plan: AgentPlan) -> bool:
        """Return whether its environment asks for the model's place."""
        return any(_MODEL_PLACEHOLDER.search(value) for _, value in plan.env)

    def env(
        self,
        plan: AgentPlan,
        endpoint: ModelEndpoint | None = None,
        *,
        root: bool = False,  # noqa: ARG002
    ) -> Mapping[str, str]:
        """Return the plan's own variables, with its model's place filled in."""
        if endpoint is None:
            return dict(plan.env)
        values = {"model_url": endpoint.url, "model_token": endpoint.token}
        return {
            name: _MODEL_PLACEHOLDER.sub(lambda found: values[found[1]], value)
            for name, value in plan.env
        }


def _missing(plan: AgentPlan, key: str, remedy: str) -> ManifestError:
    problem = "is needed and not set."
    return ManifestError(problem, file="manifest", key=f"agents.{plan.name}.{key}", remedy=remedy)
