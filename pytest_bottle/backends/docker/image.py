"""Images: present, pulled, or built from a Dockerfile, with progress."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.backends.docker.agent_image import AGENT_IMAGE
from pytest_bottle.backends.docker.agent_image import AGENT_KINDS
from pytest_bottle.backends.docker.agent_image import absent
from pytest_bottle.backends.docker.agent_image import is_agent_image
from pytest_bottle.backends.docker.agent_image import with_tag
from pytest_bottle.backends.docker.building import follow_build
from pytest_bottle.backends.docker.engine import EngineError
from pytest_bottle.backends.docker.engine import translated
from pytest_bottle.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_bottle.backends.docker.engine import Engine
    from pytest_bottle.plan import ImagePlan

IMAGE_VARIABLE: Final = "BOTTLE_DOCKER_IMAGE"

DEFAULT_IMAGE: Final = "python:3.13-slim-bookworm"
"""Where nobody names an image, and the engine has no agent image."""

BUILT: Final = "pytest-bottle-built"
"""Repository of the images that we build; the tag is the digest of what went into them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """An image that the engine has."""

    name: str
    """As its user called it."""
    id: str
    user: str
    """Its own user, as its Dockerfile's USER says it; empty is root."""
    env: Mapping[str, str]


def find_image(engine: Engine, reference: str, name: str) -> BaseImage | None:
    """Return an image that the engine has already.

    Raises:
        EngineError
    """
    found = engine.inspect_image(reference)
    if found is None:
        return None
    config = found.get("Config") or {}
    pairs = (entry.partition("=") for entry in config.get("Env") or ())
    return BaseImage(
        name=name,
        id=found["Id"],
        user=config.get("User") or "",
        env={key: value for key, _, value in pairs},
    )


def provide_image(
    engine: Engine,
    plan: ImagePlan | None,
    report: Callable[[str], None],
    *,
    agent: str | None = None,
) -> BaseImage:
    """Return the planned image, pulled or built where the engine does not have it.

    Args:
        engine: which is to have it.
        plan: None is the image that BOTTLE_DOCKER_IMAGE names, else the agent image where the
            engine has it, else a default without agents.
        report: gets lines of progress.
        agent: the kind of agent that will run in it.

    Raises:
        ImageError
        EngineError: the engine stopped answering.
    """
    if plan is not None and plan.dockerfile is not None:
        return build_image(engine, plan.dockerfile, plan.build_args, report)
    named = (plan and plan.reference) or os.environ.get(IMAGE_VARIABLE)
    reference = named or AGENT_IMAGE
    found = find_image(engine, reference, reference)
    if found is None and named is None and agent not in AGENT_KINDS:
        reference = DEFAULT_IMAGE
        found = find_image(engine, reference, reference)
    if found is None and is_agent_image(reference):
        raise absent(reference)
    if found is None:
        _pull(engine, reference, report)
        found = find_image(engine, reference, reference)
    if found is None:
        raise ImageError(
            reference,
            reason="the engine pulled it, but does not have it.",
            remedy="Check its platform and its tag.",
        )
    return found


def _pull(engine: Engine, reference: str, report: Callable[[str], None]) -> None:
    full = with_tag(reference)
    report(f"pulling {full}")
    try:
        with translated():
            _follow_pull(full, engine.api.pull(full, stream=True, decode=True), report)
    except EngineError as problem:
        raise ImageError(
            reference,
            reason=f"not on the engine at {engine.endpoint.host}, and it cannot be pulled: "
            f"{str(problem).rstrip('.')}.",
            remedy="Check the name, `docker login` to its registry, or set the image "
            f"(`image = ...` in the manifest, or {IMAGE_VARIABLE}) to one that the engine has.",
        ) from problem


def _follow_pull(
    reference: str, lines: Iterable[Mapping[str, Any]], report: Callable[[str], None]
) -> None:
    for line in lines:
        if "error" in line:
            raise EngineError(str(line["error"]))
        if "progress" not in line and "status" in line:
            report(f"{line.get('id', reference)}: {line['status']}")


def build_image(
    engine: Engine,
    dockerfile: Path,
    build_args: tuple[tuple[str, str], ...],
    report: Callable[[str], None],
) -> BaseImage:
    """Return what a Dockerfile makes; nothing is built where the engine has that already.

    Raises:
        ImageError: there is no such file, or a step failed.
        EngineError: the engine stopped answering.
    """
    if not dockerfile.is_file():
        raise ImageError(
            str(dockerfile), reason="there is no such file.", remedy="Check `dockerfile`."
        )
    key = context_digest(dockerfile, build_args)
    tag = f"{BUILT}:{key[:20]}"
    found = find_image(engine, tag, str(dockerfile))
    if found is not None:
        return found
    report(f"building {dockerfile}")
    with translated():
        lines = engine.api.build(
            path=str(dockerfile.parent),
            dockerfile=dockerfile.name,
            tag=tag,
            buildargs=dict(build_args),
            rm=True,
            forcerm=True,
            decode=True,
        )
        remedy = f"`docker build {dockerfile.parent}` shows it all."
        follow_build(str(dockerfile), lines, report, remedy=remedy)
    found = find_image(engine, tag, str(dockerfile))
    if found is None:
        raise ImageError(
            str(dockerfile),
            reason="the engine built it, but does not have it.",
            remedy="Check the engine's disk.",
        )
    return found


def context_digest(dockerfile: Path, build_args: tuple[tuple[str, str], ...]) -> str:
    """Return the digest of all that goes into a build, as .dockerignore leaves it."""
    from docker.utils.build import exclude_paths  # noqa: PLC0415 - the SDK is an extra

    root = dockerfile.parent
    ignore = root / ".dockerignore"
    patterns = []
    if ignore.is_file():
        lines = (line.strip() for line in ignore.read_text(encoding="utf-8").splitlines())
        patterns = [line for line in lines if line and not line.startswith("#")]
    digest = hashlib.sha256(repr((dockerfile.name, build_args)).encode())
    for relative in sorted(exclude_paths(str(root), patterns, dockerfile=dockerfile.name)):
        path = root / relative
        if path.is_symlink():
            content = str(path.readlink()).encode()
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).digest()
        else:
            content = b""
        entry = (relative, path.lstat().st_mode, content)
        digest.update(repr(entry).encode())
    return digest.hexdigest()
