"""The images that are ours on an engine: which there are, which nobody uses, and their removal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.docker.agent_image import KIND_LABEL
from pytest_bottle.backends.docker.agent_image import NAME_LABEL
from pytest_bottle.backends.docker.agent_image import is_agent_image
from pytest_bottle.backends.docker.agent_image import versions
from pytest_bottle.backends.docker.agent_image import with_tag
from pytest_bottle.backends.docker.engine import EngineError
from pytest_bottle.backends.docker.engine import translated
from pytest_bottle.backends.docker.image import BUILT
from pytest_bottle.backends.docker.ready import BASE_LABEL
from pytest_bottle.backends.docker.ready import READY
from pytest_bottle.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Iterable
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.backends.docker.engine import Engine

AGENT: Final = "agent"

_KINDS: Final = ("ready", "built", AGENT)
"""Each may stand upon those after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OurImage:
    """An image that we made."""

    name: str
    """With its tag."""
    kind: str
    """`agent`; `built` from a Dockerfile of a manifest; `ready`, another one with our layer."""
    id: str
    parent: str
    """The id of the image below it, where the engine says so."""
    size: int
    """Bytes, with what it shares with others."""
    created: float
    """Seconds since 1970."""
    contents: str
    """What is in it, in words."""


def list_ours(engine: Engine) -> Sequence[OurImage]:
    """Return our images, sorted by kind and name.

    Raises:
        EngineError
    """
    with translated():
        found: Iterable[Mapping[str, Any]] = engine.api.images()
    ours = [
        OurImage(
            name=name,
            kind=kind,
            id=image["Id"],
            parent=image.get("ParentId") or "",
            size=image["Size"],
            created=image["Created"],
            contents=_contents(kind, image.get("Labels") or {}),
        )
        for image in found
        for name in image.get("RepoTags") or ()
        if (kind := kind_of(name, image.get("Labels") or {}))
    ]
    return sorted(ours, key=lambda image: (image.kind, image.name))


def kind_of(name: str, labels: Mapping[str, str]) -> str | None:
    """Return what kind of ours an image is, None where it is not ours.

    Labels alone do not tell: what somebody else builds upon one of ours inherits them.
    """
    repository = name.rpartition(":")[0]
    if repository in {READY, BUILT}:
        return repository.rpartition("-")[2]
    if labels.get(KIND_LABEL) != AGENT:
        return None
    return AGENT if is_agent_image(name) or labels.get(NAME_LABEL) == name else None


def _contents(kind: str, labels: Mapping[str, str]) -> str:
    if kind == AGENT:
        return versions(labels)
    return f"from {labels[BASE_LABEL]}" if BASE_LABEL in labels else ""


def select_unused(images: Sequence[OurImage], used: Collection[str]) -> Sequence[OurImage]:
    """Return the images that bottles make again when they need them, and that nobody uses.

    Agent images are not among them, which take minutes to build.

    Args:
        images: all of ours.
        used: ids of images that containers run from.
    """
    kept = {image.id for image in images if image.id in used}
    kept |= {image.parent for image in images if image.id in kept}
    return [image for image in images if image.kind != AGENT and image.id not in kept]


def find_unused(engine: Engine) -> Sequence[OurImage]:
    """Return what `select_unused` says of an engine.

    Raises:
        EngineError
    """
    with translated():
        used = {container["ImageID"] for container in engine.api.containers(all=True)}
    return select_unused(list_ours(engine), used)


def find_ours(engine: Engine, name: str) -> Sequence[OurImage]:
    """Return one of our images with those of ours that stand upon it.

    Raises:
        ImageError: it is not there, or not ours.
        EngineError
    """
    images = list_ours(engine)
    named = [image for image in images if image.name == with_tag(name)]
    if not named:
        raise ImageError(
            name,
            reason="this engine has no such image of pytest-bottle's.",
            remedy="`pytest-bottle image ls` lists them; `docker image rm` removes others.",
        )
    parents = {image.id for image in named}
    return [*(image for image in images if image.parent in parents), *named]


def remove(
    engine: Engine, images: Sequence[OurImage]
) -> tuple[Sequence[OurImage], Sequence[tuple[OurImage, str]]]:
    """Remove images; return those that are gone, and the others with the engine's reasons."""
    removed: list[OurImage] = []
    failed: list[tuple[OurImage, str]] = []
    for image in sorted(images, key=lambda image: _KINDS.index(image.kind)):
        try:
            with translated():
                engine.api.remove_image(image.name)
        except EngineError as problem:
            failed.append((image, str(problem)))
        else:
            removed.append(image)
    return removed, failed
