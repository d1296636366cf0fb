"""Runs Codex without a terminal."""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.agents.base import Agent
from pytest_bottle.agents.codex_stream import read_codex
from pytest_bottle.errors import MarkerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping

    from pytest_bottle.agents.base import ModelEndpoint
    from pytest_bottle.agents.run import ReadRun
    from pytest_bottle.plan import AgentPlan

EXECUTABLE: Final = "codex"

PROFILE: Final = "bottle"
"""Codex reads `<profile>.config.toml` after `config.toml`, which stays the user's own."""

TOKEN_VARIABLE: Final = "BOTTLE_MODEL_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable in which Codex finds what it presents as its key."""

_POLICY_OPTIONS: Final = frozenset(
    {
        "-s",
        "--sandbox",
        "--full-auto",
        "--approve-for-me",
        "--dangerously-bypass-approvals-and-sandbox",
    }
)
"""Who gives one of these has a policy of their own."""

_POLICY_KEYS: Final = ("sandbox_mode=", "approval_policy=", "default_permissions=")
"""The same as values of `-c`."""

_MCP_START: Final = 60.0
"""Seconds until an MCP server has to answer."""

_THREAD: Final = re.compile(r"[0-9a-fA-F-]{36}")

_PRINT_RECORD: Final = (
    'exec cat -- "${CODEX_HOME:-$HOME/.codex}"/sessions/*/*/*/rollout-*-"$1".jsonl'
)


class CodexAgent(Agent):
    """The agent kind `codex`.

    Codex's own sandbox and approvals are off, unless the agent's `args` have a policy: `--sandbox`
    or another option for them. Rules in `~/.codex/rules` hold in any case.
    """

    kind = "codex"
    skills_dir = ".codex/skills"

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
        prompt_path: str | None = None,  # noqa: ARG002
        max_turns: int | None = None,
        resume: str | None = None,
    ) -> tuple[str, ...]:
        """Return the command line for one task; see `Agent.argv`."""
        if max_turns is not None:
            problem = f"agent {plan.name!r} is of kind 'codex', which takes no max_turns=."
            raise MarkerError(problem, remedy="Bound it by timeout= or by a budget.")
        if resume is not None and not _THREAD.fullmatch(resume):
            problem = f"{resume!r} is no session of Codex."
            raise MarkerError(problem, remedy="Pass the `session` of an earlier run.")
        command = [EXECUTABLE, "exec", "--json", "--skip-git-repo-check", "--profile", PROFILE]
        if not any(map(_is_policy, plan.args)):
            command.append("--dangerously-bypass-approvals-and-sandbox")
        if plan.model is not None:
            command += ["--model", plan.model]
        command += plan.args
        if resume is not None:
            command += ["resume", resume]
        return (*command, "-")

    def stdin(self, plan: AgentPlan, prompt: str) -> bytes:  # noqa: ARG002
        """Return the task: as an argument it would be bounded in length."""
        return prompt.encode()

    def env(
        self,
        plan: AgentPlan,
        endpoint: ModelEndpoint | None = None,
        *,
        root: bool = False,  # noqa: ARG002
    ) -> Mapping[str, str]:
        """Return its model's token, and the plan's own variables."""
        env = {} if endpoint is None else {TOKEN_VARIABLE: endpoint.token}
        return {**env, **dict(plan.env)}

    def files(
        self, plan: AgentPlan, endpoint: ModelEndpoint | None, home: str
    ) -> Mapping[str, str]:
        """Return the profile that has its prompt, leads it to its model, and keeps it quiet."""
        path = posixpath.join(home, ".codex", f"{PROFILE}.config.toml")
        return {path: "".join(f"{line}\n" for line in _profile(plan, endpoint))}

    def read(
        self, stdout: bytes, stderr: bytes, returncode: int | None, record: bytes = b""
    ) -> ReadRun:
        """Return what its events and its record tell; see `Agent.read`."""
        return read_codex(stdout, stderr, returncode, record)

    def record_argv(self, read: ReadRun) -> tuple[str, ...] | None:
        """Return what prints the session's file: its stream leaves out what was denied."""
        if read.session is None or not _THREAD.fullmatch(read.session):
            return None
        return ("/bin/sh", "-c", _PRINT_RECORD, "sh", read.session)


def _profile(plan: AgentPlan, endpoint: ModelEndpoint | None) -> Iterator[str]:
    # Nothing but the model is called: no update check, no telemetry, no catalogue of plugins.
    yield "check_for_update_on_startup = false"
    if plan.prompt:
        yield f"developer_instructions = {_toml(plan.prompt)}"
    if endpoint is not None:
        yield 'model_provider = "bottle"'
    for server in plan.mcp_servers:
        yield f"[mcp_servers.{_toml(server.name)}]"
        yield f"url = {_toml(server.url)}"
        yield f"bearer_token_env_var = {_toml(server.bearer_variable)}"
        # A host under load takes its time, and so does a person who is asked.
        yield f"startup_timeout_sec = {_MCP_START:g}"
        yield f"tool_timeout_sec = {server.timeout:g}"
    yield "[analytics]"
    yield "enabled = false"
    yield "[features]"
    yield "plugins = false"
    yield "apps = false"
    if endpoint is not None:
        yield "[model_providers.bottle]"
        yield 'name = "bottle"'
        yield f"base_url = {_toml(endpoint.url.rstrip('/') + '/v1')}"
        yield f"env_key = {_toml(TOKEN_VARIABLE)}"
        yield 'wire_api = "responses"'


def _toml(text: str) -> str:
    """Return a TOML string; JSON's differ from it in one character only."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_policy(word: str) -> bool:
    return word.partition("=")[0] in _POLICY_OPTIONS or word.startswith(_POLICY_KEYS)
