"""The command `pytest-bottle image`, on a Dockerfile that takes no time to build."""

from __future__ import annotations

import contextlib
import os

import pytest

from pytest_bottle.backends.docker import agent_image
from pytest_bottle.backends.docker.backend import DockerBackend
from pytest_bottle.backends.docker.endpoint import current_endpoint
from pytest_bottle.backends.docker.engine import Engine
from pytest_bottle.backends.docker.engine import EngineError
from pytest_bottle.backends.docker.engine import translated
from pytest_bottle.cli import main
from pytest_bottle.plan import ImagePlan
from tests.docker.conftest import IMAGE
from tests.docker.conftest import make_plan
from tests.docker.conftest import sh

pytestmark = pytest.mark.bottle_requires("docker")

NAME = f"pytest-bottle-test-{os.getpid()}"
TAG = f"{NAME}:latest"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----\n"
DOCKERFILE = """\
ARG BASE
FROM ${BASE} AS download
LABEL pytest-bottle.image=agent-stage
COPY certificates/ /certificates/
RUN cat /certificates/*.crt || echo no certificates
FROM ${BASE}
ARG CLAUDE_VERSION=1.2.3
ARG FAIL=false
RUN echo output of the step; ! $FAIL
LABEL pytest-bottle.image=agent pytest-bottle.claude=$CLAUDE_VERSION
USER 1000
"""


@pytest.fixture(scope="module")
def engine():
    with contextlib.closing(Engine(current_endpoint())) as engine:
        yield engine


@pytest.fixture(autouse=True)
def source(monkeypatch, tmp_path, engine):
    """Build another Dockerfile than the package's, and remove what comes of it."""
    source = tmp_path / "source"
    (source / "certificates").mkdir(parents=True)
    (source / "certificates" / "README").touch()
    (source / "Dockerfile").write_text(DOCKERFILE)
    monkeypatch.setattr(agent_image, "DIRECTORY", source)
    yield source
    with contextlib.suppress(EngineError), translated():
        engine.api.remove_image(TAG, force=True)


def build(*options: str) -> int:
    return main(["image", "build", "--base", IMAGE, "--tag", NAME, *options])


