"""The ledger: what answers took, readable by any process at any time."""

from __future__ import annotations

import pytest

from pytest_bottle.gateway.ledger import Ledger
from pytest_bottle.gateway.ledger import Line
from pytest_bottle.gateway.ledger import by_test
from pytest_bottle.gateway.ledger import read_ledger
from pytest_bottle.gateway.ledger import total
from pytest_bottle.usage import Usage


def line(
    test: str = "test_a",
    cost: float | None = 0.5,
    *,
    origin: str = "script",
    model: str = "claude-opus-5",
    tokens: int = 10,
) -> Line:
    return Line(
        test=test,
        bottle="bottle-1",
        agent="reviewer",
        model=model,
        usage=Usage(input_tokens=tokens),
        cost=cost,
        origin=origin,
        status=200,
        at=1.5,
    )


@pytest.fixture
def path(tmp_path):
    """Where the ledger is."""
    return tmp_path / "ledger.jsonl"


@pytest.fixture
def ledger(path):
    """A ledger that is closed after the test."""
    ledger = Ledger(path)
    yield ledger
    ledger.close()


def test_what_is_written_can_be_read_at_once(ledger, path):
    ledger.add(line())
    ledger.add(line("test_b", None))
    assert read_ledger(path) == [line(), line("test_b", None)]


def test_a_run_without_a_ledger_took_nothing(path):
    assert total(read_ledger(path)).requests == 0


def test_a_second_writer_goes_on_where_the_first_one_ended(ledger, path):
    ledger.add(line())
    second = Ledger(path)
    second.add(line("test_b"))
    second.close()
    assert [one.test for one in read_ledger(path)] == ["test_a", "test_b"]


def test_a_torn_line_costs_no_other(ledger, path):
    ledger.add(line())
    with path.open("ab") as file:
        file.write(b'\n{"test": "te')
    ledger.add(line("test_b"))
    assert [one.test for one in read_ledger(path)] == ["test_a", "test_b"]


@pytest.mark.usefixtures("ledger")
def test_only_its_user_reads_it(path):
    assert path.stat().st_mode & 0o777 == 0o600


def test_totals_tell_what_was_paid_from_what_was_played():
    totals = total([line(), line(origin="cassette"), line(origin="upstream", cost=0.25)])
    assert (totals.requests, totals.cost, totals.paid) == (3, 1.25, 0.25)
    assert totals.usage == Usage(input_tokens=30)


def test_models_without_a_price_are_named():
    totals = total([line(cost=None, model="mystery"), line(cost=None, model="idle", tokens=0)])
    assert totals.unpriced == {"mystery"}
    assert totals.cost == 0


def test_totals_of_each_test():
    totals = by_test([line("b"), line("a"), line("b")])
    assert [(test, each.requests) for test, each in totals.items()] == [("b", 2), ("a", 1)]
