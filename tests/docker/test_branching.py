"""The images that branches of containers start from: whose they are, and their end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytest_bottle
from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.base import Resource
from pytest_bottle.backends.docker.backend import DockerBackend
from pytest_bottle.backends.docker.branching import BRANCH_KIND
from pytest_bottle.backends.docker.branching import branch_image
from pytest_bottle.backends.registry import remove_resource
from pytest_bottle.errors import BranchUnsupportedError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.plan import BottlePlan
from pytest_bottle.plan import ImagePlan

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.bottle_requires("docker")


@pytest.fixture
def backend() -> Iterator[DockerBackend]:
    backend = DockerBackend()
    yield backend
    backend.settle(30)
    backend.shutdown()


@pytest.fixture
def plans(tmp_path, request):
    """Return a function that makes plans."""

    def make(number: int, **fields) -> BottlePlan:
        state_dir = tmp_path / str(number)
        state_dir.mkdir()
        return BottlePlan(
            name=f"bottle-branching-{number}-{request.node.name.replace('_', '-')[:30]}",
            run_id="branching",
            worker="main",
            backend="docker",
            state_dir=state_dir,
            **fields,
        )

    return make


def image_id(name: str) -> str:
    """Return a bottle's image, by its id; nothing where there is none."""
    command = ["docker", "images", "--no-trunc", "--quiet", branch_image(name)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_image_is_planned_and_goes_with_its_branch(backend, plans):
    """It is in the journal before it is made."""
    source = plans(1)
    plan = plans(2, branch_of=source.name)
    assert [one.kind for one in backend.planned_resources(source)] == ["docker:container"]
    kinds = [one.kind for one in backend.planned_resources(plan)]
    assert kinds == ["docker:container", BRANCH_KIND]
    sandbox = backend.launch(source)
    branch = backend.branch(plan, sandbox.reference())
    assert image_id(plan.name)
    sandbox.stop()
    branch.stop()
    backend.settle(30)
    assert not image_id(plan.name)


def test_one_commit_serves_all_branches_of_a_golden_container(backend, plans):
    """Each has a tag of its own, and the last one takes the files with it."""
    golden = plans(1, template=True, shared=True)
    sandbox = backend.launch(golden)
    branches = [plans(number, branch_of=golden.name) for number in (2, 3)]
    started = [backend.branch(plan, sandbox.reference()) for plan in branches]
    images = {image_id(plan.name) for plan in (golden, *branches)}
    assert len(images) == 1
    sandbox.stop()
    started[0].stop()
    backend.settle(30)
    assert [image_id(plan.name) for plan in (golden, *branches)] == ["", "", *images]
    assert started[1].exec(ExecRequest(argv=("true",))).success
    started[1].stop()
    backend.settle(30)
    inspect = ["docker", "image", "inspect", *images]
    assert subprocess.run(inspect, capture_output=True, check=False).returncode != 0


def test_the_image_of_the_dead_is_found_and_removed(plans):
    """Its maker was killed; another process finds it by its label, and removes it by its name."""
    source = plans(1)
    plan = plans(2, branch_of=source.name)
    script = (
        "import json, os, signal, sys; sys.path[:0] = [sys.argv[1]]\n"
        "from pathlib import Path\n"
        "from pytest_bottle.backends.docker.backend import DockerBackend\n"
        "from pytest_bottle.plan import BottlePlan\n"
        "plans = [BottlePlan(run_id='branching', worker='main', backend='docker',\n"
        "    state_dir=Path(directory), name=name, branch_of=source)\n"
        "    for directory, name, source in json.loads(sys.argv[2])]\n"
        "backend = DockerBackend()\n"
        "backend.branch(plans[1], backend.launch(plans[0]).reference())\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    described = [(str(one.state_dir), one.name, one.branch_of) for one in (source, plan)]
    package = str(Path(pytest_bottle.__file__).parents[1])
    command = [sys.executable, "-c", script, package, json.dumps(described)]
    subprocess.run(command, check=False, timeout=60)
    assert image_id(plan.name)
    backend = DockerBackend()
    found = {resource.id: resource for resource, _ in backend.orphans() if is_image(resource)}
    backend.shutdown()
    planned = DockerBackend().planned_resources(plan)
    assert found[plan.name] in planned
    for resource in planned:
        remove_resource(resource)
        remove_resource(resource)  # Absent already is fine.
    assert not image_id(plan.name)


def is_image(resource: Resource) -> bool:
    return resource.kind == BRANCH_KIND


def test_a_source_that_goes_while_it_is_branched_is_lost(backend, plans, monkeypatch):
    """It ran when it was looked at, and the engine was taking it away when it was committed."""
    source = plans(1)
    sandbox = backend.launch(source)
    engine = backend._engine()
    looks = [engine.inspect(source.name)]
    inspect = type(engine).inspect
    sandbox.stop()
    backend.settle(30)
    monkeypatch.setattr(
        type(engine),
        "inspect",
        lambda own, name: looks.pop() if looks and name == source.name else inspect(own, name),
    )
    with pytest.raises(SandboxLostError, match=f"{source.name} is gone"):
        backend.branch(plans(2, branch_of=source.name), sandbox.reference())
    assert not looks


def test_a_volume_is_refused(backend, plans, tmp_path):
    """No commit takes what is in it."""
    dockerfile = tmp_path / "Dockerfile"
    base = BottlePlan(name="x", run_id="x", worker="x", backend="docker", state_dir=tmp_path)
    backend.prepare(base)
    reference = backend._image(backend._engine(), base).reference
    dockerfile.write_text(f"FROM {reference}\nVOLUME /kept\n")
    source = plans(1, image=ImagePlan(dockerfile=dockerfile))
    sandbox = backend.launch(source)
    plan = plans(2, image=source.image, branch_of=source.name)
    with pytest.raises(BranchUnsupportedError, match="/kept in a volume"):
        backend.branch(plan, sandbox.reference())
    sandbox.stop()
    assert not image_id(plan.name)
