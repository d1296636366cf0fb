"""Finds what a plan takes from the host: images, files, prompts and skills."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_bottle.nearest import nearest
from pytest_bottle.plan import ImagePlan
from pytest_bottle.plan import SkillPlan

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator

    from pytest_bottle.lifecycle.place import Place
    from pytest_bottle.plan import FilePlan


def resolve(path: Path, base: Path) -> Path:
    """Return an absolute host path; symbolic links are kept, so that errors name what is known."""
    return Path(os.path.abspath(base / path.expanduser()))  # noqa: PTH100 -- resolve() follows links


def find_image(image: ImagePlan, place: Place, base: Path) -> ImagePlan:
    """Return an image with host paths resolved.

    A reference that ends in `Dockerfile` names one to build, one that starts with `/`, `./`, `../`
    or `~/` a root directory or an image's file; any other is left to the backend.

    Raises:
        ManifestError, MarkerError: the Dockerfile, the directory or the file is not there.
    """
    reference = image.reference
    if reference is not None and reference.endswith("Dockerfile"):
        image = ImagePlan(dockerfile=Path(reference))
    elif reference is not None and reference.startswith(("/", "./", "../", "~/")):
        root = resolve(Path(reference), base)
        if not root.exists():
            problem = f"there is no directory or file {root}."
            raise place.error(problem, remedy="Make it, or correct the path.")
        return ImagePlan(reference=str(root))
    if image.dockerfile is None:
        return image
    dockerfile = resolve(image.dockerfile, base)
    if not dockerfile.is_file():
        problem = f"there is no Dockerfile {dockerfile}."
        raise place.error(problem, remedy="Write it, or correct the path.")
    return ImagePlan(dockerfile=dockerfile, build_args=tuple(sorted(image.build_args)))


def find_file(file: FilePlan, place: Place, base: Path) -> FilePlan:
    """Return a file or directory for the guest with its source resolved.

    Raises:
        ManifestError, MarkerError: the source is not there, or is a directory with a mode.
    """
    if file.source is None:
        return file
    source = resolve(file.source, base)
    if source.is_dir():
        if file.mode is not None:
            problem = "a directory takes no mode; what is in it keeps its own."
            raise place.error(problem, remedy="Remove the mode.")
    elif not source.is_file():
        problem = f"there is no file or directory {source}."
        raise place.error(problem, remedy="Make it, or correct the path.")
    return replace(file, source=source)


def read_prompt(path: Path, place: Place, base: Path) -> str:
    """Return a prompt file's text.

    Raises:
        ManifestError, MarkerError: it cannot be read, or is not UTF-8 text.
    """
    path = resolve(path, base)
    try:
        return path.read_bytes().decode()
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}."
        raise place.error(problem, remedy="Write it, or correct the path.") from error
    except UnicodeDecodeError as error:
        problem = f"{path} is not UTF-8 text."
        raise place.error(problem, remedy="Save it as UTF-8.") from error


def find_skills(names: Iterable[str], place: Place, homes: Iterable[Path]) -> Iterator[SkillPlan]:
    """Yield each skill from the first of `homes` that has it.

    Raises:
        ManifestError, MarkerError: a skill is named twice, or is a directory in none of them.
    """
    homes = tuple(homes)
    seen = set()
    for name in names:
        if name in seen:
            problem = f"skill {name!r} is named twice."
            raise place.error(problem, remedy="Remove one of them.")
        seen.add(name)
        home = next((home for home in homes if (home / name).is_dir()), None)
        if home is None:
            known = {entry.name for home in homes if home.is_dir() for entry in home.iterdir()}
            problem = f"there is no skill directory {name!r} in {' or '.join(map(str, homes))}."
            raise place.error(problem, remedy=nearest(name, known) or "Make it, with a SKILL.md.")
        yield SkillPlan(name=name, source=home / name)
