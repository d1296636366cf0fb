"""The agent image: what it is called, what it holds, and how it is built."""

from __future__ import annotations

import contextlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends import source
from pytest_bottle.backends.base import Probe
from pytest_bottle.backends.base import silence
from pytest_bottle.backends.docker import unavailable
from pytest_bottle.backends.docker.building import follow_build
from pytest_bottle.backends.docker.endpoint import current_endpoint
from pytest_bottle.backends.docker.engine import QUICK_TIMEOUT
from pytest_bottle.backends.docker.engine import Engine
from pytest_bottle.backends.docker.engine import EngineError
from pytest_bottle.backends.docker.engine import translated
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from collections.abc import Mapping

AGENT_IMAGE: Final = source.AGENT_IMAGE

AGENT_KINDS: Final = frozenset({"claude", "codex"})
"""Kinds of agents whose programs the image holds."""

BUILD_COMMAND: Final = "pytest-bottle image build"

KIND_LABEL: Final = "pytest-bottle.image"
NAME_LABEL: Final = "pytest-bottle.image.name"
"""The name that an image was built by: what is built upon it inherits its labels, not its name."""

VERSION_LABELS: Final[Mapping[str, str]] = {
    program: f"pytest-bottle.{program}" for program in ("claude", "codex", "node")
}

DIRECTORY: Final = Path(__file__).parents[2] / "images" / "agent"
"""Of the Dockerfile."""

_CERTIFICATES: Final = "certificates"
_STAGE: Final = "agent-stage"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentBuild:
    """What to build an agent image from, and how."""

    tag: str = AGENT_IMAGE
    args: Mapping[str, str]
    """Of the Dockerfile."""
    certificates: bytes = b""
    """CA certificates, in PEM form, that downloads trust."""
    network: str | None = None
    """The network of the build's commands; None is the engine's default."""
    cached: bool = True
    """Whether steps of earlier builds are used again."""


def with_tag(reference: str) -> str:
    """Return a reference as the docker command line reads it: no tag is `latest`."""
    last = reference.rpartition("/")[2]
    return reference if ":" in last or "@" in last else f"{reference}:latest"


def is_agent_image(reference: str) -> bool:
    """Whether a reference is the name of our image, which no registry has."""
    return with_tag(reference).partition(":")[0] == AGENT_IMAGE


def absent(reference: str = AGENT_IMAGE) -> ImageError:
    """Return the error for an agent image that the engine does not have."""
    return ImageError(
        reference,
        reason="the engine does not have it, and no registry does.",
        remedy=f"Build it, once for this engine: `{BUILD_COMMAND}`. Or name an image of your own "
        "(`image = ...` in the manifest, or BOTTLE_DOCKER_IMAGE).",
    )


def probe() -> Probe:
    """Find out whether the current engine has the image. Never raises."""
    try:
        endpoint = current_endpoint()
    except CapabilityError as problem:
        return Probe(ok=False, detail=problem.reason, fix=problem.fix)
    try:
        with contextlib.closing(Engine(endpoint, timeout=QUICK_TIMEOUT)) as engine:
            found = engine.inspect_image(AGENT_IMAGE)
    except EngineError as problem:
        detail, fix = unavailable.explain(endpoint.host, str(problem))
        return Probe(ok=False, detail=detail, fix=fix)
    if found is None:
        detail = f"no image {AGENT_IMAGE} at {endpoint.host}"
        return Probe(ok=False, detail=detail, fix=BUILD_COMMAND)
    words = versions((found.get("Config") or {}).get("Labels") or {})
    return Probe(ok=True, detail=f"{AGENT_IMAGE} at {endpoint.host}" + (words and f": {words}"))


def versions(labels: Mapping[str, str]) -> str:
    """Return what an image with such labels holds, in words."""
    return ", ".join(
        f"{program} {labels[label]}" for program, label in VERSION_LABELS.items() if label in labels
    )


def build(
    engine: Engine, wanted: AgentBuild, report: Callable[[str], None] = silence
) -> Mapping[str, str]:
    """Build an agent image and return its labels; the one that had its name before is removed.

    Args:
        engine: which is to have it.
        wanted: what to build.
        report: gets lines of the build's output.

    Raises:
        ImageError: a step failed.
        EngineError
    """
    tag = with_tag(wanted.tag)
    before = engine.inspect_image(tag)
    with translated():
        messages = engine.api.build(
            fileobj=context(wanted.certificates),
            custom_context=True,
            tag=tag,
            buildargs=dict(wanted.args),
            labels={NAME_LABEL: tag},
            network_mode=wanted.network,
            nocache=not wanted.cached,
            rm=True,
            forcerm=True,
            use_config_proxy=True,
            decode=True,
        )
        remedy = "Where the network is the reason, see --network, --ca-file and --build-arg."
        follow_build(tag, messages, report, remedy=remedy)
    made = engine.inspect_image(tag)
    if made is None:
        raise ImageError(
            tag, reason="the engine built it, but does not have it.", remedy="Check its disk."
        )
    _tidy(engine, before, made["Id"])
    labels: Mapping[str, str] = made["Config"]["Labels"]
    return labels


def context(certificates: bytes) -> io.BytesIO:
    """Return the build's context as an archive: the package's files, and the certificates."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in _files(certificates):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    data.seek(0)
    return data


def _files(certificates: bytes) -> Iterator[tuple[str, bytes]]:
    yield "Dockerfile", (DIRECTORY / "Dockerfile").read_bytes()
    # The engine copies a directory only where the archive has something in it.
    readme = f"{_CERTIFICATES}/README"
    yield readme, (DIRECTORY / readme).read_bytes()
    if certificates:
        yield f"{_CERTIFICATES}/build.crt", certificates


def _tidy(engine: Engine, before: Mapping[str, object] | None, made: str) -> None:
    """Remove what the image replaces, and stages such as the downloads; not what is in use."""
    with translated():
        stages = engine.api.images(
            filters={"dangling": True, "label": f"{KIND_LABEL}={_STAGE}"}, quiet=True
        )
    old = [str(before["Id"])] if before is not None and before["Id"] != made else []
    for image in [*old, *stages]:
        with contextlib.suppress(EngineError), translated():
            engine.api.remove_image(image)
