"""The agent image's Dockerfile and its build context."""

from __future__ import annotations

import re
import tarfile

import pytest

from pytest_bottle.backends.docker.agent_image import DIRECTORY
from pytest_bottle.backends.docker.agent_image import context
from pytest_bottle.backends.docker.agent_image import is_agent_image
from pytest_bottle.backends.docker.agent_image import versions
from pytest_bottle.backends.docker.agent_image import with_tag


@pytest.fixture(scope="module")
def instructions() -> list[str]:
    """The Dockerfile's instructions, each in a line."""
    text = re.sub(r"^#.*\n", "", (DIRECTORY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip()]


class TestDockerfile:
    def test_versions_are_exact(self, instructions):
        found = [re.fullmatch(r"ARG (\w+_VERSION)=(.*)", line) for line in instructions]
        defaults = {one[1]: one[2] for one in found if one}
        assert set(defaults) >= {"NODE_VERSION", "CLAUDE_VERSION", "CODEX_VERSION"}
        for value in defaults.values():
            assert re.fullmatch(r"\d+\.\d+\.\d+", value)

    def test_every_stage_stands_on_the_base(self, instructions):
        """Nothing else is pulled."""
        stages = {"${BASE}"}
        for line in instructions:
            if line.startswith("FROM "):
                source, _, name = line.removeprefix("FROM ").partition(" AS ")
                assert source.replace("${TRUST}", "build") in stages
                stages.add(name)

    def test_builders_without_buildkit_understand_it(self, instructions):
        text = (DIRECTORY / "Dockerfile").read_text()
        assert not re.search(r"# *syntax=|--mount|<<|--link|--chmod|TARGETARCH", text)
        assert all(re.match(r"[A-Z]+ ", line) for line in instructions)

    def test_an_ordinary_user_works_in_the_workspace(self, instructions):
        last = max(place for place, line in enumerate(instructions) if line.startswith("FROM"))
        assert "USER node" in instructions[last:]
        assert instructions.index("WORKDIR /workspace") > instructions.index("USER node")

    def test_package_lists_go_in_the_step_that_fetched_them(self, instructions):
        for line in instructions:
            if "apt-get" in line:
                assert "/var/lib/apt/lists/*" in line.partition("rm -rf")[2]

    def test_certificates_do_not_get_into_the_image(self, instructions):
        """Only into stages that the image does not stand on, unless TRUST says otherwise."""
        stage, with_certificates = "", set()
        for line in instructions:
            if line.startswith("FROM "):
                stage = line.partition(" AS ")[2]
            elif line.startswith("COPY certificates/"):
                with_certificates.add(stage)
        assert with_certificates == {"trust-image", "download"}
        assert not any("/certificates" in line for line in instructions if "--from=" in line)


class TestContext:
    def test_it_has_the_certificates(self):
        with tarfile.open(fileobj=context(b"PEM")) as archive:
            assert set(archive.getnames()) == {
                "Dockerfile",
                "certificates/README",
                "certificates/build.crt",
            }
            file = archive.extractfile("certificates/build.crt")
            assert file is not None
            assert file.read() == b"PEM"

    def test_without_any_the_directory_is_still_there(self):
        with tarfile.open(fileobj=context(b"")) as archive:
            assert set(archive.getnames()) == {"Dockerfile", "certificates/README"}

    def test_it_is_the_same_each_time(self):
        """Else no engine would use an earlier build's steps again."""
        assert context(b"PEM").read() == context(b"PEM").read()


@pytest.mark.parametrize(
    ("reference", "full"),
    [
        ("debian", "debian:latest"),
        ("debian:12", "debian:12"),
        ("host:5000/debian", "host:5000/debian:latest"),
        ("debian@sha256:0", "debian@sha256:0"),
    ],
)
def test_no_tag_is_latest(reference, full):
    assert with_tag(reference) == full


@pytest.mark.parametrize(
    ("reference", "ours"),
    [
        ("pytest-bottle-agent", True),
        ("pytest-bottle-agent:old", True),
        ("somebody/pytest-bottle-agent", False),
        ("pytest-bottle-agent-2", False),
    ],
)
def test_our_image_is_known_by_its_name(reference, ours):
    assert is_agent_image(reference) is ours


def test_what_an_image_holds_is_in_its_labels():
    labels = {"pytest-bottle.node": "24.1.0", "pytest-bottle.claude": "2.0.0", "other": "1"}
    assert versions(labels) == "claude 2.0.0, node 24.1.0"
