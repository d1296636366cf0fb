"""Files that other processes see whole or not at all, and the locks around them."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def publish(path: Path, text: str) -> None:
    """Write a file (mode 0600) that appears, or replaces its predecessor, in one step.

    It outlives the death of any process, but not the loss of power: nothing waits for the disk.
    """
    draft = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            file.write(text)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever was published there
    """Read a published JSON file.

    Raises:
        FileNotFoundError: nothing was published there yet.
    """
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def locked(path: Path, *, timeout: float = -1, poll: float = 0.002) -> Iterator[None]:
    """Hold a lock among processes and threads; the kernel releases a dead process's.

    Args:
        path: the lock's file; it stays.
        timeout: seconds to wait for it; below 0, for as long as it takes.
        poll: seconds between two looks at a lock that is taken.

    Raises:
        TimeoutError: somebody else held it all that time.
    """
    from filelock import FileLock  # noqa: PLC0415 - costs too much for a suite without bottles

    with FileLock(path, timeout=timeout, poll_interval=poll):
        yield
