"""Provisioners: which steps a plan asks for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import OptionError
from pytest_bottle.plan import AgentPlan
from pytest_bottle.plan import BottlePlan
from pytest_bottle.plan import FilePlan
from pytest_bottle.plan import SkillPlan
from pytest_bottle.provision.ca import provision_ca
from pytest_bottle.provision.git import provision_git
from pytest_bottle.provision.order import PROVISIONERS
from pytest_bottle.provision.order import provisioning_steps
from pytest_bottle.provision.prompt import prompt_steps
from pytest_bottle.provision.prompt import provision_prompt
from pytest_bottle.provision.skills import provision_skills
from pytest_bottle.provision.steps import GuestPaths
from pytest_bottle.provision.steps import MakeDirectory
from pytest_bottle.provision.steps import PutFile
from pytest_bottle.provision.steps import PutTree
from pytest_bottle.provision.steps import Run
from pytest_bottle.provision.steps import Step
from pytest_bottle.provision.supervise import provision_supervise
from pytest_bottle.provision.workspace import provision_workspace

if TYPE_CHECKING:
    from collections.abc import Iterable

GUEST = GuestPaths(home="/home/node", workdir="/workspace")


@pytest.fixture
def plan(tmp_path):
    """Make a plan with the given files and agent."""

    def plan(files=(), agent=None):
        return BottlePlan(
            name="bottle-1-main-1",
            run_id="1",
            worker="main",
            backend="fake",
            state_dir=tmp_path,
            files=tuple(files),
            agent=agent,
        )

    return plan


def agent(*skills: str, prompt: str = "") -> AgentPlan:
    """Make an agent with the given skills."""
    return AgentPlan(
        name="a",
        kind="claude",
        prompt=prompt,
        skills=tuple(SkillPlan(name=name, source=Path("/host") / name) for name in skills),
    )


def paths(steps: Iterable[Step]) -> list[str]:
    """Return the guest paths of steps."""
    return [step.path for step in steps if not isinstance(step, Run)]


class TestWorkspace:
    """The workdir is made and the plan's files are put where their paths say."""

    def test_the_workdir_is_made_without_files_too(self, plan):
        assert provision_workspace(plan(), GUEST) == (MakeDirectory(path="/workspace"),)

    @pytest.mark.parametrize(
        ("guest", "path"),
        [
            ("src/app.py", "/workspace/src/app.py"),
            ("/etc/motd", "/etc/motd"),
            ("~/.netrc", "/home/node/.netrc"),
            ("~x", "/workspace/~x"),
        ],
    )
    def test_a_file_is_below_the_workdir_the_home_or_the_root(self, plan, guest, path):
        _, step = provision_workspace(plan([FilePlan(guest=guest, text="é", mode=0o600)]), GUEST)
        assert step == PutFile(path=path, content="é".encode(), mode=0o600)

    def test_a_host_file_is_put_as_a_file_and_a_directory_as_a_tree(self, plan, tmp_path):
        file = tmp_path / "file"
        file.touch()
        files = [FilePlan(guest="a", source=file), FilePlan(guest=".", source=tmp_path)]
        assert provision_workspace(plan(files), GUEST)[1:] == (
            PutFile(path="/workspace/a", source=file),
            PutTree(path="/workspace", source=tmp_path),
        )

    def test_a_tree_may_be_put_in_the_home(self, plan, tmp_path):
        _, step = provision_workspace(plan([FilePlan(guest="~", source=tmp_path)]), GUEST)
        assert step == PutTree(path="/home/node", source=tmp_path)


class TestPrompt:
    """The prompt file is always copied; its path is told only if there is a prompt."""

    def test_a_prompt_is_copied_to_the_home_and_its_path_is_told(self, plan, tmp_path):
        steps, path = provision_prompt(plan(agent=agent(prompt="Be terse.")), "/home/node")
        assert path == "/home/node/.claude-bottle-prompt.txt"
        assert steps == (PutFile(path=path, source=tmp_path / "prompt.txt", mode=0o644),)

    @pytest.mark.parametrize("chosen", [None, agent()])
    def test_an_empty_one_is_copied_and_its_path_is_not_told(self, plan, chosen):
        steps, path = provision_prompt(plan(agent=chosen), "/root")
        assert paths(steps) == ["/root/.claude-bottle-prompt.txt"]
        assert path is None


