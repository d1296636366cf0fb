"""What the door counts and keeps of what passes: budgets, the ledger, and evidence."""

from __future__ import annotations

import json

import pytest

from pytest_bottle.errors import BudgetExceededError
from pytest_bottle.gateway.ledger import read_ledger
from pytest_bottle.gateway.ledger import total
from pytest_bottle.usage import Budget
from tests.unit.gateway.doors import Guest
from tests.unit.gateway.doors import OneSource
from tests.unit.gateway.doors import eventually
from tests.unit.gateway.doors import hello


@pytest.fixture
def connection(local_door):
    """A connection to a door whose model always says hello, for ten tokens."""
    return local_door(OneSource(hello))


class TestBudgets:
    def test_a_bottle_that_has_spent_its_tokens_gets_no_more(self, connection):
        guest = Guest(connection, budget=Budget(tokens=20))
        heard: list[BudgetExceededError] = []
        guest.model.on_over_budget(heard.append)
        assert [guest.ask()[0] for _ in range(3)] == [200, 200, 400]
        assert eventually(lambda: heard)
        assert str(heard[0]).startswith(
            "the budget of the bottle bottle-1 is used up: 20 tokens spent of 20 tokens."
        )
        assert guest.model.problems == []

    def test_the_refusal_has_a_type_of_its_own(self, connection):
        guest = Guest(connection, budget=Budget(tokens=1))
        guest.ask()
        assert guest.ask()[1]["error"]["type"] == "budget_exceeded"

    def test_dollars_are_counted_by_the_models_price(self, connection):
        guest = Guest(connection, budget=Budget(dollars=0.00005))
        assert [guest.ask()[0] for _ in range(3)] == [200, 200, 400]
        assert guest.model.cost == pytest.approx(2 * 10 * 3 / 1e6)
        assert isinstance(guest.model.over_budget, BudgetExceededError)
        assert guest.model.over_budget.spent == "$0.0001"

    def test_what_all_bottles_spend_is_bounded_too(self, connection):
        one, other = (
            Guest(connection, name, run_budget=Budget(tokens=20)) for name in ("one", "other")
        )
        assert [one.ask()[0], other.ask()[0], one.ask()[0]] == [200, 200, 400]
        assert one.model.over_budget is not None
        assert one.model.over_budget.whose == "run"
        assert other.model.over_budget is None

    def test_a_model_without_a_price_spends_no_real_dollars(self, connection):
        guest = Guest(connection, mode="live", budget=Budget(dollars=1))
        assert guest.ask(model="house-model")[0] == 400
        assert "model 'house-model' has no price" in str(guest.model.over_budget)

    def test_a_model_without_a_price_may_answer_from_a_script(self, connection):
        guest = Guest(connection, budget=Budget(dollars=1))
        assert guest.ask(model="house-model")[0] == 200
        assert guest.model.cost is None


class TestLedger:
    def test_each_answer_has_its_line(self, connection, tmp_path):
        guest = Guest(connection, test="test_a.py::test_b", agent="reviewer")
        guest.ask()
        guest.send("POST", "/nowhere", {})
        (line,) = read_ledger(tmp_path / "run" / "ledger.jsonl")
        assert (line.test, line.bottle, line.agent) == ("test_a.py::test_b", "bottle-1", "reviewer")
        assert (line.model, line.origin, line.status) == ("claude-sonnet-4-5", "upstream", 200)
        assert line.usage == guest.model.usage
        assert total([line]).paid == guest.model.cost


class TestEvidence:
    def test_exchanges_are_on_disk_without_secrets(self, connection, tmp_path):
        secret = 'pass"word/äöü'
        guest = Guest(connection, evidence=tmp_path / "new" / "evidence", secrets={"DB": secret})
        guest.ask(f"the password is {secret}, the key {guest.opening.token}")
        guest.ask("nothing to hide")
        text = (tmp_path / "new" / "evidence" / "bottle-1.model.jsonl").read_text()
        first, second = map(json.loads, text.splitlines())
        assert first["request"]["body"]["messages"][0]["content"] == (
            "the password is [secret DB], the key [secret model token]"
        )
        assert second["reply"]["text"] == "hello"
