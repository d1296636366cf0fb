"""The git gate where the guest is a container, which has an image's git and an ordinary user."""

from __future__ import annotations

import pytest

from pytest_bottle.backends.source import AGENT_IMAGE
from tests.git.conftest import SECRET

pytestmark = [
    pytest.mark.bottle_requires("docker", "agent-image", "git"),
    pytest.mark.bottle(bottle="box", backend="docker"),
]


@pytest.fixture
def remotes():
    return f'image = "{AGENT_IMAGE}"\n[bottles.box.git.remotes.origin]\n'


def test_pushes_are_held_there_too(bottle, sh, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "app.py").write_text("print('hello')\n")
    bottle.git.seed(tmp_path / "project")
    sh("git clone -q {} app", bottle.git.url())
    sh("cd app; echo {} > key; git add .; git commit -qm Key", SECRET)
    assert "(secret in key:1 in commit" in sh("git -C app push", check=False).stderr
    sh("cd app; echo no > key; git commit -qa --amend --no-edit; git push -q")
    assert bottle.git.tree() == {"app.py": b"print('hello')\n", "key": b"no\n"}
