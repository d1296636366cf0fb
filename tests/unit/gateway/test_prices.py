"""Prices: the built-in table, and a user's own before it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import OptionError
from pytest_bottle.gateway.prices import BUILT_IN
from pytest_bottle.gateway.prices import PRICES_DATE
from pytest_bottle.gateway.prices import PriceTable
from pytest_bottle.gateway.prices import load_prices
from pytest_bottle.usage import Usage

if TYPE_CHECKING:
    from pathlib import Path

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("kind", "dollars"),
    [
        ("input_tokens", 3.0),
        ("output_tokens", 15.0),
        ("cache_read_tokens", 0.3),
        ("cache_write_tokens", 3.75),
    ],
)
def test_each_kind_of_token_has_its_price(kind, dollars):
    small = Usage(**{kind: 1000})
    assert BUILT_IN.cost("claude-sonnet-4-5", small) == pytest.approx(dollars / 1000)


@pytest.mark.parametrize(
    "name",
    [
        "claude-haiku-4-5",
        "claude-haiku-4-5-20251001",
        "claude-haiku-4-5-latest",
        "claude-haiku-4-5@20251001",
        "claude-haiku-4-5[1m]",
        "anthropic/claude-haiku-4-5",
    ],
)
def test_dates_vendors_and_variants_make_no_difference(name):
    assert BUILT_IN.price_of(name) == BUILT_IN.prices["claude-haiku-4-5"]


@pytest.mark.parametrize("name", ["claude-opus-4-99", "gpt-5.99", "gpt-5-ultra", "mystery", ""])
def test_no_price_is_guessed(name):
    assert BUILT_IN.price_of(name) is None
    assert BUILT_IN.cost(name, Usage(input_tokens=1)) is None


def test_a_long_prompt_pays_more_where_the_list_says_so():
    short, long = Usage(input_tokens=100_000), Usage(input_tokens=1, cache_read_tokens=100_000)
    assert BUILT_IN.cost("claude-haiku-5-5", short) == pytest.approx(0.01)
    assert BUILT_IN.cost("claude-haiku-5-5", long) == pytest.approx(
        (100_000 * 0.05 + 0.5) / MILLION
    )


def test_the_table_says_of_which_day_it_is():
    assert dt.date.fromisoformat(BUILT_IN.date) == dt.date.fromisoformat(PRICES_DATE)


class TestFile:
    def write(self, tmp_path: Path, text: str) -> Path:
        path = tmp_path / "prices.toml"
        path.write_text(text)
        return path

    def test_a_model_may_be_added(self, tmp_path):
        path = self.write(
            tmp_path, 'date = "2026-11-02"\n[models.house]\ninput = 1\noutput = 2\ncache_read = 0.1'
        )
        table = load_prices(path)
        assert table.cost("house", Usage(output_tokens=MILLION)) == 2
        assert table.cost("house", Usage(cache_write_tokens=MILLION)) == 1
        assert table.price_of("gpt-5") == BUILT_IN.price_of("gpt-5")
        assert table.date == "2026-11-02"

    def test_a_built_in_price_may_be_replaced(self, tmp_path):
        path = self.write(tmp_path, '[models."gpt-5"]\ninput = 1\noutput = 2')
        assert load_prices(path).cost("gpt-5", Usage(input_tokens=MILLION)) == 1

    def test_a_name_may_stand_for_all_that_begin_so(self, tmp_path):
        text = '[models."house-*"]\ninput=1\noutput=1\n[models."house-big-*"]\ninput=5\noutput=5'
        table = load_prices(self.write(tmp_path, text))
        assert table.cost("house-small", Usage(input_tokens=MILLION)) == 1
        assert table.cost("house-big-2", Usage(input_tokens=MILLION)) == 5

    def test_it_comes_to_the_door_as_it_is(self, tmp_path):
        table = load_prices(self.write(tmp_path, "[models.house]\ninput = 1\noutput = 2"))
        assert PriceTable.from_json(table.to_json()) == table

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[models", "Expected"),
            ("[model.house]\ninput = 1", "unknown key 'model'"),
            ("[models]\nhouse = 1", "models.'house' is not a table"),
            ("[models.house]\ninput = 1", "models.'house' has no 'output'"),
            ("[models.house]\ninput = 1\noutput = -2", "output of models.'house' is not a number"),
            ("[models.house]\ninput = true\noutput = 2", "input of models.'house' is not a number"),
            ("[models.house]\ninput = nan\noutput = 2", "input of models.'house' is not a number"),
            ("[models.house]\ninputs = 1", "unknown key 'inputs' in models.'house'"),
        ],
    )
    def test_what_is_wrong_with_it_is_said(self, tmp_path, text, problem):
        with pytest.raises(OptionError, match=r"prices\.toml.*these are no prices") as failure:
            load_prices(self.write(tmp_path, text))
        assert problem in str(failure.value)

    def test_a_file_that_is_not_there_is_said(self, tmp_path):
        with pytest.raises(OptionError, match="No such file"):
            load_prices(tmp_path / "none.toml")

    def test_no_file_is_the_built_in_table(self):
        assert load_prices(None) is BUILT_IN
