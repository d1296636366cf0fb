"""What a test process tells the door about a bottle's gates when it opens them."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.door_plan import DoorPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL_VARIABLES: Final = ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL")
"""The host's variables that say where models are."""

ROOTS_VARIABLES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""The host's variables that name files of certificates which it trusts."""

VARIABLES: Final = (*MODEL_VARIABLES, *ROOTS_VARIABLES)
"""The host's variables that gates go by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOpening:
    """What a test process tells the door about a bottle's gates."""

    bottle: str
    token: str = field(repr=False)
    """What the guest presents; worth nothing anywhere else."""
    plan: DoorPlan
    evidence: Path | None
    """A directory in which each gate's records are written, to `<bottle>.<kind>.jsonl`."""
    state: Path
    """The bottle's directory on the host: for files that end with it."""
    secrets: Mapping[str, str] = field(repr=False)
    """Declared secrets by name: what must not leave, and is blotted out of records."""
    credentials: Mapping[str, str] = field(repr=False)
    """Values of the plan's `token_refs`, by name."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Those of the test process's variables that its gates go by: the door's own are of whoever
    started it."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "bottle": self.bottle,
            "token": self.token,
            "plan": self.plan.to_json(),
            "evidence": None if self.evidence is None else str(self.evidence),
            "state": str(self.state),
            "secrets": dict(self.secrets),
            "credentials": dict(self.credentials),
            "environ": dict(self.environ),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> GateOpening:
        """Return what `to_json` was called on."""
        evidence = value["evidence"]
        return cls(
            **{
                **value,
                "plan": DoorPlan.from_json(value["plan"]),
                "evidence": None if evidence is None else Path(evidence),
                "state": Path(value["state"]),
            }
        )
