"""Plans: how the marker, the manifest and the defaults come together."""

from __future__ import annotations

import os
import stat
import textwrap
from pathlib import Path

import pytest

from pytest_bottle.errors import ManifestError
from pytest_bottle.errors import MarkerError
from pytest_bottle.lifecycle.prepare import prepare
from pytest_bottle.lifecycle.prepare import requested_backend
from pytest_bottle.lifecycle.prepare import write_prompt_file
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import EMPTY
from pytest_bottle.manifest import load_manifest
from pytest_bottle.plan import FilePlan
from pytest_bottle.plan import ImagePlan
from pytest_bottle.plan import Limits

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
            agent_kinds={"claude", "command"},
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


def test_without_manifest_and_arguments_there_are_defaults(plan, tmp_path):
    result = plan(manifest=EMPTY)
    assert (result.name, result.run_id, result.worker) == ("bottle-1-main-1", "1", "main")
    assert (result.backend, result.state_dir, result.shared) == ("fake", tmp_path, False)
    assert (result.image, result.workdir, result.user) == (None, "/workspace", None)
    assert (result.env, result.secrets, result.files, result.agent) == ((), (), (), None)
    assert result.limits == Limits(memory=2 * 1024**3, pids=512, disk=1024**3)
    assert result.timeout == 30.0


BOTTLE = """
    [bottles.dev]
    image = "from-manifest"
    workdir = "/manifest"
    user = "manifest"
    env = { A = "manifest", B = "manifest" }
    secrets = ["ONE"]
    cpus = 1.0
    memory = "1M"
    pids = 1
    disk = "1M"
    timeout = 1
    files = { "a.txt" = { text = "manifest" }, "b.txt" = { text = "manifest" } }
"""


def test_the_manifest_goes_before_the_defaults(plan):
    result = plan(BOTTLE, bottle="dev")
    assert result.image == ImagePlan(reference="from-manifest")
    assert (result.workdir, result.user, result.timeout) == ("/manifest", "manifest", 1.0)
    assert result.limits == Limits(cpus=1.0, memory=1024**2, pids=1, disk=1024**2)


def test_the_marker_goes_before_the_manifest(plan):
    result = plan(
        BOTTLE,
        bottle="dev",
        image="from-marker",
        workdir="/marker",
        user="marker",
        cpus=2,
        memory="2M",
        pids=2,
        disk="2M",
        timeout=2,
    )
    assert result.image == ImagePlan(reference="from-marker")
    assert (result.workdir, result.user, result.timeout) == ("/marker", "marker", 2.0)
    assert result.limits == Limits(cpus=2.0, memory=2 * 1024**2, pids=2, disk=2 * 1024**2)


def test_the_marker_adds_to_env_secrets_and_files(plan):
    result = plan(
        BOTTLE,
        bottle="dev",
        env={"B": "marker", "C": "marker"},
        secrets=["TWO"],
        files={"./b.txt": {"text": "marker"}, "c.txt": {"text": "marker"}},
    )
    assert result.env == (("A", "manifest"), ("B", "marker"), ("C", "marker"))
    assert result.secrets == ("ONE", "TWO")
    assert [(file.guest, file.text) for file in result.files] == [
        ("a.txt", "manifest"),
        ("b.txt", "marker"),
        ("c.txt", "marker"),
    ]


def test_equal_specs_make_plans_with_the_same_digest(plan):
    one = plan(BOTTLE, bottle="dev", env={"X": "1", "Y": "2"})
    other = plan(BOTTLE, bottle="dev", env={"Y": "2", "X": "1"})
    assert one.digest == other.digest
    assert one.digest != plan(BOTTLE, bottle="dev").digest


