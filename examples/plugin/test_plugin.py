"""Use what the example plugin adds: a capability, an agent kind, a provisioner and a backend."""

import pytest


@pytest.mark.bottle_requires("scratch-space")
@pytest.mark.bottle(agent="scribe")
def test_the_scribe_writes_under_its_own_name(bottle):
    bottle.run_agent("sed -n 's/.*name = //p' ~/.gitconfig > author.txt").check()

    assert bottle.read_file("author.txt") == "scribe\n"


@pytest.mark.bottle(backend="tiny")
def test_a_tiny_bottle_has_little_room(bottle):
    written = bottle.sh("head -c 16M /dev/zero > /tmp/large")

    assert bottle.backend == "tiny"
    assert not written.success
