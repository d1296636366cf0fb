"""What a test process tells the door about a bottle when it opens the door for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.gateway.prices import BUILT_IN
from pytest_bottle.gateway.prices import PriceTable
from pytest_bottle.usage import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.gateway.values import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A real API."""

    base_url: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One bottle's door."""

    bottle: str
    token: str = field(repr=False)
    """What the guest presents as its key; worth nothing anywhere else."""
    mode: Mode = "scripted"
    test: str = ""
    """The test's id, for the ledger and for messages."""
    agent: str = ""
    shared: bool = False
    """Whether it stays open when the process that opened it ends: until it is closed, or the run
    ends."""
    cassette: Path | None = None
    """Recorded answers; for the modes `replay`, `record` and `new-episodes`."""
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    """Real APIs by family, `anthropic` and `openai`."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values by name, blotted out of whatever is written."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What is called otherwise in each run, by what it is: no difference to a cassette."""
    budget: Budget | None = None
    """What this bottle may spend."""
    run_budget: Budget | None = None
    """What all bottles of the run together may spend."""
    prices: PriceTable = BUILT_IN
    evidence: Path | None = None
    """A directory that every exchange is written to, into `<bottle>.model.jsonl`."""

    @property
    def hidden(self) -> dict[str, str]:
        """All values that must not be written anywhere, by name."""
        keys = {f"{family} key": upstream.key for family, upstream in self.upstreams.items()}
        return {**self.secrets, **keys, "model token": self.token}

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **{field_.name: getattr(self, field_.name) for field_ in dataclasses.fields(self)},
            "cassette": None if self.cassette is None else str(self.cassette),
            "evidence": None if self.evidence is None else str(self.evidence),
            "upstreams": {name: dataclasses.asdict(one) for name, one in self.upstreams.items()},
            "secrets": dict(self.secrets),
            "names": dict(self.names),
            "budget": None if self.budget is None else dataclasses.asdict(self.budget),
            "run_budget": None if self.run_budget is None else dataclasses.asdict(self.run_budget),
            # The table of every bottle but those with a file of their own.
            "prices": None if self.prices is BUILT_IN else self.prices.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Opening:
        """Return what `to_json` was called on."""
        upstreams = {name: Upstream(**one) for name, one in value["upstreams"].items()}
        prices = value["prices"]
        return cls(
            **{
                **{name: value[name] for name in ("bottle", "token", "mode", "test", "agent")},
                "shared": value["shared"],
                "cassette": _path(value["cassette"]),
                "evidence": _path(value["evidence"]),
                "upstreams": upstreams,
                "secrets": value["secrets"],
                "names": value["names"],
                "budget": _budget(value["budget"]),
                "run_budget": _budget(value["run_budget"]),
                "prices": BUILT_IN if prices is None else PriceTable.from_json(prices),
            }
        )


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)


def _budget(value: Mapping[str, Any] | None) -> Budget | None:
    return None if value is None else Budget(**value)
