"""What models cost: a table of list prices, and a file of a user's own that goes before it."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_bottle.usage import Usage

PRICES_DATE: Final = "2026-10-24"
"""The day on which the built-in prices were those of the vendors' price lists."""

_MILLION: Final = 1_000_000
_NUMBERS: Final = ("input", "output", "cache_read", "cache_write", "long_input", "long_output")
_DATED: Final = re.compile(r"(-\d{8}|-\d{4}-\d\d-\d\d|-latest|@[\w-]+)$")
_VARIANT: Final = re.compile(r"\[\w+\]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens, by kind."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    long_above: int | None = None
    """Prompts of more tokens than this, cached ones included, pay the factors below."""
    long_input: float = 1.0
    """Factor for all that is read, and for writing to the cache."""
    long_output: float = 1.0

    def cost(self, usage: Usage) -> float:
        """Return the US dollars that one answer costs."""
        prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        long = self.long_above is not None and prompt > self.long_above
        reading = (
            usage.input_tokens * self.input
            + usage.cache_read_tokens * self.cache_read
            + usage.cache_write_tokens * self.cache_write
        ) * (self.long_input if long else 1.0)
        writing = usage.output_tokens * self.output * (self.long_output if long else 1.0)
        return (reading + writing) / _MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Prices by model."""

    prices: Mapping[str, Price]
    """By the model's name without a date; a name that ends in `*` stands for all that begin so."""
    date: str = PRICES_DATE

    def price_of(self, model: str) -> Price | None:
        """Return a model's price; None where there is none.

        A date after the name (`claude-haiku-4-5-20251001`), a vendor before it (`openai/gpt-5`)
        and a variant (`claude-opus-5[1m]`) make no difference. Another version does: no price is
        guessed.
        """
        whole = _VARIANT.sub("", model.rpartition("/")[2])
        for name in (model, whole, _DATED.sub("", whole)):
            if name in self.prices:
                return self.prices[name]
        stems = [name for name in self.prices if name.endswith("*") and whole.startswith(name[:-1])]
        return self.prices[max(stems, key=len)] if stems else None

    def cost(self, model: str, usage: Usage) -> float | None:
        """Return the US dollars that an answer costs; None where the model has no price."""
        price = self.price_of(model)
        return None if price is None else price.cost(usage)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PriceTable:
        """Return what `to_json` gave."""
        prices = {name: Price(**price) for name, price in value["prices"].items()}
        return cls(prices=prices, date=value["date"])


def load_prices(path: Path | None) -> PriceTable:
    """Return the built-in prices, with those of a file before them.

    The file is TOML::

        date = "2026-11-02"

        [models."house-model-*"]
        input = 0.5             # US dollars per million tokens
        output = 2.0
        cache_read = 0.05       # else as `input`
        cache_write = 0.5       # else as `input`

    Raises:
        OptionError: the file cannot be read, or does not say this.
    """
    if path is None:
        return BUILT_IN
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
        return _read(table)
    except (OSError, ValueError) as problem:
        raise OptionError(
            f"these are no prices: {problem}.",
            option="prices",
            source=str(path),
            remedy='Write [models."NAME"] tables with `input` and `output` in US dollars per '
            "million tokens.",
        ) from problem


def _read(table: Mapping[str, Any]) -> PriceTable:
    if unknown := set(table) - {"date", "models"}:
        message = f"unknown key {min(unknown)!r}"
        raise ValueError(message)
    own = {name: _price(name, value) for name, value in dict(table.get("models", {})).items()}
    date = str(table.get("date", PRICES_DATE))
    return PriceTable(prices={**BUILT_IN.prices, **own}, date=date)


def _price(name: str, value: object) -> Price:
    if not isinstance(value, Mapping):
        message = f"models.{name!r} is not a table"
        raise ValueError(message)  # noqa: TRY004 - one kind for all that the file gets wrong
    for key, number in value.items():
        if key not in {*_NUMBERS, "long_above"}:
            message = f"unknown key {key!r} in models.{name!r}"
            raise ValueError(message)
        if isinstance(number, bool) or not isinstance(number, int | float) or not number >= 0:
            message = f"{key} of models.{name!r} is not a number from zero up"
            raise ValueError(message)
    if missing := {"input", "output"} - set(value):
        message = f"models.{name!r} has no {min(missing)!r}"
        raise ValueError(message)
    numbers = {key: float(value[key]) for key in _NUMBERS if key in value}
    numbers.setdefault("cache_read", numbers["input"])
    numbers.setdefault("cache_write", numbers["input"])
    long_above = int(value["long_above"]) if "long_above" in value else None
    return Price(**numbers, long_above=long_above)


def _anthropic(read: float, write: float, cached: float | None = None) -> Price:
    # A write into the cache for five minutes, which is what agents ask for.
    cached = read / 10 if cached is None else cached
    return Price(input=read, output=write, cache_read=cached, cache_write=read * 1.25)


def _openai(read: float, write: float, cached: float) -> Price:
    return Price(input=read, output=write, cache_read=cached, cache_write=read)


def _openai_long(read: float, write: float, cached: float) -> Price:
    return Price(
        input=read,
        output=write,
        cache_read=cached,
        cache_write=read * 1.25,
        long_above=272_000,
        long_input=2.0,
        long_output=1.5,
    )


BUILT_IN: Final = PriceTable(
    prices={
        "claude-fable-5-1": _anthropic(10, 50, cached=0.25),
        "claude-fable-5": _anthropic(10, 50),
        "claude-opus-5-5": _anthropic(4, 20, cached=0.2),
        "claude-opus-5": _anthropic(5, 25),
        "claude-opus-4-8": _anthropic(5, 25),
        "claude-opus-4-7": _anthropic(5, 25),
        "claude-opus-4-6": _anthropic(5, 25),
        "claude-opus-4-5": _anthropic(5, 25),
        "claude-opus-4-1": _anthropic(15, 75),
        "claude-opus-4": _anthropic(15, 75),
        "claude-sonnet-5-5": _anthropic(2, 10, cached=0.1),
        "claude-sonnet-5": _anthropic(2, 10),
        "claude-sonnet-4-6": _anthropic(3, 15),
        "claude-sonnet-4-5": _anthropic(3, 15),
        "claude-sonnet-4": _anthropic(3, 15),
        "claude-3-7-sonnet": _anthropic(3, 15),
        "claude-haiku-5-5": Price(
            input=0.1,
            output=0.5,
            cache_read=0.01,
            cache_write=0.125,
            long_above=100_000,
            long_input=5.0,
            long_output=5.0,
        ),
        "claude-haiku-4-5": _anthropic(1, 5),
        "claude-3-5-haiku": _anthropic(0.8, 4),
        "gpt-6.2-sol": _openai_long(2, 10, 0.1),
        "gpt-5.6": _openai_long(4, 20, 0.4),
        "gpt-5.6-sol": _openai_long(4, 20, 0.4),
        "gpt-5.6-terra": _openai_long(2, 12, 0.2),
        "gpt-5.6-luna": _openai_long(0.2, 1.2, 0.02),
        "gpt-5.4-mini": _openai(0.75, 4.5, 0.075),
        "gpt-5.4-nano": _openai(0.2, 1.25, 0.02),
        "gpt-5.3-codex": _openai(1.75, 14, 0.175),
        "gpt-5.2-codex": _openai(1.75, 14, 0.175),
        "gpt-5.2": _openai(1.75, 14, 0.175),
        "gpt-5.1-codex-max": _openai(1.25, 10, 0.125),
        "gpt-5.1-codex": _openai(1.25, 10, 0.125),
        "gpt-5.1": _openai(1.25, 10, 0.125),
        "gpt-5-codex": _openai(1.25, 10, 0.125),
        "gpt-5": _openai(1.25, 10, 0.125),
        "gpt-5-mini": _openai(0.25, 2, 0.025),
        "gpt-5-nano": _openai(0.05, 0.4, 0.005),
        "gpt-4.1": _openai(2, 8, 0.5),
        "gpt-4.1-mini": _openai(0.4, 1.6, 0.1),
        "gpt-4.1-nano": _openai(0.1, 0.4, 0.025),
        "codex-mini": _openai(1.5, 6, 0.375),
    }
)
"""List prices at the standard tier, without a batch's discount or a fast lane's surcharge."""
