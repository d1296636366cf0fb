"""Turns what a bottle names as its image into what the engine starts a machine from.

Archives and packs go to the engine as they are; an image that a docker engine has is saved into the
cache first, and a root file system's directory archived there. Any other name is a registry's,
where the engine looks for it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.smolmachines.archive import host_arch
from pytest_bottle.backends.smolmachines.archive import read_archive
from pytest_bottle.backends.smolmachines.cache import ARCHIVE
from pytest_bottle.backends.smolmachines.cache import PACK
from pytest_bottle.backends.smolmachines.cache import SUFFIXES
from pytest_bottle.backends.smolmachines.cache import Facts
from pytest_bottle.backends.smolmachines.cache import add_cached
from pytest_bottle.backends.smolmachines.cache import find_cached
from pytest_bottle.backends.smolmachines.packing import pack
from pytest_bottle.backends.smolmachines.packs import read_pack
from pytest_bottle.backends.smolmachines.rootfs import check_rootfs
from pytest_bottle.backends.smolmachines.rootfs import tree_digest
from pytest_bottle.backends.smolmachines.rootfs import write_archive
from pytest_bottle.backends.source import AGENT_IMAGE
from pytest_bottle.backends.source import docker_images
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from pytest_bottle.backends.smolmachines.archive import Archive
    from pytest_bottle.backends.smolmachines.cache import CachedImage
    from pytest_bottle.backends.smolmachines.smolvm import Smolvm
    from pytest_bottle.backends.source import ImageSource
    from pytest_bottle.backends.source import SourceImage
    from pytest_bottle.plan import ImagePlan

    Connect: TypeAlias = Callable[[], AbstractContextManager[ImageSource]]
    Advance: TypeAlias = Callable[[int, int], None]
    """Gets bytes that are done, and bytes in all."""

IMAGE_VARIABLE: Final = "BOTTLE_SMOLVM_IMAGE"

_WAYS: Final = (
    f"Build the agent image where Docker is (`pytest-bottle image build`), or name an image "
    f"(`image = ...` in the manifest, or {IMAGE_VARIABLE}): a registry's, an archive of "
    "`docker save`, a root file system's directory, or a .smolmachine."
)
_PATHS: Final = ("/", "./", "../", "~")
_COPY_CHUNK: Final = 4 << 20
_REPORTED: Final = 0.25
"""The part of an image after which a line says how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineImage:
    """What the engine takes: exactly one of `image` and `pack`."""

    name: str
    """As its user called it."""
    image: str | None = None
    """A path, or a registry's reference."""
    pack: Path | None = None
    user: str | None = None
    """The image's own user, where that is known; empty is root."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The image's own environment, where that is known."""
    arch: str | None = None
    size: int | None = None
    """Bytes of the file, where there is one."""
    key: str | None = None
    """The digest of the content, where that is known."""

    @property
    def identity(self) -> str:
        """What tells it from others on this host."""
        return str(self.pack or self.image)


def provide_image(
    smolvm: Smolvm,  # noqa: ARG001 - another engine may take other forms
    plan: ImagePlan | None,
    report: Callable[[str], None],
    *,
    agent: str | None = None,
    connect: Connect = docker_images,
) -> MachineImage:
    """Return the planned image, in a form that the engine starts from.

    Args:
        smolvm: the engine that it is for.
        plan: None is the image that BOTTLE_SMOLVM_IMAGE names, else the agent image where a docker
            engine has it.
        report: gets lines of progress.
        agent: the kind of agent that will run in it.
        connect: opens the engine that images are saved from.

    Raises:
        ImageError: it cannot be had, or no machine could start from it.
    """
    return _packed_already(_provide(plan, report, agent, connect))


def _provide(
    plan: ImagePlan | None, report: Callable[[str], None], agent: str | None, connect: Connect
) -> MachineImage:
    if plan is not None and plan.dockerfile is not None:
        return _of_cached(_built(plan, report, connect))
    named = (plan and plan.reference) or os.environ.get(IMAGE_VARIABLE)
    if named:
        return convert(named, report, connect=connect)
    found = _saved(AGENT_IMAGE, _lines(AGENT_IMAGE, report), connect)
    if isinstance(found, str):
        what = f"an agent of kind {agent!r}" if agent else "a bottle"
        raise ImageError(
            AGENT_IMAGE, reason=f"{what} needs it where no other is named: {found}", remedy=_WAYS
        )
    return _of_cached(found)


def _packed_already(image: MachineImage) -> MachineImage:
    """Return an image's pack where somebody had one made: its machines start in half the time.

    None is made here: that takes longer than a run gains by it.
    """
    found = find_cached(PACK, image.key) if image.image and image.key else None
    if found is None:
        return image
    return replace(_of_cached(found), name=image.name)


def convert(
    named: str,
    report: Callable[[str], None],
    *,
    advance: Advance | None = None,
    connect: Connect = docker_images,
) -> MachineImage:
    """Return what is named: a file or directory, an image of a docker engine's, or a registry's.

    Args:
        named: a path, or a name.
        report: gets lines of progress.
        advance: gets how many bytes of how many are done, instead of lines about it.
        connect: opens the engine that images are saved from.

    Raises:
        ImageError: it cannot be had, or no machine could start from it.
    """
    if named.startswith(_PATHS) or named.endswith(tuple(SUFFIXES.values())):
        return _of_path(Path(named).expanduser(), report)
    found = _saved(named, advance or _lines(named, report), connect)
    if not isinstance(found, str):
        return _of_cached(found)
    if named.partition(":")[0] == AGENT_IMAGE:
        raise ImageError(named, reason=f"no registry has it, and {found}", remedy=_WAYS)
    return MachineImage(name=named, image=named)


