"""Shows a person how far something is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from typing import NoReturn
from typing import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from tqdm import tqdm

_FORMAT = "{desc}: {n_fmt}/{total_fmt} |{bar:20}| {elapsed}{postfix}"


class Progress(Protocol):
    """What there is to say while a person waits."""

    def reach(self, done: float, total: float) -> None:
        """Say how much is done."""
        ...

    def say(self, line: str) -> None:
        """Say what is being done."""
        ...


class _Lines:
    """How much is done is not said where each line stays."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def reach(self, done: float, total: float) -> None:
        pass

    def say(self, line: str) -> None:
        print(_printable(line), file=self._stream, flush=True)


class _Bar:
    """Only the last line is shown."""

    def __init__(self, bar: tqdm[NoReturn]) -> None:
        self._bar = bar

    def reach(self, done: float, total: float) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def say(self, line: str) -> None:
        self._bar.set_postfix_str(_printable(line).strip())


@contextlib.contextmanager
def progress(label: str, stream: TextIO, *, unit: str = "") -> Iterator[Progress]:
    """Yield what shows progress until it is left; a bar then leaves nothing behind.

    Args:
        label: What is being done.
        stream: Where to.
        unit: What is counted: `B` is shown in kilobytes and so on.
    """
    try:
        from tqdm import tqdm  # noqa: PLC0415 - part of an extra
    except ImportError:
        yield _Lines(stream)
        return
    if not stream.isatty():
        yield _Lines(stream)
        return
    bar: tqdm[NoReturn]
    with tqdm(
        desc=label,
        file=stream,
        bar_format=_FORMAT,
        dynamic_ncols=True,
        leave=False,
        unit=unit,
        unit_scale=unit == "B",
    ) as bar:
        yield _Bar(bar)


def _printable(line: str) -> str:
    """Return a line without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in line)
