"""Provisions the agent's MCP servers, the supervisor's among them, where its CLI registers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bottle.provision.steps import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.provision.steps import GuestPaths
    from pytest_bottle.provision.steps import Step


def provision_supervise(plan: BottlePlan, guest: GuestPaths) -> Sequence[Step]:
    """Return the commands that register MCP servers; a failure is a warning, not the end.

    Kinds of agents that read them from files of their own get them there instead.
    """
    if plan.agent is None or plan.agent.kind != "claude":
        return ()
    return tuple(
        Run(
            argv=(
                *("claude", "mcp", "add", "--scope", "user", "--transport", "http"),
                *(server.name, server.url),
                *("--header", f"Authorization: Bearer ${{{server.bearer_variable}}}"),
            ),
            env=(("HOME", guest.home),),
            required=False,
        )
        for server in plan.agent.mcp_servers
    )
