"""How agents are told of their supervisor."""

from __future__ import annotations

import tomllib

from pytest_bottle.agents.claude import ClaudeAgent
from pytest_bottle.agents.codex import CodexAgent
from pytest_bottle.plan import AgentPlan
from pytest_bottle.plan import McpServerPlan

SERVER = McpServerPlan(
    name="supervise", url="http://127.0.0.1:4183/mcp", bearer_variable="BOTTLE_PASS", timeout=100
)


def plan(kind: str, **fields: object) -> AgentPlan:
    return AgentPlan(name="a", kind=kind, mcp_servers=(SERVER,), **fields)  # type: ignore[arg-type]


def test_codex_reads_of_it_in_its_profile():
    (text,) = CodexAgent().files(plan("codex"), None, "/home/me").values()
    server = tomllib.loads(text)["mcp_servers"]["supervise"]
    assert server["url"] == SERVER.url
    assert server["bearer_token_env_var"] == "BOTTLE_PASS"
    assert server["tool_timeout_sec"] == 100


def test_claude_waits_for_it_and_for_its_answers():
    env = ClaudeAgent().env(plan("claude"))
    assert env["MCP_CONNECTION_NONBLOCKING"] == "0"
    assert env["MCP_TOOL_TIMEOUT"] == "100000"


def test_the_agents_own_variables_come_first():
    env = ClaudeAgent().env(plan("claude", env=(("MCP_TOOL_TIMEOUT", "5"),)))
    assert env["MCP_TOOL_TIMEOUT"] == "5"


def test_without_one_nothing_is_said():
    alone = AgentPlan(name="a", kind="claude")
    assert not [name for name in ClaudeAgent().env(alone) if "MCP" in name]
    (text,) = CodexAgent().files(AgentPlan(name="a", kind="codex"), None, "/home/me").values()
    assert "mcp_servers" not in text
