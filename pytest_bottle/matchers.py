"""Values that stand for many: what a test expects of a tool's input."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Contains:
    """A text with a certain part, or a collection with a certain element."""

    part: object

    def __call__(self, value: object) -> bool:
        """Tell whether the part is in the value."""
        if isinstance(value, str):
            return isinstance(self.part, str) and self.part in value
        if isinstance(value, list | tuple | Mapping):
            return any(fits(self.part, element) for element in value)
        return False

    def __repr__(self) -> str:
        """Return it as it was written."""
        return f"contains({self.part!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Matches:
    """A text in which a regular expression is found."""

    pattern: re.Pattern[str]

    def __call__(self, value: object) -> bool:
        """Tell whether the expression is found anywhere in the value."""
        return isinstance(value, str) and self.pattern.search(value) is not None

    def __repr__(self) -> str:
        """Return it as it was written."""
        return f"matches({self.pattern.pattern!r})"


def contains(part: object) -> Contains:
    """Expect a text that has this part, or a list or mapping that has this element or key."""
    return Contains(part)


def matches(pattern: str | re.Pattern[str], flags: int = 0) -> Matches:
    """Expect a text in which this regular expression is found, anywhere."""
    return Matches(re.compile(pattern, flags))


def anything(_value: object) -> bool:
    """Expect that there is a value at all."""
    return True


def fits(expected: object, value: object) -> bool:
    """Tell whether a value is what was expected.

    Args:
        expected: The value itself; a mapping, each of whose keys has to fit while the value may
            have more of them; a list of the same length, each of whose elements has to fit; or a
            function that says whether the value will do, as `contains(...)` and `anything` do.
        value: What was seen.
    """
    if isinstance(expected, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and fits(part, value[key]) for key, part in expected.items()
        )
    if isinstance(expected, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(expected)
            and all(fits(part, element) for part, element in zip(expected, value, strict=True))
        )
    if callable(expected):
        return bool(expected(value))
    # To Python 1 and true are equal; in JSON they are not.
    return expected == value and isinstance(expected, bool) == isinstance(value, bool)


def describe(expected: object) -> str:
    """Return what was expected as its author wrote it, as far as that can be known."""
    if callable(expected) and not isinstance(expected, Contains | Matches):
        return getattr(expected, "__name__", repr(expected))
    return repr(expected)
