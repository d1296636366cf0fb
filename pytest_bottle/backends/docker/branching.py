"""The image that a branch starts from: its source's files, committed while that stands still.

Each branch has a tag of its own, also where several start from one commit: the engine keeps the
files until the last of the tags has gone.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import TypeGuard

from pytest_bottle.backends.base import Resource
from pytest_bottle.backends.docker.container import labels
from pytest_bottle.backends.docker.engine import EngineError
from pytest_bottle.backends.docker.lost import lost_sentence
from pytest_bottle.errors import BranchUnsupportedError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.state.publish import locked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.backends.docker.engine import Engine
    from pytest_bottle.plan import BottlePlan

BRANCH_KIND: Final = "docker:branch"

BRANCH: Final = "pytest-bottle-branch"
"""Repository of the images that branches start from; the tag is the bottle's name."""

_LOCK: Final = "commit.lock"


def branch_image(name: str) -> str:
    """Return the image of a bottle: what it started from, or what its branches start from."""
    return f"{BRANCH}:{name}"


def image_resources(plan: BottlePlan, host: str) -> list[Resource]:
    """Return the image that is made for a branch, or of what is to be branched many times."""
    if plan.branch_of is None and not plan.template:
        return []
    return [Resource(kind=BRANCH_KIND, id=plan.name, data={"host": host})]


def commit_lock(plan: BottlePlan) -> str | None:
    """Return the lock for the one commit of what is to be branched many times."""
    return str(plan.state_dir / _LOCK) if plan.template else None


def make_branch_image(engine: Engine, plan: BottlePlan, reference: Mapping[str, Any]) -> str:
    """Make the image of a branch; return its name.

    Raises:
        BranchUnsupportedError: the source keeps files where no commit takes them from.
        SandboxLostError: the source is gone.
        EngineError
    """
    source = reference["name"]
    found = engine.inspect(source)
    if not _runs(found):
        raise SandboxLostError(lost_sentence(engine, source))
    volumes = [mount["Destination"] for mount in found["Mounts"] if mount["Type"] == "volume"]
    if volumes:
        raise BranchUnsupportedError(
            "docker",
            reason=f"its image keeps {', '.join(volumes)} in a volume, which is not carried over.",
            remedy="Take an image without VOLUME, or provision each bottle anew.",
        )
    try:
        return _commit(engine, plan, reference)
    except EngineError as problem:
        if _runs(engine.inspect(source)):
            raise
        # It ended meanwhile: the engine commits nothing that it is taking away.
        raise SandboxLostError(lost_sentence(engine, source)) from problem


def _runs(found: Mapping[str, Any] | None) -> TypeGuard[Mapping[str, Any]]:
    return found is not None and found["State"]["Running"]


def _commit(engine: Engine, plan: BottlePlan, reference: Mapping[str, Any]) -> str:
    source = reference["name"]
    if reference["commit_lock"] is None:
        engine.commit(source, BRANCH, plan.name, labels(plan))
        return branch_image(plan.name)
    try:
        with locked(Path(reference["commit_lock"])):
            if engine.inspect_image(branch_image(source)) is None:
                engine.commit(source, BRANCH, source, {})
    except FileNotFoundError as problem:  # Its directory went first.
        raise SandboxLostError(lost_sentence(engine, source)) from problem
    engine.tag(branch_image(source), BRANCH, plan.name)
    return branch_image(plan.name)


def remove_branch_image(engine: Engine, name: str, *, deadline: float) -> bool:
    """Remove a bottle's image; return whether it is gone within `deadline` seconds.

    Raises:
        EngineError
    """
    return engine.remove_image(branch_image(name), deadline=deadline)


def find_branch_images(engine: Engine) -> list[tuple[str, str]]:
    """Return all such images that the engine has: the bottle's name, and its owner's identity.

    Raises:
        EngineError
    """
    found = []
    for image in engine.images(BRANCH):
        for name in image["RepoTags"] or ():
            repository, _, tag = name.partition(":")
            with contextlib.suppress(KeyError):
                if repository == BRANCH:
                    found.append((tag, image["Labels"]["pytest-bottle.owner"]))
    return found
