"""Argument vectors for a guest: checked, and within what its kernel takes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ARGUMENT_LIMIT: Final = 120_000
"""Bytes of one argument; Linux refuses more than 128 KiB (MAX_ARG_STRLEN, execve(2))."""


def shell_argv(script: str) -> list[str]:
    """Return a command that runs a script; a long one is put together from several arguments.

    So it needs no file in the guest, and its standard input stays the caller's.
    """
    if len(script.encode()) <= ARGUMENT_LIMIT:
        return ["/bin/sh", "-c", script]
    size = ARGUMENT_LIMIT // 4  # characters of at most four bytes each
    pieces = [script[start : start + size] for start in range(0, len(script), size)]
    # The dot keeps the line breaks at the script's end.
    join = '_script=$(printf %s "$@" .); set --; eval "unset _script; ${_script%.}"'
    return ["/bin/sh", "-c", join, "/bin/sh", *pieces]


def checked_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of a command as they can be passed on.

    Raises:
        TypeError: it is a string, or has what is no string.
        ValueError: it is empty, or an argument has a NUL character.
    """
    if isinstance(argv, str):
        message = f"exec takes a list of arguments, not {argv[:100]!r}: use sh() for a shell line"
        raise TypeError(message)
    given: tuple[object, ...] = tuple(argv)
    if not given:
        message = "exec needs a command"
        raise ValueError(message)
    words = []
    for word in given:
        if not isinstance(word, str):
            message = f"every argument must be a string, not {word!r}"
            raise TypeError(message)
        if "\0" in word:
            message = f"an argument cannot have a NUL character: {word[:100]!r}"
            raise ValueError(message)
        words.append(word)
    return tuple(words)
