"""What a container is, from within and from the engine's side."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time

import pytest

from pytest_bottle.backends.base import Resource
from pytest_bottle.backends.docker.backend import DockerBackend
from pytest_bottle.backends.docker.container import CONTAINER_KIND
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import ImageError
from pytest_bottle.errors import LaunchError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.errors import TeardownError
from pytest_bottle.plan import ImagePlan
from pytest_bottle.plan import Limits
from pytest_bottle.state.owner import Owner
from tests.docker.conftest import IMAGE
from tests.docker.conftest import make_plan
from tests.docker.conftest import run
from tests.docker.conftest import sh


def names(backend: DockerBackend) -> list[str]:
    return [resource.id for resource, _ in backend.orphans()]


def test_the_guest_tells_who_it_is(launch):
    guest = launch().guest
    assert (guest.user, guest.uid, guest.home, guest.workdir) == ("root", 0, "/root", "/workspace")


@pytest.mark.parametrize("bare", [False, True], ids=["python", "bare"])
def test_an_ordinary_user_owns_the_working_directory(launch, bare_image, bare):
    image = {"image": bare_image} if bare else {}
    sandbox = launch(user="nobody", workdir="/srv/work", **image)
    result = sh(sandbox, "id -un; pwd; touch file && stat -c %U file .; cat /etc/hosts")
    assert result.stdout.splitlines()[:4] == ["nobody", "/srv/work", "nobody", "nobody"]
    assert "localhost" in result.stdout
    assert sandbox.guest.user == "nobody"


def test_there_is_no_network_but_the_loopback(launch):
    sandbox = launch()
    assert sh(sandbox, "ls /sys/class/net; cat /etc/resolv.conf").stdout == "lo\n"
    script = (
        "import socket; s = socket.create_server(('localhost', 0));"
        "socket.create_connection(s.getsockname()); print('open')"
    )
    assert run(sandbox, "python3", "-c", script).stdout == "open\n"
    script = "import socket; socket.create_connection(('1.1.1.1', 53), 2)"
    assert "unreachable" in run(sandbox, "python3", "-c", script).stderr


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_no_capability_is_left(launch, user):
    status = sh(launch(), "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status", user=user)
    facts = dict(line.split(":\t") for line in status.stdout.splitlines())
    assert {facts[f"Cap{name}"] for name in ("Eff", "Prm", "Bnd", "Inh", "Amb")} == {"0" * 16}
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")


def test_limits_bind(launch):
    sandbox = launch(limits=Limits(memory=256 << 20, pids=40, cpus=0.5, disk=1 << 30))
    hog = run(sandbox, "python3", "-c", "x = bytearray(1 << 30)")
    assert hog.returncode == 137
    bomb = sh(sandbox, "for i in $(seq 200); do sleep 0.5 & done", timeout=20)
    assert bomb.stderr
    time.sleep(0.7)
    assert sh(sandbox, "echo still here | cat").success


def test_its_environment_and_hostname_are_the_plans(launch):
    sandbox = launch(env=(("COLOUR", "blue"),), name="bottle-named-main-1")
    assert sh(sandbox, "hostname; echo $COLOUR $LANG").stdout == (
        "bottle-named-main-1\nblue C.UTF-8\n"
    )


def test_stopping_leaves_nothing(backend, launch):
    sandbox = launch()
    name = sandbox.reference()["name"]
    assert name in names(backend)
    sandbox.stop()
    sandbox.stop()
    backend.settle(10)
    assert name not in names(backend)


def test_a_stopped_sandbox_says_so(launch):
    sandbox = launch()
    sandbox.stop()
    with pytest.raises(SandboxLostError):
        run(sandbox, "true")
    with pytest.raises(SandboxLostError):
        run(sandbox, "true", user="nobody")


def test_a_container_carries_its_owner(backend, launch):
    sandbox = launch()
    owners = {resource.id: owner for resource, owner in backend.orphans()}
    assert Owner.decode(owners[sandbox.reference()["name"]]) == Owner.current()


def test_a_planned_container_can_be_removed_again_and_again(backend, launch, tmp_path):
    sandbox = launch(name="bottle-removed-main-1")
    [resource] = backend.planned_resources(make_plan(tmp_path, name="bottle-removed-main-1"))
    backend.remove(resource)
    assert resource.id not in names(backend)
    backend.remove(resource)
    with pytest.raises(SandboxLostError, match="bottle-removed-main-1 is gone"):
        run(sandbox, "true")


def test_a_container_killed_by_the_engine_is_a_lost_sandbox(backend, launch):
    sandbox = launch()
    backend._engine().api.kill(sandbox.reference()["name"])
    with pytest.raises(SandboxLostError, match="killed through the engine"):
        run(sandbox, "sleep", "5")


@pytest.mark.parametrize("bare", [False, True], ids=["python", "bare"])
def test_another_process_attaches_to_what_was_detached(backend, launch, bare_image, bare, tmp_path):
    image = {"image": bare_image} if bare else {}
    sandbox = launch(shared=True, **image)
    sandbox.detach()
    reference = json.loads(json.dumps(sandbox.reference()))
    sandbox.close()
    sh(other := DockerBackend().attach(make_plan(tmp_path, **image), reference), "echo 1 > f")
    assert run(other, "cat", "f").stdout == "1\n"
    other.close()
    last = backend.attach(make_plan(tmp_path, **image), reference)
    assert run(last, "cat", "f").stdout == "1\n"
    last.stop()
    backend.settle(10)
    assert reference["name"] not in names(backend)


def test_attaching_to_nothing_is_a_lost_sandbox(backend, launch, tmp_path):
    sandbox = launch()
    reference = sandbox.reference()
    sandbox.stop()
    backend.settle(10)
    with pytest.raises(SandboxLostError, match="is gone"):
        backend.attach(make_plan(tmp_path), reference)


def test_a_name_that_is_taken_is_left_alone(backend, launch, tmp_path):
    sandbox = launch()
    with pytest.raises(LaunchError, match="already in use"):
        backend.launch(make_plan(tmp_path, name=sandbox.reference()["name"]))
    assert run(sandbox, "true").success


def test_a_user_that_the_image_has_not_is_found_before_launch(backend, tmp_path):
    with pytest.raises(CapabilityError, match="no user 'mallory'"):
        backend.prepare(make_plan(tmp_path, user="mallory"))


def test_an_image_that_does_not_exist_says_what_the_engine_said(backend, tmp_path):
    plan = make_plan(tmp_path, image=ImagePlan(reference="localhost:1/none:nothing"))
    with pytest.raises(ImageError, match=r"localhost:1/none:nothing.*cannot be pulled"):
        backend.prepare(plan)


def test_a_dockerfile_is_built_once(tmp_path):
    word = secrets.token_hex(4)
    (tmp_path / "context").mkdir()
    dockerfile = tmp_path / "context" / "Dockerfile"
    dockerfile.write_text(f"FROM {IMAGE}\nARG WORD\nRUN echo $WORD > /word\nENTRYPOINT /none\n")
    image = ImagePlan(dockerfile=dockerfile, build_args=(("WORD", word),))
    plan = make_plan(tmp_path, image=image)
    backend, lines = DockerBackend(), list[str]()
    backend.prepare(plan, lines.append)
    sandbox = backend.launch(plan)
    assert run(sandbox, "cat", "/word").stdout == f"{word}\n"
    sandbox.stop()
    again, more = DockerBackend(), list[str]()
    again.prepare(plan, more.append)
    assert any(line.startswith("Step 3/4") for line in lines)
    assert more == []
    backend.settle(10)


def test_a_failing_build_shows_its_step_and_its_last_output(backend, tmp_path):
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM {IMAGE}\nRUN echo the-reason; exit 7\n")
    plan = make_plan(tmp_path, image=ImagePlan(dockerfile=dockerfile))
    with pytest.raises(ImageError, match=r"(?s)Step 2/2 : RUN.*returned 7.*the-reason"):
        backend.prepare(plan)


@pytest.mark.parametrize("bare", [False, True], ids=["python", "bare"])
def test_the_death_of_the_process_that_launched_it_removes_it(backend, bare_image, bare, tmp_path):
    name = make_plan(tmp_path).name
    image = bare_image if bare else ImagePlan(reference=IMAGE)
    program = f"""
import time
from pathlib import Path
from tests.docker.conftest import DockerBackend, ImagePlan, make_plan
backend = DockerBackend()
image = ImagePlan(
    reference={image.reference!r},
    dockerfile={image.dockerfile is not None} and Path({str(image.dockerfile)!r}) or None,
    build_args={image.build_args!r},
)
sandbox = backend.launch(make_plan(Path({str(tmp_path)!r}), name={name!r}, image=image))
print("up", flush=True)
time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    assert name in names(backend)
    child.kill()
    child.wait()
    child.stdout.close()
    deadline = time.monotonic() + 5
    while name in names(backend) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert name not in names(backend)


def test_resources_of_an_engine_that_is_away_cannot_be_removed(backend):
    resource = Resource(kind=CONTAINER_KIND, id="x", data={"host": "unix:///nowhere.sock"})
    with pytest.raises(TeardownError, match="there is no socket"):
        backend.remove(resource)