def _of_path(path: Path, report: Callable[[str], None]) -> MachineImage:
    if path.is_dir():
        return _of_cached(_archived(path, report))
    if path.suffix == SUFFIXES[PACK]:
        found = read_pack(path)
        return MachineImage(
            name=str(path), pack=path.absolute(), arch=found.arch or None, size=found.size
        )
    archive = read_archive(path)
    if may_be_read(path):
        return MachineImage(
            name=str(path),
            image=str(path.absolute()),
            user=archive.user,
            env=archive.env,
            arch=archive.arch,
            size=archive.size,
            key=archive.digest,
        )
    return _of_cached(_copied(archive, report))


def may_be_read(path: Path) -> bool:
    """Whether machines may read a file: of root's, they run as other users."""
    return os.geteuid() != 0 or bool(path.stat().st_mode & 0o004)


def _archived(directory: Path, report: Callable[[str], None]) -> CachedImage:
    """Return an archive of a root file system."""
    check_rootfs(directory)
    key, size = tree_digest(directory)

    def write(target: Path) -> Facts:
        report(f"archiving {directory} ({size >> 20} MiB)")
        write_archive(directory, target)
        return _facts(str(directory), read_archive(target))

    # While it is written there are two copies.
    return add_cached(ARCHIVE, key, Facts(name=str(directory)), size=2 * size, write=write)


def _copied(archive: Archive, report: Callable[[str], None]) -> CachedImage:
    """Return a copy of an archive that all may read."""

    def write(target: Path) -> None:
        report(f"copying {archive.path}, whose mode keeps machines from reading it")
        with archive.path.open("rb") as source, target.open("xb") as copy:
            while chunk := source.read(_COPY_CHUNK):
                copy.write(chunk)

    return add_cached(
        ARCHIVE, archive.digest, _facts(str(archive.path), archive), size=archive.size, write=write
    )


def _saved(reference: str, advance: Advance, connect: Connect) -> CachedImage | str:
    """Return an image of the docker engine's, or why there is none."""
    try:
        with connect() as source:
            found = source.find(reference)
            if found is None:
                return "the docker engine does not have it."
            return save(source, found, advance)
    except CapabilityError as problem:
        return f"there is no docker engine to take it from: {problem.reason}"


def _built(plan: ImagePlan, report: Callable[[str], None], connect: Connect) -> CachedImage:
    dockerfile = plan.dockerfile or Path()
    try:
        with connect() as source:
            found = source.build(dockerfile, plan.build_args, report)
            return save(source, found, _lines(str(dockerfile), report))
    except CapabilityError as problem:
        raise ImageError(
            str(dockerfile),
            reason=f"only a docker engine builds it, and there is none: {problem.reason}",
            remedy="Build it elsewhere and name its archive: `docker save NAME -o FILE.tar`.",
        ) from problem


def save(source: ImageSource, found: SourceImage, advance: Advance) -> CachedImage:
    """Return an image of an engine's as the cache has it, saved if it does not have it yet.

    Raises:
        ImageError: it is for other hosts, or there is no room for it.
        CapabilityError: the engine went away.
    """

    def write(target: Path) -> Facts:
        done = 0
        with contextlib.closing(source.save(found)) as pieces, target.open("xb") as file:
            for piece in pieces:
                file.write(piece)
                done += len(piece)
                advance(done, max(done, found.size))
        try:
            return _facts(found.name, read_archive(target))
        except ImageError as problem:  # It names the file, which nobody knows.
            raise ImageError(found.name, reason=problem.reason, remedy=problem.remedy) from problem

    key = found.id.rpartition(":")[2]
    return add_cached(ARCHIVE, key, Facts(name=found.name), size=found.size, write=write)


def pack_of(smolvm: Smolvm, image: MachineImage, report: Callable[[str], None]) -> MachineImage:
    """Return the pack of an image, made if the cache does not have it yet.

    Raises:
        ImageError: the engine does not boot it, or there is no room.
    """
    if image.pack is not None or image.image is None:
        return image
    source = image.image
    # What a registry has may change under its name: such packs are made anew.
    key = image.key or secrets.token_hex(32)
    facts = Facts(
        name=image.name,
        user=image.user or "",
        env=tuple(image.env.items()),
        arch=image.arch or host_arch(),
    )
    return _of_cached(
        add_cached(
            PACK,
            key,
            facts,
            size=image.size or 0,
            write=lambda target: pack(smolvm, image.name, source, target, report),
        )
    )


def _lines(name: str, report: Callable[[str], None]) -> Advance:
    """Return what turns numbers into a few lines."""
    said = -1.0

    def advance(done: int, total: int) -> None:
        nonlocal said
        part = done / total if total else 1.0
        if said < 0 or part - said >= _REPORTED:
            said = part
            report(f"saving {name} for microVMs: {done >> 20} of {total >> 20} MiB")

    return advance


def _facts(name: str, archive: Archive) -> Facts:
    return Facts(name=name, user=archive.user, env=tuple(archive.env.items()), arch=archive.arch)


def _of_cached(cached: CachedImage) -> MachineImage:
    is_archive = cached.form == ARCHIVE
    return MachineImage(
        name=cached.name,
        image=str(cached.path) if is_archive else None,
        pack=None if is_archive else cached.path,
        user=cached.user,
        env=dict(cached.env),
        arch=cached.arch or None,
        size=cached.size,
        key=cached.key,
    )
