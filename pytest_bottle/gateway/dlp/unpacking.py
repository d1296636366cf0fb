"""Unpacks what is compressed in bytes, wherever it starts, within a budget."""

from __future__ import annotations

import bz2
import importlib
import io
import lzma
import re
import zlib
from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from typing import Any

    from pytest_bottle.gateway.dlp.budget import Budget

_STARTS: Final = re.compile(
    rb"\x1f\x8b\x08"  # gzip
    rb"|x[\x01\x5e\x9c\xda]"  # zlib, at its four usual levels
    rb"|PK\x03\x04"  # a member of a ZIP archive
    rb"|\x28\xb5\x2f\xfd"  # Zstandard
    rb"|BZh[1-9]1AY&SY"  # bzip2
    rb"|\xfd7zXZ\x00"  # xz
)
_SPACE = 32
"""The first character that is printable."""

_FIRST, _LARGEST = 1024, 1024 * 1024
_CRUMB = 16
_SHORTEST = 8
"""Bytes; what is shorter when unpacked was nothing compressed."""


def unpacked(data: bytes, budget: Budget) -> Iterator[tuple[str, bytes]]:
    """Yield what was unpacked, and by which algorithm; streams of one kind are put together.

    Checksums are not checked: who receives it need not check them either. What comes before a
    fault counts.

    Raises:
        ExhaustedError: there is more than the budget allows.
    """
    parts: dict[str, list[bytes]] = {}
    end = 0
    for start in _STARTS.finditer(data):
        if start.start() < end:
            continue
        budget.open()
        kind, content, end = _unpack(data, start.start(), budget)
        if len(content) >= _SHORTEST:
            parts.setdefault(kind, []).append(content)
    for kind, contents in parts.items():
        yield kind, b"\n".join(contents)
    if not parts and data and not _is_text(data[:64]):
        # They start with no mark: nothing but trying tells.
        yield from without_mark(data, budget)


def without_mark(data: bytes, budget: Budget) -> Iterator[tuple[str, bytes]]:
    """Yield what bytes are when taken as a format that cannot be recognised.

    Raises:
        ExhaustedError: there is more than the budget allows.
    """
    budget.open()
    content, _ = _inflate(data, 0, budget)
    if len(content) >= _SHORTEST:
        yield "deflate", content
    content = _brotli(data, budget)
    if len(content) >= _SHORTEST:
        yield "brotli", content


def _is_text(head: bytes) -> bool:
    return all(byte >= _SPACE or byte in b"\t\n\r" for byte in head)


def _unpack(data: bytes, at: int, budget: Budget) -> tuple[str, bytes, int]:
    """Return the algorithm, what was unpacked, and where it ended."""
    match data[at]:
        case 0x1F:
            return ("gzip", *_inflate(data, _gzip_content(data, at), budget))
        case 0x78:
            return ("zlib", *_inflate(data, at + 2, budget))
        case 0x50:
            return ("zip", *_zip_member(data, at, budget))
        case 0x28:
            return "zstd", _zstd(data[at:], budget), at + 4
        case 0x42:
            return ("bzip2", *_fed(bz2.BZ2Decompressor(), data, at, budget))
        case _:
            return ("xz", *_fed(lzma.LZMADecompressor(), data, at, budget))


def _gzip_content(data: bytes, at: int) -> int:
    flags = data[at + 3] if len(data) > at + 3 else 0
    place = at + 10
    if flags & 4:
        place += 2 + int.from_bytes(data[place : place + 2], "little")
    for named in (8, 16):
        if flags & named:
            place = data.find(b"\0", place) + 1 or len(data)
    return place + (2 if flags & 2 else 0)


def _zip_member(data: bytes, at: int, budget: Budget) -> tuple[bytes, int]:
    """Return a member's content; one that is merely stored is in the archive as it is."""
    header = data[at : at + 30]
    if len(header) < 30:  # noqa: PLR2004 - the length of the header
        return b"", at + 4
    start = at + 30 + sum(int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
    deflated = 8
    if int.from_bytes(header[8:10], "little") != deflated:
        return b"", at + 4
    return _inflate(data, start, budget)


def _inflate(data: bytes, at: int, budget: Budget) -> tuple[bytes, int]:
    """Return the content of a raw deflate stream, and where it ended."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    view = memoryview(data)
    contents = []
    size = _FIRST
    while at < len(data) and not stream.eof:
        piece = view[at : at + size]
        before = stream.copy()
        try:
            content = stream.decompress(piece, budget.unpackable + 1)
        except zlib.error:
            contents.append(_until_fault(before, piece, budget))
            break
        budget.unpack(len(content))
        contents.append(content)
        at += len(piece) - len(stream.unused_data)
        size = min(size * 2, _LARGEST)
    return b"".join(contents), at


def _until_fault(stream: Any, piece: memoryview, budget: Budget) -> bytes:  # noqa: ANN401
    """Return what a stream gives before it turns out to be damaged."""
    contents = []
    # The piece is long only where much was unpacked before, and then a crumb is worth less.
    step = max(_CRUMB, len(piece) // 64)
    for at in range(0, len(piece), step):
        try:
            content = stream.decompress(piece[at : at + step], budget.unpackable + 1)
        except zlib.error:
            break
        budget.unpack(len(content))
        contents.append(content)
    return b"".join(contents)


def _fed(stream: Any, data: bytes, at: int, budget: Budget) -> tuple[bytes, int]:  # noqa: ANN401
    """Return what a decompressor of the standard library makes of bytes."""
    view = memoryview(data)
    contents = []
    size = _FIRST
    try:
        while at < len(data) and not stream.eof:
            piece = view[at : at + size]
            content = stream.decompress(piece, budget.unpackable + 1)
            budget.unpack(len(content))
            contents.append(content)
            at += len(piece)
            size = min(size * 2, _LARGEST)
        at -= len(stream.unused_data)
    except (OSError, EOFError, lzma.LZMAError):
        pass
    return b"".join(contents), at


def _zstd(data: bytes, budget: Budget) -> bytes:
    """Return the content of a Zstandard stream; empty where no library for it is installed."""
    opened: Callable[[io.BytesIO], Any]
    if library := _library("compression.zstd"):
        opened = library.ZstdFile
    elif library := _library("zstandard"):
        opened = library.ZstdDecompressor(max_window_size=2**27).stream_reader
    else:
        return b""
    contents = []
    with opened(io.BytesIO(data)) as stream:
        while True:
            try:
                content = stream.read(_LARGEST)
            except (EOFError, library.ZstdError):
                break
            if not content:
                break
            budget.unpack(len(content))
            contents.append(content)
    return b"".join(contents)


def _brotli(data: bytes, budget: Budget) -> bytes:
    """Return the content of a Brotli stream; empty where no library for it is installed."""
    library = _library("brotli")
    if library is None:
        return b""
    stream = library.Decompressor()
    contents = []
    # A few bytes can hold very much, and older versions of the library know no limit.
    step = 8
    for at in range(0, len(data), step):
        try:
            content = stream.process(data[at : at + step])
        except library.error:
            break
        budget.unpack(len(content))
        contents.append(content)
    return b"".join(contents)


def _library(name: str) -> Any | None:  # noqa: ANN401
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
