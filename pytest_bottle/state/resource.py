"""A record of something on the host that has to be removed."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Something on the host that outlives a process, and what it takes to remove it.

    `kind` chooses who removes it: `process` (`id` is an encoded `Owner`) and `directory` (`id` is
    a path below the state directory) are removed by the reaper itself, every other kind is
    `<backend>:<what>` and goes to that backend's `remove`.
    """

    kind: str
    id: str
    data: Mapping[str, Any] = field(default_factory=dict)
    """JSON values only."""
    late: bool = True
    """Whether it may still come into being after the death of the process that asked for it, as
    what an engine makes may; the reaper then looks for it more than once."""
