"""The agent image as `pytest-bottle image build` made it."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest

from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.bubblewrap.backend import BubblewrapBackend
from pytest_bottle.backends.docker.agent_image import AGENT_IMAGE
from pytest_bottle.backends.docker.agent_image import VERSION_LABELS
from pytest_bottle.cli import main
from pytest_bottle.plan import ImagePlan
from tests.docker.conftest import make_plan
from tests.docker.conftest import run
from tests.docker.conftest import sh

pytestmark = pytest.mark.bottle_requires("docker", "agent-image")


@contextlib.contextmanager
def launched(backend, state_dir):
    """Launch a sandbox without a network, in the agent image."""
    plan = make_plan(state_dir, image=ImagePlan(reference=AGENT_IMAGE))
    backend.prepare(plan)
    sandbox = backend.launch(plan)
    try:
        yield sandbox
    finally:
        sandbox.stop()
        backend.settle(20)


@pytest.fixture(scope="module")
def agent_box(backend, tmp_path_factory):
    with launched(backend, tmp_path_factory.mktemp("state")) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def labels(backend) -> dict[str, str]:
    found = backend._engine().inspect_image(AGENT_IMAGE)
    assert found is not None
    return dict(found["Config"]["Labels"])


def test_an_ordinary_user_owns_home_and_workspace(agent_box):
    assert agent_box.guest.user == "node"
    assert (agent_box.guest.uid, agent_box.guest.home) == (1000, "/home/node")
    owners = run(agent_box, "stat", "-c", "%U %u %n", "/home/node", "/workspace").stdout
    assert owners.splitlines() == ["node 1000 /home/node", "node 1000 /workspace"]
    assert sh(agent_box, "touch ~/mine /workspace/mine").success


@pytest.mark.parametrize("program", ["claude", "codex", "node"])
def test_programs_have_the_versions_of_the_labels(agent_box, labels, program):
    done = run(agent_box, program, "--version").check()
    assert labels[VERSION_LABELS[program]] in done.stdout


@pytest.mark.parametrize(
    "argv",
    [
        ("git", "--version"),
        ("curl", "--version"),
        ("rg", "--version"),
        ("python", "-m", "pytest", "--version"),
        ("npm", "--version"),
        ("ps", "--version"),
    ],
    ids=lambda argv: argv[0],
)
def test_what_agents_use_is_there(agent_box, argv):
    assert run(agent_box, *argv).success


def test_the_build_left_neither_caches_nor_certificates(backend, tmp_path):
    script = (
        "ls -A /var/lib/apt/lists /var/cache/apt /tmp /usr/local/share/ca-certificates;"
        "ls -d /certificates /opt/node /opt/claude /root/.npm ~/.npm 2>/dev/null"
    )
    with launched(backend, tmp_path) as untouched:
        words = set(sh(untouched, script).stdout.split())
    assert {word for word in words if not word.endswith(":")} <= {"partial"}


def test_the_native_program_is_there_once(agent_box):
    """Its package links it to a second place: two copies would be several hundred megabytes."""
    done = sh(agent_box, "find / -xdev -size +100M -name 'claude*' -printf '%i\\n' 2>/dev/null")
    assert len(set(done.stdout.split())) == 1


@pytest.fixture
def public_directory():
    """A directory that root's sandboxes reach, which run as another user."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.slow
@pytest.mark.bottle_requires("bubblewrap")
def test_exported_it_is_an_image_for_bubblewrap(public_directory, tmp_path):
    root = public_directory / "agent"
    assert main(["image", "export", AGENT_IMAGE, str(root)]) == 0
    backend = BubblewrapBackend()
    plan = make_plan(tmp_path, backend="bubblewrap", image=ImagePlan(reference=str(root)))
    try:
        backend.prepare(plan)
        sandbox = backend.launch(plan)
        try:
            assert sandbox.guest.user == "node"
            for program in ("claude", "codex", "node"):
                request = ExecRequest(argv=(program, "--version"), timeout=60)
                assert sandbox.exec(request).success
        finally:
            sandbox.stop()
    finally:
        backend.shutdown()
