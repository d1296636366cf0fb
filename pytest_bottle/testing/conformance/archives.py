"""Archives that a hostile guest could answer with, where a directory `loot` is asked for."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT: Final = b"planted by the guest"
GIB: Final = 1024**3
DEPTH: Final = 3000
"""Directories inside each other: more than Python's recursion takes."""


def hostile_archives(canary: Path) -> Iterator[tuple[str, bytes]]:
    """Yield names and archives, none of which may have any effect.

    Args:
        canary: A file of the host, in a directory next to the destination's parent.
    """
    outside, up = canary.parent, f"../../{canary.parent.name}"
    yield "absolute-name", _tar(_loot(), _file(f"{outside}/planted"))
    yield "dot-dot-name", _tar(_loot(), _file(f"{up}/planted"))
    yield "dot-dot-inside", _tar(_loot(), _file(f"loot/../{up}/planted"))
    yield "dot-dot-of-long-name", _tar(_loot(), _file(f"loot/{'x/' * 60}{'../' * 61}{up}/planted"))
    for name, target in (("absolute", str(outside)), ("relative", f"../{up}")):
        yield f"{name}-link", _tar(_loot(), _link("loot/out", target))
        through = _file("loot/out/planted")
        yield f"through-{name}-link", _tar(_loot(), _link("loot/out", target), through)
        turned = (_directory("loot/out"), _link("loot/out", target), through)
        yield f"directory-turned-{name}-link", _tar(_loot(), *turned)
    yield "link-for-root", _tar(_link("loot", str(outside)), _file("loot/planted"))
    yield (
        "link-through-link",
        _tar(_loot(), _link("loot/here", "."), _link("loot/out", f"here/../../{up}")),
    )
    yield (
        "links-that-climb-together",
        _tar(
            _loot(),
            _directory("loot/a"),
            _link("loot/a/up", ".."),
            _link("loot/out", f"a/up/../../../{up}"),
        ),
    )
    yield "hard-link-to-absolute", _tar(_loot(), _hard_link("loot/hard", str(canary)))
    relative = _hard_link("loot/hard", f"{up}/{canary.name}")
    yield "hard-link-to-relative", _tar(_loot(), relative)
    yield "write-through-hard-link", _tar(_loot(), relative, _file("loot/hard"))
    yield (
        "hard-link-to-link",
        _tar(
            _loot(),
            _link("loot/out", str(canary)),
            _hard_link("loot/hard", "loot/out"),
            _file("loot/hard"),
        ),
    )
    yield "character-device", _tar(_loot(), _special("loot/null", tarfile.CHRTYPE))
    yield "block-device", _tar(_loot(), _special("loot/disk", tarfile.BLKTYPE))
    yield "pipe", _tar(_loot(), _special("loot/pipe", tarfile.FIFOTYPE))
    yield "extended-name", _extended({"path": f"{up}/planted"})
    yield "extended-absolute-name", _extended({"path": f"{outside}/planted"})
    yield "extended-link", _extended({"linkpath": str(canary)}, tarfile.LNKTYPE)
    yield "written-twice", _tar(_loot(), _file("loot/file"), _file("loot/file"))
    yield "below-a-file", _tar(_loot(), _file("loot/file"), _file("loot/file/planted"))
    yield "too-deep", _tar(_loot(), _directory("loot/" + "d/" * DEPTH))
    yield "too-large", _tar(_loot(), _claiming("loot/file", 1024 * GIB))
    yield "negative-size", _negative_size()
    yield (
        "sparse",
        _extended(
            {
                "GNU.sparse.major": "0",
                "GNU.sparse.minor": "1",
                "GNU.sparse.name": "loot/file",
                "GNU.sparse.size": str(16 * GIB),
                "GNU.sparse.numblocks": "1",
                "GNU.sparse.map": "0,1",
            }
        ),
    )
    yield "something-else", _tar(_directory("other"), _file("other/planted"))
    yield "cut-short", _tar(_loot(), _claiming("loot/file", 5000))[:2000]
    yield "compressed", gzip.compress(_tar(_loot()))
    yield "no-archive", b"this is no archive\n" * 1000
    yield "nothing", b""


def odd_archive() -> bytes:
    """Return an archive that is accepted, less its set-uid bits, owners and companions."""
    program = _file("loot/program")
    program[0].mode = 0o6777
    program[0].uid = program[0].gid = 12345
    return _tar(_loot(), program, _file("beside"))


Member = tuple[tarfile.TarInfo, bytes]


def _member(name: str, kind: bytes, content: bytes = b"") -> Member:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.mode = 0o755
    member.size = len(content)
    return member, content


def _loot() -> Member:
    return _directory("./loot")


def _directory(name: str) -> Member:
    return _member(name, tarfile.DIRTYPE)


def _file(name: str) -> Member:
    return _member(name, tarfile.REGTYPE, CONTENT)


def _special(name: str, kind: bytes) -> Member:
    member = _member(name, kind)
    member[0].devmajor, member[0].devminor = 1, 3
    return member


def _link(name: str, target: str) -> Member:
    member = _member(name, tarfile.SYMTYPE)
    member[0].linkname = target
    return member


def _hard_link(name: str, target: str) -> Member:
    member = _member(name, tarfile.LNKTYPE)
    member[0].linkname = target
    return member


def _claiming(name: str, size: int) -> Member:
    """Return a file whose header claims a size that is not there."""
    member = _member(name, tarfile.REGTYPE)
    member[0].size = size
    return member


def _tar(*members: Member) -> bytes:
    buffer = io.BytesIO()
    for member, content in members:
        buffer.write(member.tobuf(tarfile.GNU_FORMAT))
        buffer.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
    return buffer.getvalue() + bytes(2 * tarfile.BLOCKSIZE)


def _extended(headers: dict[str, str], kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return an archive with a harmless member that its extended header turns into another."""
    member, content = _member("loot/file", kind, CONTENT if kind == tarfile.REGTYPE else b"")
    member.pax_headers = headers
    data = member.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
    return _tar(_loot())[: -2 * tarfile.BLOCKSIZE] + data + bytes(2 * tarfile.BLOCKSIZE)


def _negative_size() -> bytes:
    """Return an archive with a size field that leads back to the archive's own start."""
    archive = bytearray(_tar(_loot(), _file("loot/file")))
    header = slice(tarfile.BLOCKSIZE, 2 * tarfile.BLOCKSIZE)
    block = bytearray(archive[header])
    block[124:136] = (-tarfile.BLOCKSIZE).to_bytes(12, "big", signed=True)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    archive[header] = block
    return bytes(archive)
