"""Plans: how the marker, the manifest and the defaults come together."""

from __future__ import annotations

import textwrap

import pytest

from pytest_bottle.errors import MarkerError
from pytest_bottle.lifecycle.prepare import requested_backend
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import EMPTY
from pytest_bottle.manifest import load_manifest
from pytest_bottle.plan import ImagePlan
from pytest_bottle.plan import Limits
from tests.unit.planning import NODE
from tests.unit.planning import plan
from tests.unit.planning import project
from tests.unit.planning import refuse
from tests.unit.planning import skill_home

__all__ = ["plan", "project", "refuse", "skill_home"]


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


@pytest.mark.parametrize(
    ("manifest", "marker", "golden"),
    [
        ("", {}, None),
        ("golden = true", {}, True),
        ("golden = true", {"golden": False}, False),
        ("golden = false", {"golden": True}, True),
    ],
)
def test_who_says_that_it_starts_from_a_golden_bottle(plan, manifest, marker, golden):
    """Nobody, the manifest, or the marker; what it is, is the same."""
    result = plan(f"[bottles.dev]\n{manifest}", bottle="dev", **marker)
    assert result.golden is golden
    assert result.digest == plan("[bottles.dev]", bottle="dev").digest


class TestNetwork:
    """What it may reach past its door is part of what it is."""

    TEXT = "[bottles.dev]\negress.network = ['docs.python.org', '192.0.2.7']"

    def test_without_a_list_there_is_none(self, plan):
        assert plan("[bottles.dev]", bottle="dev").network == ()

    def test_the_marker_replaces_the_manifests(self, plan):
        assert plan(self.TEXT, bottle="dev").network == ("192.0.2.7", "docs.python.org")
        assert plan(self.TEXT, bottle="dev", network=["192.0.2.8"]).network == ("192.0.2.8",)
        assert plan(self.TEXT, bottle="dev", network=[]).network == ()

    def test_bottles_with_different_lists_are_different(self, plan):
        one = plan(bottle="dev", text=self.TEXT)
        assert one.digest == plan(network=["docs.python.org", "192.0.2.7", "192.0.2.7/32"]).digest
        assert one.digest != plan(network=["192.0.2.7"]).digest


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

    def test_its_skills_go_where_its_kind_wants_them(self, plan):
        assert plan(self.TEXT, agent="reviewer").agent.skills_dir == ".command/skills"

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
