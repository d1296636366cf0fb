"""Plans: the prompts, skills, images and files that are found on the host."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pytest_bottle.lifecycle.prepare import prepare
from pytest_bottle.lifecycle.prepare import write_prompt_file
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import EMPTY
from pytest_bottle.manifest import load_manifest
from pytest_bottle.plan import FilePlan
from pytest_bottle.plan import ImagePlan
from tests.unit.planning import NODE
from tests.unit.planning import make_skill
from tests.unit.planning import plan
from tests.unit.planning import project
from tests.unit.planning import refuse
from tests.unit.planning import skill_home

__all__ = ["plan", "project", "refuse", "skill_home"]


class TestPrompt:
    """A prompt may stand in a file beside the manifest."""

    TEXT = "[agents.a]\nprompt_file = 'prompts/a.md'"

    def test_it_is_read(self, plan, project):
        (project / "prompts").mkdir()
        (project / "prompts" / "a.md").write_text("Be térse.\n", encoding="utf-8")
        assert plan(self.TEXT, agent="a").agent.prompt == "Be térse.\n"

    def test_one_that_is_missing_is_an_error(self, refuse, project):
        assert str(refuse(self.TEXT, agent="a")) == (
            f"{project / 'bottle.toml'}: agents.a.prompt_file: {project / 'prompts/a.md'} cannot "
            "be read: No such file or directory. Write it, or correct the path."
        )

    def test_one_that_is_not_text_is_an_error(self, refuse, project):
        (project / "prompts").mkdir()
        (project / "prompts" / "a.md").write_bytes(b"\xff")
        assert "is not UTF-8 text" in str(refuse(self.TEXT, agent="a"))


class TestSkills:
    """A skill is a directory beside the manifest, else one of the user's own."""

    TEXT = "[agents.a]\nskills = ['sql-audit', 'style']"

    def test_the_project_goes_before_the_user(self, plan, project, skill_home):
        make_skill(project / "skills", "sql-audit")
        make_skill(skill_home, "sql-audit")
        make_skill(skill_home, "style")
        skills = plan(self.TEXT, agent="a").agent.skills
        assert [(skill.name, skill.source) for skill in skills] == [
            ("sql-audit", project / "skills" / "sql-audit"),
            ("style", skill_home / "style"),
        ]

    def test_the_users_own_are_in_their_home(self, project, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        style = make_skill(tmp_path / ".claude" / "skills", "style")
        (project / "bottle.toml").write_text("[agents.a]\nskills = ['style']")
        result = prepare(
            spec_from_arguments(agent="a"),
            load_manifest(project / "bottle.toml"),
            name="bottle-1-main-1",
            run_id="1",
            worker="main",
            state_dir=tmp_path,
            backend="fake",
            default_timeout=30.0,
            agent_kinds={"claude": ".claude/skills"},
        )
        assert result.agent is not None
        assert result.agent.skills[0].source == style

    def test_the_marker_replaces_them(self, plan, skill_home):
        make_skill(skill_home, "other")
        (skill,) = plan(self.TEXT, agent="a", skills=["other"]).agent.skills
        assert skill.name == "other"

    def test_one_that_is_missing_is_an_error_with_its_nearest(self, refuse, project, skill_home):
        make_skill(project / "skills", "sql-audit")
        make_skill(skill_home, "stile")
        error = refuse(self.TEXT, agent="a")
        assert str(error) == (
            f"{project / 'bottle.toml'}: agents.a.skills: there is no skill directory 'style' in "
            f"{project / 'skills'} or {skill_home}. Did you mean 'stile'?"
        )

    def test_one_of_the_marker_that_is_missing_is_the_markers_error(self, refuse):
        error = refuse(self.TEXT, agent="a", skills=["x"])
        assert str(error).startswith(f"{NODE}: skills: there is no skill directory 'x' in ")
        assert str(error).endswith("Make it, with a SKILL.md.")

    def test_a_file_is_not_a_skill(self, refuse, skill_home):
        (skill_home / "sql-audit").touch()
        assert "there is no skill directory 'sql-audit'" in str(refuse(self.TEXT, agent="a"))

    def test_one_that_is_named_twice_is_an_error(self, refuse, skill_home):
        make_skill(skill_home, "style")
        error = refuse("[agents.a]\nskills = ['style', 'style']", agent="a")
        assert "skill 'style' is named twice. Remove one of them." in str(error)


class TestImage:
    """An image is the engine's, a directory, or a Dockerfile beside the manifest."""

    def test_a_name_is_left_to_the_backend(self, plan):
        image = plan("[bottles.default]\nimage = 'registry.io/a/b:1'").image
        assert image == ImagePlan(reference="registry.io/a/b:1")

    def test_a_directory_is_relative_to_the_manifest(self, plan, project):
        (project / "rootfs").mkdir()
        image = plan("[bottles.default]\nimage = './rootfs'").image
        assert image == ImagePlan(reference=str(project / "rootfs"))

    def test_an_image_may_be_a_file(self, plan, project):
        """Of a microVM; other backends refuse it."""
        (project / "agent.tar").touch()
        image = plan("[bottles.default]\nimage = './agent.tar'").image
        assert image == ImagePlan(reference=str(project / "agent.tar"))

    def test_a_string_that_ends_in_dockerfile_is_one(self, plan, project):
        (project / "docker").mkdir()
        (project / "docker" / "app.Dockerfile").touch()
        image = plan("[bottles.default]\nimage = 'docker/app.Dockerfile'").image
        assert image == ImagePlan(dockerfile=project / "docker" / "app.Dockerfile")

    def test_a_table_names_one_with_build_arguments(self, plan, project):
        (project / "Containerfile").touch()
        text = (
            "[bottles.default]\nimage = { dockerfile = 'Containerfile', args = { B='2', A='1' } }"
        )
        assert plan(text).image == ImagePlan(
            dockerfile=project / "Containerfile", build_args=(("A", "1"), ("B", "2"))
        )

    @pytest.mark.parametrize(
        ("image", "problem"),
        [("./rootfs", "there is no directory or file"), ("Dockerfile", "there is no Dockerfile")],
    )
    def test_one_that_is_missing_is_an_error(self, refuse, project, image, problem):
        error = refuse(f"[bottles.default]\nimage = '{image}'")
        assert str(error).startswith(
            f"{project / 'bottle.toml'}: bottles.default.image: {problem} {project / image}."
        )

    def test_one_of_the_marker_that_is_missing_is_the_markers_error(self, refuse):
        assert str(refuse(image="Dockerfile")).startswith(f"{NODE}: image: there is no Dockerfile")


class TestFiles:
    """A file comes from the host, or is text."""

    def test_a_source_is_relative_to_the_manifest(self, plan, project):
        (project / "app.py").touch()
        files = plan("[bottles.default.files]\n'/srv/app.py' = 'app.py'").files
        assert files == (FilePlan(guest="/srv/app.py", source=project / "app.py"),)

    def test_a_source_may_be_in_the_users_home(self, plan, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "notes").mkdir()
        (file,) = plan("[bottles.default.files]\nnotes = '~/notes'").files
        assert file.source == tmp_path / "notes"

    def test_a_markers_source_is_relative_to_the_manifest_or_to_what_the_caller_says(
        self, plan, project, tmp_path
    ):
        for directory in (project, tmp_path):
            (directory / "app.py").touch()
        assert plan(files={"a": "app.py"}).files[0].source == project / "app.py"
        assert plan(files={"a": "app.py"}, base=tmp_path).files[0].source == tmp_path / "app.py"

    def test_without_a_manifest_a_source_is_relative_to_the_current_directory(
        self, plan, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "app.py").touch()
        assert plan(manifest=EMPTY, files={"a": "app.py"}).files[0].source == tmp_path / "app.py"

    def test_a_source_that_is_missing_is_an_error(self, refuse, project):
        assert str(refuse("[bottles.default.files]\n'/etc/motd' = 'motd'")) == (
            f'{project / "bottle.toml"}: bottles.default.files."/etc/motd": there is no file or '
            f"directory {project / 'motd'}. Make it, or correct the path."
        )

    def test_a_markers_source_that_is_missing_is_the_markers_error(self, refuse):
        error = refuse(files={"a": "missing"})
        assert str(error).startswith(f"{NODE}: files['a']: there is no file or directory")

    def test_a_source_that_is_a_device_is_an_error(self, refuse):
        assert "there is no file or directory /dev/null" in str(refuse(files={"a": "/dev/null"}))

    def test_a_directory_takes_no_mode(self, refuse, project):
        (project / "src").mkdir()
        error = refuse(files={"a": {"source": "src", "mode": "0755"}})
        assert "a directory takes no mode" in str(error)


class TestPromptFile:
    """The host's copy of the prompt is private and always written."""

    def test_preparing_writes_nothing(self, plan, tmp_path):
        before = set(tmp_path.iterdir())
        plan("[agents.a]\nprompt = 'p'", agent="a")
        assert set(tmp_path.iterdir()) == before

    @pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
    def test_it_is_readable_by_its_owner_alone(self, plan, mask):
        result = plan("[agents.a]\nprompt = 'Be térse.'", agent="a")
        previous = os.umask(mask)
        try:
            write_prompt_file(result)
        finally:
            os.umask(previous)
        assert stat.S_IMODE(result.prompt_file.stat().st_mode) == 0o600
        assert result.prompt_file.read_bytes() == "Be térse.".encode()

    @pytest.mark.parametrize(("text", "agent"), [("[agents.a]", "a"), ("", None)])
    def test_an_empty_one_is_written_too(self, plan, text, agent):
        result = plan(text, agent=agent)
        write_prompt_file(result)
        assert result.prompt_file.read_bytes() == b""

    def test_it_does_not_follow_a_link(self, plan, tmp_path):
        result = plan(manifest=EMPTY)
        victim = Path(tmp_path / "victim")
        result.prompt_file.symlink_to(victim)
        with pytest.raises(FileExistsError):
            write_prompt_file(result)
        assert not victim.exists()
