"""Images of the engine's, handed over to microVMs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_bottle.backends.smolmachines.archive import read_archive
from pytest_bottle.backends.smolmachines.images import convert
from pytest_bottle.backends.smolmachines.images import provide_image
from pytest_bottle.backends.smolmachines.smolvm import Smolvm
from pytest_bottle.backends.source import docker_images
from pytest_bottle.cli import main
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import ImageError
from pytest_bottle.plan import ImagePlan
from pytest_bottle.state.directory import STATE_VARIABLE
from tests.docker.conftest import IMAGE

pytestmark = pytest.mark.bottle_requires("docker")

NO_ENGINE = Smolvm(Path("/none/smolvm"))


@pytest.fixture(autouse=True)
def _no_images_yet(tmp_path_factory, monkeypatch):
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("state")))


@pytest.mark.slow
def test_an_image_becomes_an_archive(tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nUSER 1234\nENV CANARY=yes\n")
    plan = ImagePlan(dockerfile=tmp_path / "Dockerfile")
    reported: list[str] = []
    found = provide_image(NO_ENGINE, plan, reported.append)
    assert found.user == "1234"
    assert found.env["CANARY"] == "yes"
    assert found.image is not None
    assert found.key == read_archive(Path(found.image)).digest
    assert any("for microVMs: " in line for line in reported)
    asked_again: list[str] = []
    assert provide_image(NO_ENGINE, plan, asked_again.append) == found
    assert asked_again == []


def test_the_command_says_where_it_is(tmp_path, capsys):
    """A small image: one with nothing in it but a file."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    with docker_images() as images:
        built = images.build(tmp_path / "Dockerfile", (), print)
    capsys.readouterr()
    assert main(["image", "convert", built.id, "-o", str(tmp_path / "out.tar")]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{built.id}: {tmp_path}/out.tar (")
    assert read_archive(tmp_path / "out.tar").digest == built.id.partition(":")[2]
    assert main(["image", "ls"]) == 0
    assert f"of {built.id}, for microVMs" in capsys.readouterr().out


def test_what_the_engine_does_not_have_is_left_to_its_registry():
    assert convert("localhost:9/no-such:1", print).image == "localhost:9/no-such:1"


def test_a_dockerfile_that_fails_is_told(tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN exit 3\n")
    with pytest.raises(ImageError, match="its build failed at Step 2/2"):
        provide_image(NO_ENGINE, ImagePlan(dockerfile=tmp_path / "Dockerfile"), print)


def test_an_engine_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with pytest.raises(CapabilityError, match="there is no socket"), docker_images():
        raise AssertionError
