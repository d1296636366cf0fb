"""How often the engine is asked: provisioning must not cost a call for each file."""

import pytest
import requests

from pytest_bottle.lifecycle.lifecycle import Lifecycle
from pytest_bottle.lifecycle.settings import Settings
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import EMPTY
from pytest_bottle.manifest import load_manifest
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run
from tests.docker.conftest import IMAGE

pytestmark = pytest.mark.bottle_requires("docker")


@pytest.fixture
def manifest(tmp_path):
    """An agent with a prompt and three skills of several files."""
    for skill in ("one", "two", "three"):
        for number in range(5):
            file = tmp_path / "skills" / skill / f"part-{number}.md"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(skill)
    (tmp_path / "bottle.toml").write_text(
        '[agents.full]\nkind = "command"\nargs = ["true"]\nprompt = "Be brief."\n'
        'skills = ["one", "two", "three"]\n'
    )
    return load_manifest(tmp_path / "bottle.toml")


@pytest.fixture
def count_requests(monkeypatch):
    """Count what this process asks of engines while it calls something."""
    sent = []
    send = requests.Session.send

    def counted(self, request, **options):
        sent.append(request.url)
        return send(self, request, **options)

    monkeypatch.setattr(requests.Session, "send", counted)

    def count(call):
        before = len(sent)
        result = call()
        return result, len(sent) - before

    return count


def test_a_full_bottle_costs_at_most_two_more_than_an_empty_one(count_requests, manifest):
    lifecycle = Lifecycle(Run.join("0" * 12, "main", Owner.current()), Settings())
    empty = spec_from_arguments(backend="docker", image=IMAGE)
    full = spec_from_arguments(backend="docker", image=IMAGE, agent="full")
    try:
        lifecycle.open(empty, EMPTY)  # The first also asks for the image.
        _, for_empty = count_requests(lambda: lifecycle.open(empty, EMPTY))
        bottle, for_full = count_requests(lambda: lifecycle.open(full, manifest))
        assert bottle.listdir(f"{bottle.home}/.claude/skills") == ["one", "three", "two"]
    finally:
        lifecycle.close()
        lifecycle.end_run()
    assert for_empty > 0
    assert for_full <= for_empty + 2
