"""How a fake sandbox starts with another one's files: copied while that one stands still."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from pytest_bottle.backends.copying import copy_tree
from pytest_bottle.testing.fake_keeper import descendants

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator
    from pathlib import Path


def copy_directory(source: Path, target: Path) -> None:
    """Make a directory's content that of another.

    Raises:
        OSError: something could not be read or written.
    """
    with contextlib.ExitStack() as stack:
        opened = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (source, target)]
        for descriptor in opened:
            stack.callback(os.close, descriptor)
        copy_tree(*opened)


@contextlib.contextmanager
def stopped(keeper: int) -> Iterator[None]:
    """Stop what runs below a keeper, for as long as the block takes.

    What starts meanwhile, or was not seen, may still write: a fake has no more than that.
    """
    pids = descendants(keeper)
    _send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(pids, signal.SIGCONT)


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