def listed(capsys) -> dict[str, str]:
    capsys.readouterr()
    assert main(["image", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    return {line.split()[0]: line for line in lines}


def stages(engine: Engine) -> list[str]:
    found = engine.api.images(filters={"label": "pytest-bottle.image=agent-stage"}, quiet=True)
    return [str(image) for image in found]


class TestBuild:
    def test_steps_are_shown_and_the_image_is_there(self, capsys, engine):
        assert build("--build-arg", "CLAUDE_VERSION=4.5.6") == 0
        captured = capsys.readouterr()
        assert "Step 1/" in captured.err
        assert "output of the step" in captured.err
        assert captured.out.startswith(f"built {TAG} in ")
        assert captured.out.endswith(": claude 4.5.6\n")
        assert engine.inspect_image(TAG) is not None

    def test_of_its_stages_nothing_is_left(self, engine):
        before = stages(engine)
        assert build() == 0
        assert set(stages(engine)) <= set(before)

    def test_an_image_takes_its_predecessors_place(self, engine):
        build()
        first = engine.inspect_image(TAG)
        build("--build-arg", "CLAUDE_VERSION=4.5.6")
        second = engine.inspect_image(TAG)
        assert first is not None
        assert second is not None
        assert first["Id"] != second["Id"]
        assert engine.inspect_image(first["Id"]) is None

    def test_certificates_are_for_the_build_alone(self, capsys, tmp_path, backend):
        (tmp_path / "ca.pem").write_text(CERTIFICATE)
        assert build("--ca-file", str(tmp_path / "ca.pem")) == 0
        assert "canary" in capsys.readouterr().err
        plan = make_plan(tmp_path, image=ImagePlan(reference=NAME))
        backend.prepare(plan)
        sandbox = backend.launch(plan)
        try:
            assert sh(sandbox, "ls /certificates").returncode != 0
        finally:
            sandbox.stop()
            backend.settle(20)
            main(["image", "rm", NAME])

    def test_a_failed_step_is_named_with_its_output(self, capsys, engine):
        assert build("--build-arg", "FAIL=true") == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        words = captured.err[captured.err.index("pytest-bottle: ") :]
        assert "its build failed at Step 9/" in words
        assert ": RUN echo output of the step; ! $FAIL: it returned 1." in words
        assert words.endswith("\n  output of the step\n")
        assert engine.inspect_image(TAG) is None

    def test_a_base_that_is_not_there_is_named(self, capsys):
        assert main(["image", "build", "--tag", NAME, "--base", "localhost:9/no-such"]) == 1
        assert "its build failed at Step 2/" in capsys.readouterr().err

    def test_a_name_that_cannot_be_one_is_refused(self, capsys):
        assert main(["image", "build", "--base", IMAGE, "--tag", "Not A Name"]) == 1
        assert "invalid" in capsys.readouterr().err


class TestLs:
    def test_an_image_is_shown_with_what_it_holds(self, capsys):
        build()
        line = listed(capsys)[TAG]
        assert line.split()[1] == "agent"
        assert line.endswith("claude 1.2.3")

    def test_others_are_not_shown(self, capsys, engine):
        """Nor those that inherit our labels."""
        build()
        with translated():
            engine.api.tag(TAG, f"{NAME}-other", "latest")
        try:
            names = listed(capsys)
        finally:
            engine.api.remove_image(f"{NAME}-other")
        assert TAG in names
        assert not {IMAGE, f"{NAME}-other:latest"} & set(names)


class TestRm:
    def test_an_image_goes_with_what_stands_upon_it(self, capsys, engine, tmp_path):
        build()
        backend = DockerBackend()
        backend.prepare(make_plan(tmp_path, image=ImagePlan(reference=NAME)))
        backend.shutdown()
        (ready,) = [name for name, line in listed(capsys).items() if f"from {NAME}" in line]
        assert main(["image", "rm", NAME]) == 0
        assert capsys.readouterr().out == (
            f"removed {ready}\nremoved {TAG}\n2 removed, 0 not removed\n"
        )
        assert engine.inspect_image(TAG) is None
        assert engine.inspect_image(ready) is None

    def test_one_in_use_stays_and_it_is_told(self, capsys, engine):
        build()
        with translated():
            container = engine.api.create_container(TAG, ["true"])["Id"]
        try:
            capsys.readouterr()
            assert main(["image", "rm", NAME]) == 1
        finally:
            engine.remove(container, deadline=10)
        captured = capsys.readouterr()
        assert captured.err.startswith(f"not removed {TAG}: conflict")
        assert captured.out == "0 removed, 1 not removed\n"
        assert engine.inspect_image(TAG) is not None

    @pytest.mark.parametrize("name", [IMAGE, "no-such-image"])
    def test_what_is_not_ours_is_refused(self, capsys, engine, name):
        assert main(["image", "rm", name]) == 1
        assert "has no such image of pytest-bottle's" in capsys.readouterr().err
        assert engine.inspect_image(IMAGE) is not None


class TestExport:
    def test_the_files_of_an_image_are_written(self, capsys, tmp_path, engine, source):
        (source / "Dockerfile").write_text(
            "FROM scratch\nCOPY --chown=1000:1000 certificates/ /etc/\n"
            "LABEL pytest-bottle.image=agent\n"
        )
        (source / "certificates" / "README").write_text("of the image")
        build()
        capsys.readouterr()
        assert main(["image", "export", NAME, str(tmp_path / "root")]) == 0
        captured = capsys.readouterr()
        assert captured.out == f"exported {NAME} to {tmp_path}/root (12 B)\n"
        file = tmp_path / "root/etc/README"
        assert file.read_text() == "of the image"
        assert file.stat().st_uid == os.geteuid()
        assert engine.api.containers(all=True, filters={"ancestor": NAME}) == []

    def test_an_image_that_is_not_there_is_named(self, capsys, tmp_path):
        assert main(["image", "export", "no-such-image", str(tmp_path / "root")]) == 1
        assert "`docker pull no-such-image` gets it" in capsys.readouterr().err
        assert list(tmp_path.glob("*root*")) == []

    def test_an_agent_image_that_is_not_there_has_to_be_built(self, capsys, tmp_path):
        name = "pytest-bottle-agent:no-such-tag"
        assert main(["image", "export", name, str(tmp_path / "root")]) == 1
        assert "`pytest-bottle image build`" in capsys.readouterr().err

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_place_that_cannot_be_written_is_named(self, capsys):
        build()
        assert main(["image", "export", NAME, "/no-such-directory"]) == 1
        assert "cannot be written: Permission denied" in capsys.readouterr().err
