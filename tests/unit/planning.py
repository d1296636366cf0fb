"""Fixtures that prepare a bottle from a manifest's text and a marker's arguments."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import ManifestError
from pytest_bottle.errors import MarkerError
from pytest_bottle.lifecycle.prepare import prepare
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import load_manifest

if TYPE_CHECKING:
    from pathlib import Path

NODE = "test_a.py::test_b"


@pytest.fixture
def project(tmp_path):
    """Return an empty project directory."""
    project = tmp_path / "project"
    project.mkdir()
    return project


@pytest.fixture
def skill_home(tmp_path):
    """Return a directory for the user's own skills."""
    home = tmp_path / "home" / "skills"
    home.mkdir(parents=True)
    return home


@pytest.fixture
def plan(project, skill_home, tmp_path):
    """Prepare a bottle for a manifest's text and a marker's arguments."""

    def plan(text="", *, environ=None, base=None, manifest=None, **arguments):
        if manifest is None:
            (project / "bottle.toml").write_text(textwrap.dedent(text))
            manifest = load_manifest(project / "bottle.toml")
        return prepare(
            spec_from_arguments(NODE, **arguments),
            manifest,
            name="bottle-1-main-1",
            run_id="1",
            worker="main",
            state_dir=tmp_path,
            backend="fake",
            default_timeout=30.0,
            skill_home=skill_home,
            agent_kinds={"claude": ".claude/skills", "command": ".command/skills"},
            environ=environ or {},
            base=base,
        )

    return plan


@pytest.fixture
def refuse(plan):
    """Return the error that preparing raises."""

    def refuse(text="", **arguments):
        with pytest.raises((ManifestError, MarkerError)) as caught:
            plan(text, **arguments)
        return caught.value

    return refuse


def make_skill(home: Path, name: str) -> Path:
    """Make a skill and return its directory."""
    directory = home / name
    directory.mkdir(parents=True)
    (directory / "SKILL.md").write_text(f"# {name}")
    return directory
