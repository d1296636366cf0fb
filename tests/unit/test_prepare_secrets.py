"""Plans: the values of secrets, which must not get into one."""

from __future__ import annotations

import pytest

from pytest_bottle.errors import MarkerError
from pytest_bottle.lifecycle.prepare import prepare
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import EMPTY
from tests.unit.planning import NODE
from tests.unit.planning import plan
from tests.unit.planning import project
from tests.unit.planning import refuse
from tests.unit.planning import skill_home

__all__ = ["plan", "project", "refuse", "skill_home"]


class TestSecrets:
    """The value of a declared secret never enters a guest."""

    SECRET = "sk-ant-0123456789"

    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("[bottles.default.env]\nKEY = '{}'", "bottles.default.env.KEY"),
            ("[bottles.default.env]\nKEY = 'Bearer {}'", "bottles.default.env.KEY"),
            ("[bottles.default.files.a]\ntext = 'key={}'", "bottles.default.files.a"),
            ("[agents.a.env]\nKEY = '{}'", "agents.a.env.KEY"),
            ("[agents.a]\nargs = ['--key={}']", "agents.a.args"),
            ("[agents.a]\nprompt = 'Use {}.'", "agents.a.prompt"),
        ],
    )
    def test_a_manifest_that_holds_it_is_refused(self, refuse, project, text, key):
        agents = "" if "agents.a" in text else "[agents.a]\n"
        error = refuse(
            agents + text.format(self.SECRET),
            agent="a",
            secrets=["API_KEY"],
            environ={"API_KEY": self.SECRET},
        )
        assert str(error) == (
            f"{project / 'bottle.toml'}: {key}: holds the value of the secret API_KEY, which must "
            "not enter a guest. Put a placeholder there."
        )

    @pytest.mark.parametrize(
        ("arguments", "place"),
        [
            ({"env": {"KEY": SECRET}}, "env['KEY']"),
            ({"files": {"a": {"text": SECRET}}}, "files['a']"),
            ({"prompt": SECRET}, "prompt"),
            ({"args": [SECRET]}, "args"),
        ],
    )
    def test_a_marker_that_holds_it_is_refused(self, refuse, arguments, place):
        error = refuse(
            "[agents.a]",
            agent="a",
            secrets=["API_KEY"],
            environ={"API_KEY": self.SECRET},
            **arguments,
        )
        assert str(error).startswith(f"{NODE}: {place}: holds the value of the secret API_KEY")
        assert self.SECRET not in str(error)

    def test_a_prompt_file_that_holds_it_is_refused(self, refuse, project):
        (project / "prompt.md").write_text(self.SECRET)
        error = refuse(
            "[agents.a]\nprompt_file = 'prompt.md'",
            agent="a",
            secrets=["API_KEY"],
            environ={"API_KEY": self.SECRET},
        )
        assert "agents.a.prompt_file: holds the value of the secret" in str(error)

    def test_a_build_argument_that_holds_it_is_refused(self, refuse, project):
        (project / "Dockerfile").touch()
        error = refuse(
            "[bottles.default.image]\ndockerfile = 'Dockerfile'\n"
            f"args = {{ KEY = '{self.SECRET}' }}",
            secrets=["API_KEY"],
            environ={"API_KEY": self.SECRET},
        )
        assert "bottles.default.image.args.KEY: holds the value of the secret" in str(error)

    def test_a_short_secret_is_refused_only_as_a_whole(self, refuse, plan):
        environ = {"PIN": "1"}
        plan(env={"LEVEL": "10"}, secrets=["PIN"], environ=environ)
        assert "env['LEVEL']" in str(refuse(env={"LEVEL": "1"}, secrets=["PIN"], environ=environ))

    def test_a_placeholder_under_the_same_name_is_fine(self, plan):
        result = plan(
            env={"API_KEY": "placeholder"}, secrets=["API_KEY"], environ={"API_KEY": self.SECRET}
        )
        assert result.env == (("API_KEY", "placeholder"),)

    @pytest.mark.parametrize("environ", [{}, {"API_KEY": ""}])
    def test_one_that_the_host_does_not_have_is_fine(self, plan, environ):
        result = plan(env={"EMPTY": ""}, secrets=["API_KEY"], environ=environ)
        assert result.secrets == ("API_KEY",)

    def test_the_hosts_environment_is_the_default(self, tmp_path, monkeypatch):
        monkeypatch.setenv("API_KEY", self.SECRET)
        with pytest.raises(MarkerError, match="the secret API_KEY"):
            prepare(
                spec_from_arguments(env={"KEY": self.SECRET}, secrets=["API_KEY"]),
                EMPTY,
                name="bottle-1-main-1",
                run_id="1",
                worker="main",
                state_dir=tmp_path,
                backend="fake",
                default_timeout=30.0,
                agent_kinds={"claude": ".claude/skills"},
            )