class TestSkills:
    """Each skill replaces a prior copy of itself in the guest."""

    def test_each_is_put_as_a_tree_in_place_of_a_prior_copy(self, plan):
        assert provision_skills(plan(agent=agent("x", "y")), GUEST, environ={}) == (
            MakeDirectory(path="/home/node/.claude/skills"),
            PutTree(path="/home/node/.claude/skills/x", source=Path("/host/x"), wipe=True),
            PutTree(path="/home/node/.claude/skills/y", source=Path("/host/y"), wipe=True),
        )

    def test_a_kind_of_agent_may_want_them_elsewhere(self, plan, monkeypatch):
        monkeypatch.setenv("CLAUDE_BOTTLE_GUEST_SKILLS_DIR", "/opt/skills")
        codex = dataclasses.replace(agent("x"), kind="codex", skills_dir=".codex/skills")
        assert paths(provision_skills(plan(agent=codex), GUEST)) == [
            "/home/node/.codex/skills",
            "/home/node/.codex/skills/x",
        ]

    @pytest.mark.parametrize("chosen", [None, agent()])
    def test_no_skills_no_steps(self, plan, chosen):
        environ = {"CLAUDE_BOTTLE_GUEST_SKILLS_DIR": "relative"}
        assert provision_skills(plan(agent=chosen), GUEST, environ=environ) == ()

    def test_the_hosts_environment_overrides_the_guest_directory(self, plan, monkeypatch):
        monkeypatch.setenv("CLAUDE_BOTTLE_GUEST_SKILLS_DIR", "/opt//skills/")
        steps = provision_skills(plan(agent=agent("x")), GUEST)
        assert paths(steps) == ["/opt/skills", "/opt/skills/x"]

    def test_an_empty_override_is_none(self, plan):
        environ = {"CLAUDE_BOTTLE_GUEST_SKILLS_DIR": ""}
        steps = provision_skills(plan(agent=agent("x")), GUEST, environ=environ)
        assert paths(steps)[0] == "/home/node/.claude/skills"

    @pytest.mark.parametrize(
        ("directory", "problem"),
        [
            ("skills", 'an absolute path in the guest, and not "/".'),
            ("/", 'an absolute path in the guest, and not "/".'),
            ("/a/../b", "a path in the guest, without `..`."),
        ],
    )
    def test_an_override_that_is_no_absolute_path_is_an_error(self, plan, directory, problem):
        environ = {"CLAUDE_BOTTLE_GUEST_SKILLS_DIR": directory}
        with pytest.raises(OptionError) as caught:
            provision_skills(plan(agent=agent("x")), GUEST, environ=environ)
        assert str(caught.value) == (
            "CLAUDE_BOTTLE_GUEST_SKILLS_DIR (from the environment): must be " + problem
        )


class TestOrder:
    """Provisioners have a fixed order; those of plugins come last."""

    def test_it_is_workspace_ca_prompt_skills_git_supervise(self):
        assert list(PROVISIONERS) == [
            provision_workspace,
            provision_ca,
            prompt_steps,
            provision_skills,
            provision_git,
            provision_supervise,
        ]

    def test_steps_keep_it(self, plan, monkeypatch):
        monkeypatch.delenv("CLAUDE_BOTTLE_GUEST_SKILLS_DIR", raising=False)
        steps = provisioning_steps(plan(agent=agent("x")), GUEST)
        assert paths(steps) == [
            "/workspace",
            "/home/node/.claude-bottle-prompt.txt",
            "/home/node/.claude/skills",
            "/home/node/.claude/skills/x",
        ]

    def test_a_plugin_may_add_its_own(self, plan):
        run = Run(argv=("true",))
        steps = provisioning_steps(plan(), GUEST, (*PROVISIONERS, lambda *_: (run,)))
        assert steps[-1] == run