class TestWhichBottle:
    """The marker's bottle, else the agent's, else `default`, else none of the manifest's."""

    TEXT = """
        [agents.with]
        bottle = "own"
        [agents.without]
        [bottles.own]
        user = "own"
        backend = "docker"
        [bottles.default]
        user = "default"
        [bottles.other]
        user = "other"
    """

    @pytest.mark.parametrize(
        ("arguments", "user"),
        [
            ({"agent": "with"}, "own"),
            ({"agent": "without"}, "default"),
            ({}, "default"),
            ({"agent": "with", "bottle": "other"}, "other"),
            ({"bottle": "other"}, "other"),
        ],
    )
    def test_it_is_the_nearest_to_the_test(self, plan, arguments, user):
        assert plan(self.TEXT, **arguments).user == user

    def test_an_agent_needs_no_bottle_in_the_manifest(self, plan):
        assert plan("[agents.a]", agent="a").workdir == "/workspace"

    def test_the_backend_is_the_markers_else_the_bottles(self, project):
        (project / "bottle.toml").write_text(textwrap.dedent(self.TEXT))
        manifest = load_manifest(project / "bottle.toml")

        def backend(**arguments: object) -> str | None:
            return requested_backend(spec_from_arguments(**arguments), manifest)

        assert backend(agent="with") == "docker"
        assert backend(agent="with", backend="fake") == "fake"
        assert backend(bottle="other") is None
        with pytest.raises(MarkerError, match="there is no bottle 'owm'"):
            backend(bottle="owm")


class TestAgent:
    """What the manifest's agent and the marker's overrides become."""

    TEXT = """
        [agents.reviewer]
        kind = "command"
        prompt = "manifest"
        model = "manifest"
        args = ["manifest"]
        env = { A = "1" }
    """

    def test_it_is_the_manifests(self, plan):
        agent = plan(self.TEXT, agent="reviewer").agent
        assert (agent.name, agent.kind, agent.prompt) == ("reviewer", "command", "manifest")
        assert (agent.model, agent.args, agent.env) == ("manifest", ("manifest",), (("A", "1"),))

    def test_the_marker_replaces_prompt_model_and_args(self, plan):
        agent = plan(self.TEXT, agent="reviewer", prompt="", model="marker", args=[]).agent
        assert (agent.prompt, agent.model, agent.args) == ("", "marker", ())

    def test_an_unknown_agent_gets_the_nearest_known_one(self, refuse, project):
        assert str(refuse(self.TEXT, agent="reviewr")) == (
            f"{NODE}: there is no agent 'reviewr' in {project / 'bottle.toml'}. "
            "Did you mean 'reviewer'?"
        )

    def test_an_unknown_bottle_gets_the_nearest_known_one(self, refuse):
        error = refuse("[bottles.dev]", bottle="dve")
        assert str(error).endswith("Did you mean 'dev'?")

    def test_an_agent_without_a_manifest_is_told_to_write_one(self, refuse):
        assert str(refuse(manifest=EMPTY, agent="a")) == (
            f"{NODE}: there is no agent 'a' because there is no manifest. "
            "Add [agents.a] to a bottle.toml."
        )

    def test_an_unknown_kind_gets_the_nearest_known_one(self, refuse, project):
        assert str(refuse("[agents.a]\nkind = 'comand'", agent="a")) == (
            f"{project / 'bottle.toml'}: agents.a.kind: there is no agent kind 'comand'. "
            "Did you mean 'command'?"
        )

    @pytest.mark.parametrize(
        "arguments", [{"prompt": ""}, {"skills": []}, {"model": "m"}, {"args": []}]
    )
    def test_what_is_for_an_agent_needs_one(self, refuse, arguments):
        (name,) = arguments
        assert str(refuse(self.TEXT, **arguments)) == (
            f"{NODE}: {name}= needs agent=, the agent that it is for. Known: reviewer."
        )


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
            agent_kinds={"claude"},
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
        [("./rootfs", "there is no directory"), ("Dockerfile", "there is no Dockerfile")],
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
                agent_kinds={"claude"},
            )


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
