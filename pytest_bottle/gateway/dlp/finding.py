"""What a search for secrets found, without the secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from collections.abc import Iterable

UNSEARCHABLE: Final = "cannot be searched"
"""The rule of a finding that says that something is too large, or too deep, to be looked into."""

CANARY: Final = "canary"
"""The name of a declared secret that is a canary, and the rule of its findings."""

_SHOWN = 4
_LONG_ENOUGH = 16
"""Characters from which on the first ones of a value give nothing away."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One secret, or what looks like one."""

    rule: str
    """Such as `secret GITHUB_TOKEN`, `canary`, `aws-access-key`, or `UNSEARCHABLE`."""
    where: str
    """What was searched, as the caller calls it."""
    evidence: str
    """Redacted: at most the first four characters, the length, and how it was encoded."""
    line: int | None = None
    """From 1, where what was searched is a text with lines."""

    @property
    def mark(self) -> tuple[str, str]:
        """What is the same for the same value, however it was encoded."""
        return self.rule, self.evidence.partition(";")[0].rstrip(")")


def redacted(value: str, encodings: Iterable[str] = ()) -> str:
    """Return what may be shown of a value: too little to use, enough to recognise it by."""
    start = f"{value[:_SHOWN]}... " if len(value) >= _LONG_ENOUGH and value.isprintable() else ""
    how = ", ".join(encodings)
    return f"{start}({len(value)} characters{f'; {how}' if how else ''})"
