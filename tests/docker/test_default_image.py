"""The image of a bottle that names none."""

from __future__ import annotations

import contextlib
import os

import pytest

from pytest_bottle.backends.docker import agent_image
from pytest_bottle.backends.docker import image
from pytest_bottle.backends.docker.endpoint import current_endpoint
from pytest_bottle.backends.docker.engine import Engine
from pytest_bottle.backends.docker.engine import translated
from pytest_bottle.backends.docker.image import IMAGE_VARIABLE
from pytest_bottle.backends.docker.image import provide_image
from pytest_bottle.errors import ImageError
from pytest_bottle.plan import ImagePlan
from tests.docker.conftest import IMAGE

pytestmark = pytest.mark.bottle_requires("docker")

AGENT_IMAGE = f"pytest-bottle-test-agent-{os.getpid()}"


@pytest.fixture(scope="module")
def engine():
    with contextlib.closing(Engine(current_endpoint())) as engine:
        yield engine


@pytest.fixture(autouse=True)
def _names(monkeypatch):
    """An agent image that this engine does not have, and a fallback that it has."""
    for module in (agent_image, image):
        monkeypatch.setattr(module, "AGENT_IMAGE", AGENT_IMAGE)
    monkeypatch.setattr(image, "DEFAULT_IMAGE", IMAGE)
    monkeypatch.delenv(IMAGE_VARIABLE, raising=False)


@pytest.fixture
def provide(engine):
    def provide(plan: ImagePlan | None = None, *, agent: str | None = None) -> str:
        lines: list[str] = []
        name = provide_image(engine, plan, lines.append, agent=agent).name
        assert lines == []  # Nothing was pulled.
        return name

    return provide


@pytest.fixture
def agent_image_there(engine):
    with translated():
        engine.api.tag(IMAGE, AGENT_IMAGE, "latest")
    yield
    engine.api.remove_image(AGENT_IMAGE)


@pytest.mark.usefixtures("agent_image_there")
@pytest.mark.parametrize("agent", [None, "claude", "command"])
def test_it_is_the_agent_image_where_there_is_one(provide, agent):
    assert provide(agent=agent) == AGENT_IMAGE


@pytest.mark.parametrize("agent", [None, "command"])
def test_without_one_bottles_that_need_none_have_another(provide, agent):
    assert provide(agent=agent) == IMAGE


@pytest.mark.parametrize("agent", ["claude", "codex"])
def test_without_one_an_agents_bottle_says_how_to_build_it(provide, agent):
    with pytest.raises(ImageError, match="`pytest-bottle image build`"):
        provide(agent=agent)


def test_an_agent_image_by_name_is_never_looked_for_in_a_registry(provide):
    for name in (AGENT_IMAGE, f"{AGENT_IMAGE}:old"):
        with pytest.raises(ImageError, match="no registry"):
            provide(ImagePlan(reference=name))


@pytest.mark.usefixtures("agent_image_there")
def test_whoever_names_an_image_gets_it(provide, monkeypatch):
    assert provide(ImagePlan(reference=IMAGE), agent="claude") == IMAGE
    monkeypatch.setenv(IMAGE_VARIABLE, IMAGE)
    assert provide(agent="claude") == IMAGE
