"""Specs: what a marker or a factory call may ask for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_bottle.errors import MarkerError
from pytest_bottle.lifecycle.spec import ARGUMENTS
from pytest_bottle.lifecycle.spec import SCOPES
from pytest_bottle.lifecycle.spec import Spec
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.plan import FilePlan
from pytest_bottle.plan import ImagePlan


def refusal(**arguments: object) -> MarkerError:
    """Return the error that the arguments raise."""
    with pytest.raises(MarkerError) as caught:
        spec_from_arguments("test_a.py::test_b", **arguments)
    return caught.value


def test_without_arguments_all_is_left_to_the_manifest():
    assert spec_from_arguments() == Spec()


def test_every_argument_becomes_a_field():
    spec = spec_from_arguments(
        agent="reviewer",
        bottle="dev",
        backend="docker",
        scope="module",
        image="debian",
        workdir="/srv/",
        user=1000,
        env={"A": "1"},
        secrets=["API_KEY"],
        cpus=2,
        memory="1GiB",
        pids=10,
        disk=4096,
        timeout="2m",
        golden=True,
        egress=["Docs.Python.org", "pypi.org:8443"],
        network=["192.0.2.7"],
        files={"a.txt": {"text": "hello"}},
        prompt="Be terse.",
        skills=["sql-audit"],
        model="opus",
        args=["--fast"],
    )
    assert spec == Spec(
        agent="reviewer",
        bottle="dev",
        backend="docker",
        scope="module",
        image=ImagePlan(reference="debian"),
        workdir="/srv",
        user="1000",
        env=(("A", "1"),),
        secrets=("API_KEY",),
        cpus=2.0,
        memory=1024**3,
        pids=10,
        disk=4096,
        timeout=120.0,
        golden=True,
        egress=("docs.python.org", "pypi.org:8443"),
        network=("192.0.2.7",),
        files=(FilePlan(guest="a.txt", text="hello"),),
        prompt="Be terse.",
        skills=("sql-audit",),
        model="opus",
        args=("--fast",),
    )


@pytest.mark.parametrize(
    ("arguments", "overrides"),
    [
        ({}, False),
        ({"bottle": "dev", "backend": "docker", "scope": "module", "golden": True}, False),
        ({"agent": "reviewer", "files": {}}, False),
        ({"files": {"a.txt": {"text": "a"}}}, True),
        ({"skills": []}, True),
        ({"egress": ["pypi.org"]}, True),
    ],
)
def test_a_bottle_of_the_manifest_as_it_stands_there_overrides_nothing(arguments, overrides):
    assert spec_from_arguments("test_a", **arguments).overrides is overrides


def test_the_arguments_are_the_fields_of_a_spec():
    assert {*ARGUMENTS, "node"} == set(Spec.__dataclass_fields__)


def test_none_leaves_an_argument_to_the_manifest():
    assert spec_from_arguments(**dict.fromkeys(ARGUMENTS)) == Spec()


def test_an_empty_prompt_is_not_the_same_as_none():
    assert spec_from_arguments(prompt="", skills=[], args=[]) == Spec(prompt="", skills=(), args=())


def test_equal_wishes_of_different_tests_are_equal():
    """This is how tests of one scope share a bottle."""
    one, other = spec_from_arguments("test_a", pids=1), spec_from_arguments("test_b", pids=1)
    assert one == other
    assert hash(one) == hash(other)


def test_the_node_is_kept_for_errors():
    assert spec_from_arguments("test_a.py::test_b").node == "test_a.py::test_b"


def test_an_unknown_argument_gets_the_nearest_known_one():
    assert str(refusal(memroy="1G")) == (
        "test_a.py::test_b: unknown argument 'memroy'. Did you mean 'memory'?"
    )


def test_node_is_not_an_argument_of_a_marker():
    assert "unknown argument 'node'" in str(refusal(node="x"))


@pytest.mark.parametrize("scope", SCOPES)
def test_all_scopes_are_allowed(scope):
    assert spec_from_arguments(scope=scope).scope == scope


def test_an_unknown_scope_gets_the_nearest_known_one():
    assert str(refusal(scope="modul")) == (
        "test_a.py::test_b: scope= must be one of function, class, module, session, run. "
        "Did you mean 'module'?"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"agent": ""}, "agent= must be a string that is not empty."),
        ({"bottle": 5}, "bottle= must be a string that is not empty."),
        ({"workdir": "src"}, "workdir= must be an absolute path"),
        ({"user": True}, "user= must be the name or the uid"),
        ({"env": ["A=1"]}, "env= must map names to strings."),
        ({"env": {"A": 1}}, "env= must be a string without NUL characters."),
        ({"env": {"A B": "1"}}, "env= must be the name of an environment variable"),
        ({"cpus": 0}, "cpus= must be a number above zero."),
        ({"cpus": True}, "cpus= must be a number above zero."),
        ({"cpus": float("inf")}, "cpus= must be a number above zero."),
        ({"memory": "lots"}, "memory= must be a size above zero"),
        ({"pids": 1.5}, "pids= must be a whole number above zero."),
        ({"timeout": 0}, "timeout= must be a time above zero"),
        ({"golden": 1}, "golden= must be True or False."),
        ({"egress": ["x:0"]}, "egress= must have a port between 1 and 65535"),
        ({"network": ["x:1"]}, "network= must not have a port: write the host or address only"),
        ({"skills": ["../x"]}, "skills= must be a skill's name"),
        ({"image": 5}, "image= must be a mapping."),
        ({"image": {"args": {}}}, "image= must be a string, or have a `dockerfile`"),
        ({"image": {"dockerfil": "x"}}, "image= has an unknown key 'dockerfil'. Did you mean"),
        ({"files": ["a"]}, "files= must map guest paths to host paths"),
        ({"files": {"../a": "b"}}, "files= must be a path in the guest, without `..`."),
        ({"files": {"a": {}}}, "files= must have exactly one of `source` and `text` for 'a'."),
        ({"files": {"a": {"text": "", "mode": 644}}}, "files= must be permission bits in octal"),
        ({"files": {"a": {"text": "", "mod": 1}}}, "files= has an unknown key 'mod'. Did you"),
        ({"files": {"a": 5}}, "files= must be a mapping."),
        ({"files": {"a": ""}}, "files= must be a path on the host."),
    ],
)
def test_a_value_that_cannot_be_is_refused(arguments, message):
    assert str(refusal(**arguments)).startswith(f"test_a.py::test_b: {message}")


@pytest.mark.parametrize("name", ["skills", "secrets", "args", "egress", "network"])
def test_a_string_for_a_list_is_told_so(name):
    assert str(refusal(**{name: "one"})) == (
        f"test_a.py::test_b: {name}= must be a list of strings. Write {name}=[...] even for one."
    )


def test_host_paths_may_be_path_objects():
    spec = spec_from_arguments(
        image=Path("docker/Dockerfile"), files={"a": Path("b"), "c": {"source": Path("d")}}
    )
    assert spec.image == ImagePlan(reference="docker/Dockerfile")
    assert [file.source for file in spec.files] == [Path("b"), Path("d")]


def test_an_image_may_be_a_dockerfile_with_arguments():
    spec = spec_from_arguments(image={"dockerfile": "Dockerfile", "args": {"BASE": "debian"}})
    assert spec.image == ImagePlan(dockerfile=Path("Dockerfile"), build_args=(("BASE", "debian"),))


def test_checking_a_marker_does_not_import_pydantic():
    """A suite is collected before anybody asks for a bottle."""
    code = "import sys, pytest_bottle.lifecycle.spec; print('pydantic' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout == "False\n"
