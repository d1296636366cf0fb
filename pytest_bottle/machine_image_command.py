"""What `pytest-bottle image` does with images of microVMs: makes, lists and removes them."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.amounts import age_in_words
from pytest_bottle.amounts import size_in_words
from pytest_bottle.errors import ImageError
from pytest_bottle.errors import OptionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from collections.abc import Sequence

    from pytest_bottle.backends.smolmachines.cache import CachedImage
    from pytest_bottle.backends.smolmachines.images import MachineImage

_OURS: Final = re.compile(r"(?:archive|pack)-[0-9a-f]+")
_CHUNK: Final = 4 << 20


def set_up(parser: argparse.ArgumentParser) -> None:
    """Add the options of `convert` to its parser."""
    parser.add_argument("name", metavar="NAME|ARCHIVE|DIR", help="an image of Docker's, or a path")
    parser.add_argument(
        "--pack", action="store_true", help="boot it once, and keep a .smolmachine of that"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write it there as well; no such file yet"
    )
    parser.set_defaults(run=convert)


def convert(arguments: argparse.Namespace, _rest: list[str]) -> int:
    """Make an image that microVMs start from, and say where it is."""
    from pytest_bottle.backends.smolmachines.images import convert as converted
    from pytest_bottle.progress import progress

    output = None if arguments.output is None else Path.cwd() / arguments.output
    if output is not None:
        _check_output(output, pack=arguments.pack)
    with progress(f"converting {arguments.name}", sys.stderr, unit="B") as shown:
        image = converted(arguments.name, shown.say, advance=shown.reach)
        if arguments.pack:
            image = _packed(image, shown.say)
        source = _file_of(image)
        if output is not None:
            _write(source, output, shown.reach)
            source = output
    print(f"{arguments.name}: {source} ({size_in_words(source.stat().st_size)})")
    return 0


def _packed(image: MachineImage, report: Callable[[str], None]) -> MachineImage:
    from pytest_bottle.backends.smolmachines.backend import engine_with_state
    from pytest_bottle.backends.smolmachines.engine import current_engine
    from pytest_bottle.backends.smolmachines.images import pack_of

    return pack_of(engine_with_state(current_engine()), image, report)


def _check_output(output: Path, *, pack: bool) -> None:
    """Refuse a file that is there, or whose name would mislead the engine.

    Raises:
        OptionError
    """
    suffix = ".smolmachine" if pack else ".tar"
    if output.suffix != suffix:
        raise OptionError(
            f"{output.name} does not end in {suffix}, by which the engine knows it.",
            option="-o",
            source="the command line",
        )
    if output.exists() or output.is_symlink():
        raise OptionError(f"{output} is there already.", option="-o", source="the command line")


def _file_of(image: MachineImage) -> Path:
    """Return the file of an image.

    Raises:
        ImageError: it is a registry's, and none was made.
    """
    path = image.pack or (None if image.image is None else Path(image.image))
    if path is None or not path.is_absolute():
        raise ImageError(
            image.name,
            reason="no docker engine here has it; a microVM gets it from its registry itself.",
            remedy=f"`docker pull {image.name}` first, or keep what a machine makes of it: --pack.",
        )
    return path


def _write(source: Path, output: Path, reach: Callable[[float, float], None]) -> None:
    """Copy a file to where there is none: whole, or not at all, and readable for all.

    Raises:
        ImageError: the disk is full, or the place may not be written to.
    """
    from pytest_bottle.backends.smolmachines.cache import check_space

    size = source.stat().st_size
    draft = output.with_name(f".{output.name}.draft")
    try:
        check_space(str(output), output.parent, size)
        with source.open("rb") as read, draft.open("wb") as written:
            while chunk := read.read(_CHUNK):
                written.write(chunk)
                reach(written.tell(), size)
        draft.chmod(0o644)
        draft.rename(output)
    except OSError as problem:
        raise ImageError(
            str(output),
            reason=f"it cannot be written: {problem.strerror or problem}.",
            remedy="Check its disk, and who may write there.",
        ) from problem
    finally:
        draft.unlink(missing_ok=True)


def rows() -> Sequence[tuple[str, str, str, str, str]]:
    """Return what the cache holds, as `image ls` shows it."""
    from pytest_bottle.backends.smolmachines.cache import list_cached

    now = time.time()
    return [
        (
            image.label,
            image.form,
            size_in_words(image.size),
            age_in_words(now - image.used),
            f"of {image.name}, for microVMs",
        )
        for image in list_cached()
    ]


def is_ours(name: str) -> bool:
    """Whether a name is of the form that `image ls` shows for images of microVMs."""
    return bool(_OURS.fullmatch(name))


def remove(names: Sequence[str] | None) -> int:
    """Remove images from the cache; return how many were there and could not be removed.

    Args:
        names: as `rows` shows them; None is all of them.

    Raises:
        ImageError: there is none of a name.
    """
    from pytest_bottle.backends.smolmachines.cache import list_cached
    from pytest_bottle.backends.smolmachines.cache import remove_cached
    from pytest_bottle.backends.smolmachines.cache import remove_drafts

    cached = list_cached()
    chosen: list[CachedImage] = list(cached) if names is None else []
    for name in names or ():
        found = [image for image in cached if image.label == name]
        if not found:
            raise ImageError(
                name,
                reason="no such image of microVMs is kept here.",
                remedy="`pytest-bottle image ls` lists them.",
            )
        chosen += found
    remove_drafts()
    failed = 0
    for image in chosen:
        try:
            remove_cached(image)
        except OSError as problem:
            failed += 1
            print(f"not removed {image.label}: {problem}", file=sys.stderr)
        else:
            print(f"removed {image.label} (of {image.name})")
    return failed
