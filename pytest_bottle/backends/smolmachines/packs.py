"""Reads what a `.smolmachine` says of itself, and whether it is whole."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.backends.smolmachines.archive import host_arch
from pytest_bottle.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

MAGIC: Final = b"SMOLPACK"
"""What the footer begins with, which is written last."""

FOOTER: Final = struct.Struct("<8s20xQQQ12x")
"""At the end of the file: the magic, the size of what is packed, and where the manifest is and how
long, which lies between the two."""

_REMEDY: Final = "`pytest-bottle image convert NAME --pack -o FILE.smolmachine` writes one."


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """What a pack says of itself. The image's user and environment are not in it."""

    size: int
    arch: str
    """Empty where it does not say so in a way that is known."""


def read_pack(path: Path) -> Pack:
    """Return what a pack says of itself.

    Raises:
        ImageError: it is not there, is something else, is cut off, or is for other hosts.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - FOOTER.size))
            footer = file.read()
            if len(footer) < FOOTER.size or not footer.startswith(MAGIC):
                raise _refused(path, "it is no .smolmachine, or is cut off.")
            arch = _arch(file, size, footer)
    except FileNotFoundError as problem:
        raise _refused(path, "there is no such file.") from problem
    except OSError as problem:
        raise _refused(path, f"it cannot be read: {problem.strerror}.") from problem
    if arch not in {"", host_arch()}:
        raise _refused(path, f"it is for {arch}, and this host is {host_arch()}.")
    return Pack(size=size, arch=arch)


def _arch(file: BinaryIO, size: int, footer: bytes) -> str:
    """Return the architecture of a pack; what lies elsewhere than in 1.32 is the engine's."""
    _magic, _packed, offset, length = FOOTER.unpack(footer)
    if offset + length + FOOTER.size != size:
        return ""
    file.seek(offset)
    try:
        return str(json.loads(file.read(length))["platform"]).partition("/")[2]
    except (ValueError, LookupError, TypeError):
        return ""


def _refused(path: Path, reason: str) -> ImageError:
    return ImageError(str(path), reason=reason, remedy=_REMEDY)
