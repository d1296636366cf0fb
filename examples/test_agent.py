"""Run an agent that the manifest describes.

`bottle.toml` says how the agent is started, which prompt and skills it has, and what its bottle
holds. This one is of kind `command`, a script in place of a model, so that the example runs
anywhere; with `kind = "claude"` the same lines would start Claude Code. The marker can override the
manifest for one test.
"""

import pytest


@pytest.mark.bottle(agent="reviewer")
def test_the_reviewer_finds_the_injection(bottle):
    run = bottle.run_agent("Review app.py")

    assert run.check().stdout.splitlines()[0] == "task: Review app.py"
    assert "app.py:3:" in run.stdout


@pytest.mark.bottle(agent="reviewer")
def test_the_agent_has_its_prompt_and_skills(bottle):
    prompt = bottle.read_file(f"{bottle.home}/.claude-bottle-prompt.txt")
    skills = bottle.listdir(f"{bottle.home}/.claude/skills")

    assert prompt.startswith("You review code for security.")
    assert skills == ["sql-audit"]
    assert bottle.exists(f"{bottle.home}/.claude/skills/sql-audit/SKILL.md")


@pytest.mark.bottle(agent="reviewer", prompt="You look at style only.", skills=[])
def test_a_marker_overrides_the_manifest(bottle):
    assert bottle.agent.prompt == "You look at style only."
    assert not bottle.exists(f"{bottle.home}/.claude/skills/sql-audit")
