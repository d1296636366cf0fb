"""Manifests: what is read, what is refused, and in which words."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Any

import pytest
from pydantic import ValidationError

from pytest_bottle.errors import ManifestError
from pytest_bottle.manifest import EMPTY
from pytest_bottle.manifest import find_manifest
from pytest_bottle.manifest import load_manifest
from pytest_bottle.manifest import manifest_schema


@pytest.fixture
def load(tmp_path):
    """Load a manifest with the given text."""

    def load(text, name="bottle.toml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return load_manifest(path)

    return load


@pytest.fixture
def refuse(load):
    """Return the error that a manifest with the given text raises."""

    def refuse(text, name="bottle.toml"):
        with pytest.raises(ManifestError) as caught:
            load(text, name)
        return caught.value

    return refuse


def test_a_full_manifest_is_read(load, tmp_path):
    manifest = load(
        """
        [agents.reviewer]
        kind = "claude"
        bottle = "dev"
        prompt = "Be terse."
        skills = ["sql-audit"]
        model = "opus"
        args = ["--max-turns", "3"]
        env = { LANG = "C" }

        [bottles.dev]
        backend = "docker"
        image = "pytest-bottle-agent"
        workdir = "/srv"
        user = "node"
        env = { DEBUG = "1" }
        secrets = ["API_KEY"]
        cpus = 1.5
        memory = "512M"
        pids = 64
        disk = "1GiB"
        timeout = "2m"

        [bottles.dev.files]
        "app.py" = "src/app.py"
        "/etc/motd" = { text = "hello" }
        "run.sh" = { source = "run.sh", mode = "0755" }
        """
    )
    agent, bottle = manifest.agents["reviewer"], manifest.bottles["dev"]
    assert (agent.kind, agent.bottle, agent.prompt, agent.model) == (
        "claude",
        "dev",
        "Be terse.",
        "opus",
    )
    assert (agent.skills, agent.args, agent.env) == (
        ("sql-audit",),
        ("--max-turns", "3"),
        {"LANG": "C"},
    )
    assert (bottle.backend, bottle.workdir, bottle.user) == ("docker", "/srv", "node")
    assert bottle.image is not None
    assert bottle.image.reference == "pytest-bottle-agent"
    assert (bottle.env, bottle.secrets) == ({"DEBUG": "1"}, ("API_KEY",))
    assert (bottle.cpus, bottle.memory, bottle.pids) == (1.5, 512 * 1024**2, 64)
    assert (bottle.disk, bottle.timeout) == (1024**3, 120.0)
    assert bottle.files["app.py"].source == "src/app.py"
    assert bottle.files["/etc/motd"].text == "hello"
    assert bottle.files["run.sh"].mode == 0o755
    assert manifest.path == tmp_path / "bottle.toml"
    assert manifest.directory == tmp_path


def test_an_agent_is_claude_unless_it_says_otherwise(load):
    assert load("[agents.a]").agents["a"].kind == "claude"


def test_any_kind_of_agent_may_be_named(load):
    """Plugins add kinds; whether one exists is known only when a bottle is prepared."""
    assert load("[agents.a]\nkind = 'homemade'").agents["a"].kind == "homemade"


def test_an_image_may_be_a_table_with_a_dockerfile(load):
    manifest = load(
        "[bottles.a]\nimage = { dockerfile = 'docker/Dockerfile', args = { BASE = 'debian' } }"
    )
    image = manifest.bottles["a"].image
    assert image is not None
    assert (image.reference, image.dockerfile) == (None, "docker/Dockerfile")
    assert image.args == {"BASE": "debian"}


def test_pyproject_holds_a_manifest_under_tool_bottle(load):
    manifest = load("[tool.bottle.agents.a]\nmodel = 'opus'", name="pyproject.toml")
    assert manifest.agents["a"].model == "opus"


def test_an_empty_file_is_an_empty_manifest(load):
    manifest = load("")
    assert (manifest.agents, manifest.bottles) == ({}, {})


def test_there_is_a_manifest_for_a_project_without_one():
    assert (EMPTY.path, EMPTY.agents, EMPTY.bottles) == (None, {}, {})


def test_a_manifest_is_frozen(load):
    manifest = load("[agents.a]")
    with pytest.raises(dataclasses.FrozenInstanceError):
        manifest.path = None
    with pytest.raises(ValidationError, match="frozen"):
        manifest.agents["a"].model = "other"


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ("[agent.x]", "agent", "Did you mean 'agents'?"),
        ("[agents.x]\npromt = 'p'", "agents.x.promt", "Did you mean 'prompt'?"),
        ("[bottles.x]\nmemroy = 1", "bottles.x.memroy", "Did you mean 'memory'?"),
        (
            "[bottles.x.image]\ndockerfil = 'D'\nreference = 'r'",
            "bottles.x.image.dockerfil",
            "Did you mean 'dockerfile'?",
        ),
        (
            "[bottles.x.files.'/a']\ntxt = 't'\nsource = 's'",
            'bottles.x.files."/a".txt',
            "Did you mean 'text'?",
        ),
        ("[agents.x]\nzzz = 1", "agents.x.zzz", "Known: args, bottle, env"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(refuse, text, key, remedy):
    error = refuse(text)
    assert (error.key, error.problem) == (key, "unknown key.")
    assert error.remedy.startswith(remedy)


def test_an_agent_in_an_unknown_bottle_is_refused_with_the_nearest_known_one(refuse):
    error = refuse("[agents.x]\nbottle = 'dve'\n[bottles.dev]")
    assert (error.key, error.problem) == ("agents.x.bottle", "there is no bottle 'dve'.")
    assert error.remedy == "Did you mean 'dev'?"


def test_an_agent_in_an_unknown_bottle_is_told_to_add_it_where_there_is_none(refuse):
    assert refuse("[agents.x]\nbottle = 'dev'").remedy == "Add [bottles.dev]."


def test_an_error_is_one_sentence_with_file_key_and_remedy(refuse, tmp_path):
    error = refuse("[bottles.dev]\nmemory = 'lots'")
    assert str(error) == (
        f"{tmp_path / 'bottle.toml'}: bottles.dev.memory: must be a size above zero: bytes, or "
        'text such as "512M" or "1GiB". `pytest-bottle schema` says what may stand here.'
    )
    assert error.__suppress_context__


def test_in_pyproject_the_key_is_the_one_that_was_written(refuse):
    assert (
        refuse("[tool.bottle.agents.x]\nmodell = 'm'", name="pyproject.toml").key
        == "tool.bottle.agents.x.modell"
    )


def test_several_errors_are_all_listed(refuse, tmp_path):
    error = refuse(
        "[agents.a]\nkin = 'x'\n[bottles.b]\nmemory = 'lots'\nworkdir = 'here'\n[bottle.c]"
    )
    first, *others = str(error).splitlines()
    assert first == f"{tmp_path / 'bottle.toml'}: 4 errors:"
    assert [line.split(": ")[0].strip() for line in others] == [
        "agents.a.kin",
        "bottles.b.workdir",
        "bottles.b.memory",
        "bottle",
    ]


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("agents = 5", "agents", "must be a table, not an integer."),
        ("[agents]\nx = 'y'", "agents.x", "must be a table, not a string."),
        ("[agents.x]\nmodel = 5", "agents.x.model", "must be a string, not an integer."),
        ("[agents.x]\nkind = ''", "agents.x.kind", "must have at least 1 character."),
        ("[agents.x]\nskills = 's'", "agents.x.skills", "must be an array, not a string."),
        ("[agents.x]\nskills = ['s', '../t']", "agents.x.skills.1", "must be a skill's name"),
        ("[agents.x]\nenv = { A = 1 }", "agents.x.env.A", "must be a string, not an integer."),
        ("[agents.x]\nenv = { 'A B' = '' }", 'agents.x.env."A B"', "must be the name of an env"),
        ('[agents.x]\nargs = ["a\\u0000"]', "agents.x.args.0", "must not contain a NUL"),
        ("[bottles.x]\ncpus = 0", "bottles.x.cpus", "must be greater than 0."),
        ("[bottles.x]\ncpus = inf", "bottles.x.cpus", "must be a finite number."),
        ("[bottles.x]\npids = 1.5", "bottles.x.pids", "must be an integer, not a float."),
        ("[bottles.x]\npids = true", "bottles.x.pids", "must be an integer, not a boolean."),
        ("[bottles.x]\nmemory = true", "bottles.x.memory", "must be a size above zero"),
        ("[bottles.x]\ntimeout = 'soon'", "bottles.x.timeout", "must be a time above zero"),
        ("[bottles.x]\nworkdir = 'src'", "bottles.x.workdir", "must be an absolute path"),
        ("[bottles.x]\nuser = ''", "bottles.x.user", "must be the name or the uid"),
        ("[bottles.x]\nsecrets = ['sk-1']", "bottles.x.secrets.0", "must be the name of an env"),
        ("[bottles.x]\nimage = 5", "bottles.x.image", "must be a string or a table."),
        ("[bottles.x]\nimage = {}", "bottles.x.image", "must have exactly one of `reference`"),
        (
            "[bottles.x]\nimage = { reference = 'a', args = { B = 'c' } }",
            "bottles.x.image",
            "must have a `dockerfile` for its `args`.",
        ),
        ("[bottles.x.files]\n'../a' = 'b'", 'bottles.x.files."../a"', "must be a path in the"),
        ("[bottles.x.files]\na = {}", "bottles.x.files.a", "must have exactly one of `source`"),
        ("[bottles.x.files]\na = 1", "bottles.x.files.a", "must be a string or a table."),
        (
            "[bottles.x.files]\na = { text = '', mode = 644 }",
            "bottles.x.files.a.mode",
            "must be permission bits in octal",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_in_the_words_of_toml(refuse, text, key, problem):
    error = refuse(text)
    assert error.key == key
    assert error.problem.startswith(problem)
    assert error.remedy


def test_a_number_for_a_string_is_told_about_quotes(refuse):
    assert refuse("[agents.x]\nenv = { A = 1 }").remedy == "Put the value in quotes."


def test_a_string_for_a_list_is_told_about_brackets(refuse):
    assert refuse("[agents.x]\nskills = 's'").remedy == "Put the value in brackets."


def test_a_value_in_the_wrong_place_is_not_repeated(refuse):
    """It may be a secret."""
    assert "sk-123456" not in str(refuse("[bottles.x]\nsecrets = 'sk-123456'"))
    assert "sk-123456" not in str(refuse("[bottles.x]\nsecrets = ['sk-123456']"))


def test_an_agent_has_one_prompt(refuse):
    error = refuse("[agents.x]\nprompt = 'a'\nprompt_file = 'b'")
    assert error.key == "agents.x"
    assert error.problem == "must not have both `prompt` and `prompt_file`."


@pytest.mark.parametrize("key", ["git", "supervise"])
def test_an_unknown_key_of_the_doors_other_parts_is_refused(refuse, load, key):
    load(f"[bottles.x.{key}]")
    error = refuse(f"[bottles.x.{key}]\nallow = ['docs.python.org']")
    assert error.key == f"bottles.x.{key}.allow"


def test_an_allowlist_is_read_in_its_one_form(load):
    listed = ["Docs.Python.org", "192.0.2.7/32", "10.0.0.0/8"]
    manifest = load(f"[bottles.x]\negress.network = {listed}")
    assert manifest.bottles["x"].egress.network == ("docs.python.org", "192.0.2.7", "10.0.0.0/8")


def test_so_is_what_a_proxy_lets_pass(load):
    manifest = load(
        "[bottles.x]\negress.allow = ['Docs.Python.org', '[::1]:8443', "
        "{ host = '*.example.org:8080', methods = ['get'], paths = ['/a'] }]"
    )
    allow = manifest.bottles["x"].egress.allow
    assert [one.host for one in allow] == ["docs.python.org", "[::1]:8443", "*.example.org:8080"]
    assert (allow[2].methods, allow[2].paths) == (("GET",), ("/a",))


@pytest.mark.parametrize("everything", ["*", "0.0.0.0/0", "::/0"])
def test_an_allowlist_of_everything_is_refused(refuse, tmp_path, everything):
    error = refuse(f"[bottles.x]\negress.network = ['docs.python.org', '{everything}']")
    assert str(error).startswith(
        f"{tmp_path / 'bottle.toml'}: bottles.x.egress.network.1: must not allow everything: name "
        "the hosts and networks that are needed. "
    )


def test_an_unknown_key_of_egress_gets_the_nearest_known_one(refuse):
    error = refuse("[bottles.x]\negress.alow = ['docs.python.org']")
    assert (error.key, error.remedy) == ("bottles.x.egress.alow", "Did you mean 'allow'?")


@pytest.mark.parametrize(
    ("text", "line"), [("[agents.x]\nkind = \n", 2), ("[agents.x]\nargs = ['a'\n\n", 4)]
)
def test_a_syntax_error_names_file_and_line(refuse, tmp_path, text, line):
    message = str(refuse(text))
    assert message.startswith(f"{tmp_path / 'bottle.toml'}: line {line} is not valid TOML: ")


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "bottle.toml"
    path.write_bytes(b"# caf\xe9")
    with pytest.raises(ManifestError, match="is not UTF-8 text"):
        load_manifest(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="cannot be read: No such file or directory"):
        load_manifest(tmp_path / "bottle.toml")


@pytest.mark.parametrize("text", ["", "[tool.other]", "[tool]\nbottles = 5", "tool = 5"])
def test_a_pyproject_without_the_table_is_refused(refuse, text):
    error = refuse(text, name="pyproject.toml")
    assert error.problem == "there is no [tool.bottle] table."


class TestFind:
    """The nearest manifest upwards is the project's."""

    @pytest.fixture
    def deep(self, tmp_path):
        """Return a directory two levels below the root of a project."""
        deep = tmp_path / "project" / "tests" / "unit"
        deep.mkdir(parents=True)
        return deep

    def test_the_nearest_one_is_found(self, deep):
        (deep.parent.parent / "bottle.toml").touch()
        (deep.parent / "bottle.toml").touch()
        assert find_manifest(deep, deep.parent.parent) == deep.parent / "bottle.toml"

    def test_the_search_includes_where_it_stops(self, deep):
        (deep.parent.parent / "bottle.toml").touch()
        assert find_manifest(deep, deep.parent.parent) == deep.parent.parent / "bottle.toml"

    def test_the_search_does_not_go_beyond(self, deep):
        (deep.parent.parent / "bottle.toml").touch()
        assert find_manifest(deep, deep.parent) is None

    def test_it_may_start_at_a_file(self, deep):
        (deep / "bottle.toml").touch()
        (deep / "test_a.py").touch()
        assert find_manifest(deep / "test_a.py", deep) == deep / "bottle.toml"

    def test_a_start_elsewhere_is_searched_alone(self, deep, tmp_path):
        (tmp_path / "bottle.toml").touch()
        assert find_manifest(deep, tmp_path / "other") is None
        (deep / "bottle.toml").touch()
        assert find_manifest(deep, tmp_path / "other") == deep / "bottle.toml"

    def test_pyproject_counts_only_with_the_table(self, deep):
        (deep / "pyproject.toml").write_text("[tool.other]\nname = 'bottle'")
        assert find_manifest(deep, deep) is None
        (deep / "pyproject.toml").write_text("[tool.bottle]")
        assert find_manifest(deep, deep) == deep / "pyproject.toml"

    def test_bottle_toml_goes_before_pyproject(self, deep):
        (deep / "pyproject.toml").write_text("[tool.bottle]")
        (deep / "bottle.toml").touch()
        assert find_manifest(deep, deep) == deep / "bottle.toml"

    def test_a_broken_pyproject_that_mentions_no_bottle_is_not_our_concern(self, deep):
        (deep / "pyproject.toml").write_text("[tool.")
        assert find_manifest(deep, deep) is None

    def test_a_broken_pyproject_that_does_is_an_error(self, deep):
        (deep / "pyproject.toml").write_text("[tool.bottle")
        with pytest.raises(ManifestError, match="line 1 is not valid TOML"):
            find_manifest(deep, deep)


class TestSchema:
    """Editors check and complete a manifest by its JSON Schema."""

    def test_it_describes_every_key_of_an_agent_and_a_bottle(self):
        definitions = manifest_schema()["$defs"]
        for name in ("AgentTable", "BottleTable", "EgressTable", "ImageTable", "FileTable"):
            assert definitions[name]["additionalProperties"] is False
            for key, value in definitions[name]["properties"].items():
                assert value["description"], key

    def test_it_knows_the_human_forms(self):
        bottle = manifest_schema()["$defs"]["BottleTable"]["properties"]
        for key in ("memory", "disk", "timeout", "image"):
            types = {
                form.get("type") for choice in bottle[key]["anyOf"] for form in _flatten(choice)
            }
            assert "string" in types, key
        text = {"type": "string", "minLength": 1}
        assert text in bottle["files"]["additionalProperties"]["anyOf"]

    def test_it_names_its_dialect(self):
        assert manifest_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def _flatten(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a schema's alternatives."""
    return [form for part in schema.get("anyOf", [schema]) for form in part.get("anyOf", [part])]
