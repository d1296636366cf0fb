"""Reads what a `docker save` archive says of its image, and whether the archive is whole."""

from __future__ import annotations

import hashlib
import json
import platform
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""The names of machines, in the words of images."""

_DOCKERFILE_WORDS: Final = (b"from ", b"arg ", b"# syntax", b"#syntax")
_SAVE: Final = "`docker save NAME -o FILE.tar` writes one."
_LIMIT: Final = 8 << 20
"""Bytes of a manifest or configuration; real ones have some kilobytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What an archive holds."""

    path: Path
    digest: str
    """Of the image's configuration, which names the digest of each layer: the image's content."""
    user: str
    """As a Dockerfile's USER says it; empty is root."""
    env: Mapping[str, str]
    arch: str
    size: int
    """Bytes of the archive."""


def host_arch() -> str:
    """Return this host's architecture, in the words of images."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def read_archive(path: Path) -> Archive:
    """Return what an archive holds; its layers are found, but not read.

    Raises:
        ImageError: it is not there, is something else, is cut off, or is for other hosts.
    """
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as archive:
            members = {member.name.removeprefix("./"): member for member in archive}
            manifest = _read_json(archive, members, "manifest.json", path)
            image = _only_image(manifest, path)
            content = _read(archive, members, image["Config"], path)
    except FileNotFoundError as problem:
        raise _refused(path, "there is no such file.", _SAVE) from problem
    except PermissionError as problem:
        raise _refused(path, "it cannot be read.", f"`chmod 0644 {path}`.") from problem
    except OSError as problem:
        raise _refused(path, f"it cannot be read: {problem.strerror}.", _SAVE) from problem
    except tarfile.ReadError as problem:
        raise _no_archive(path) from problem
    for member in members.values():
        if member.isfile() and member.offset_data + member.size > size:
            raise _cut_off(path)
    for layer in image["Layers"]:
        if layer not in members:
            raise _cut_off(path)
    config = json.loads(content)
    found = Archive(
        path=path,
        digest=hashlib.sha256(content).hexdigest(),
        user=(config.get("config") or {}).get("User") or "",
        env=_environment((config.get("config") or {}).get("Env") or ()),
        arch=config.get("architecture") or "",
        size=size,
    )
    if found.arch not in {"", host_arch()}:
        raise _refused(
            path,
            f"it is for {found.arch}, and this host is {host_arch()}.",
            f"Build or pull it for this host: `docker pull --platform linux/{host_arch()} NAME`.",
        )
    return found


def _only_image(manifest: Any, path: Path) -> Mapping[str, Any]:  # noqa: ANN401 - whatever it says
    try:
        images = [{"Config": image["Config"], "Layers": image["Layers"]} for image in manifest]
    except (TypeError, LookupError) as problem:
        raise _refused(path, "its manifest.json is none of docker's.", _SAVE) from problem
    if len(images) != 1:
        raise _refused(
            path, f"it holds {len(images)} images, which leaves open which one is meant.", _SAVE
        )
    return images[0]


def _read_json(
    archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], name: str, path: Path
) -> Any:  # noqa: ANN401 - whatever it says
    if name not in members:
        # The archive's end, with the manifest, may be what is missing.
        raise _refused(
            path,
            f"it is no archive of `docker save`, or is cut off: it has no {name}.",
            f"{_SAVE} Podman's is `podman save --format docker-archive`; what `docker export` "
            "wrote is a root file system: unpack it, and name the directory.",
        )
    try:
        return json.loads(_read(archive, members, name, path))
    except ValueError as problem:
        raise _refused(path, f"its {name} is no JSON.", _SAVE) from problem


def _read(
    archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], name: str, path: Path
) -> bytes:
    member = members.get(name)
    file = archive.extractfile(member) if member is not None and member.size < _LIMIT else None
    if file is None:
        raise _cut_off(path)
    return file.read()


def _environment(pairs: Any) -> Mapping[str, str]:  # noqa: ANN401 - as above
    split = (str(pair).partition("=") for pair in pairs)
    return {key: value for key, _, value in split}


def _no_archive(path: Path) -> ImageError:
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(b"\x1f\x8b"):
        return _refused(path, "it is compressed.", f"`gunzip {path}`, and name what that leaves.")
    words = start.lstrip().lower()
    if path.name.endswith("Dockerfile") or words.startswith(_DOCKERFILE_WORDS):
        return _refused(
            path,
            "it is a Dockerfile, and no archive.",
            f'Say that it is one: image = {{ dockerfile = "{path}" }}.',
        )
    return _refused(path, "it is no tar archive, or is cut off.", _SAVE)


def _cut_off(path: Path) -> ImageError:
    return _refused(path, "it is cut off: not all that its manifest names is there.", _SAVE)


def _refused(path: Path, reason: str, remedy: str) -> ImageError:
    return ImageError(str(path), reason=reason, remedy=remedy)
