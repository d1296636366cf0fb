"""`bottle.model`: what a test says for the model, and reads of what it was asked."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle.gateway import history
from pytest_bottle.gateway.turns import delay
from pytest_bottle.gateway.turns import error
from pytest_bottle.gateway.turns import say
from pytest_bottle.gateway.turns import tool
from pytest_bottle.usage import Budget
from pytest_bottle.usage import Usage
from tests.unit.gateway.doors import Guest
from tests.unit.gateway.doors import OneSource
from tests.unit.gateway.doors import eventually
from tests.unit.gateway.doors import hello

if TYPE_CHECKING:
    from pytest_bottle.errors import BudgetExceededError

LITTLE = Usage(input_tokens=7, output_tokens=3, cache_read_tokens=2, cache_write_tokens=1)


@pytest.fixture
def guest(client):
    """A guest of a real door, in the scripted mode."""
    return Guest(client.connection())


def text_of(answer: Any) -> tuple[int, str]:
    """What the model said, and the status."""
    status, value = answer
    return status, value["content"][0]["text"] if status == 200 else value["error"]["message"]


class TestScript:
    def test_it_answers_turn_by_turn(self, guest):
        guest.model.script(say("one"), say("two"))
        assert text_of(guest.ask("hello")) == (200, "one")
        assert text_of(guest.ask("hello", "one", "go on")) == (200, "two")

    def test_errors_and_delays_come_before_their_turn(self, guest):
        guest.model.script(error(529, "busy"), delay(0.01), say("one"))
        assert text_of(guest.ask()) == (529, "busy")
        assert text_of(guest.ask()) == (200, "one")

    def test_a_callable_runs_in_the_tests_process_and_sees_the_request(self, guest):
        seen = []

        def answer(request):
            seen.append((threading.current_thread() is threading.main_thread(), request))
            return tool("Bash", command="ls")

        guest.model.script(answer)
        assert guest.ask("which files?")[1]["content"][0]["input"] == {"command": "ls"}
        ((in_main, request),) = seen
        assert not in_main
        assert request.messages[0]["content"] == "which files?"

    def test_a_callable_may_read_the_model_while_it_is_asked(self, guest):
        guest.model.script(say("one"), lambda _request: say(str(len(guest.model.requests))))
        guest.ask()
        assert text_of(guest.ask("hello", "one", "go on")) == (200, "1")

    def test_a_callable_that_fails_is_a_problem_in_words(self, guest):
        def fail(_request):
            message = "no idea"
            raise LookupError(message)

        guest.model.script(fail)
        assert guest.ask()[0] == 400
        assert "fail raised LookupError: no idea" in guest.model.problems[0]

    def test_callables_of_several_bottles_do_not_wait_for_each_other(self, client):
        meeting = threading.Barrier(2, timeout=5)

        def meet(_request):
            meeting.wait()
            return say("met")

        guests = [Guest(client.connection(), name) for name in ("one", "other")]
        answers = []
        threads = []
        for guest in guests:
            guest.model.script(meet)
            threads.append(threading.Thread(target=lambda g=guest: answers.append(g.ask())))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert [text_of(answer) for answer in answers] == [(200, "met")] * 2

    def test_a_script_of_its_own_serves_what_it_matches(self, guest):
        guest.model.script(say("main"))
        guest.model.script(say("sub"), match="summarise")
        assert text_of(guest.ask("please summarise")) == (200, "sub")
        assert text_of(guest.ask("please review")) == (200, "main")

    def test_a_new_script_replaces_the_old_one(self, guest):
        guest.model.script(say("old"), say("never asked for"))
        guest.model.script(say("new"))
        assert text_of(guest.ask()) == (200, "new")

    def test_what_makes_no_script_is_refused_here(self, guest):
        with pytest.raises(TypeError, match="of the script is 7"):
            guest.model.script(7)
        assert guest.ask()[0] == 400

    def test_a_script_goes_before_every_mode(self, client, tmp_path):
        guest = Guest(client.connection(), mode="replay", cassette=tmp_path / "none.json")
        before = guest.model.mode
        guest.model.script(say("one"))
        assert (before, guest.model.mode) == ("replay", "scripted")
        assert text_of(guest.ask()) == (200, "one")
        assert not (tmp_path / "none.json").exists()

    def test_a_turn_too_many_is_a_problem(self, guest):
        guest.model.script(say("one"))
        guest.ask("hello")
        assert guest.ask("hello", "one", "go on")[0] == 400
        assert "turn 2 of the script, which has 1" in guest.model.problems[0]

    def test_what_nobody_asked_for_is_told(self, guest):
        guest.model.script(say("one"), say("two"))
        guest.ask()
        assert "two" in guest.model.unused[0]


class TestRecord:
    def test_requests_are_in_the_order_in_which_they_came(self, guest):
        asked, held = threading.Event(), threading.Event()

        def answer_late(_request):
            asked.set()
            held.wait(5)
            return say("late")

        guest.model.script(answer_late)
        guest.model.script(say("soon"), match="second")
        first = threading.Thread(target=guest.ask, args=("first",))
        first.start()
        assert asked.wait(5)
        guest.ask("second")
        held.set()
        first.join(5)
        said = [request.messages[0]["content"] for request in guest.model.requests]
        assert said == ["first", "second"]
        assert [exchange.reply.text for exchange in guest.model.exchanges] == ["soon", "late"]

    def test_usage_and_cost_are_those_of_the_script(self, guest):
        guest.model.script(say("one", usage=LITTLE))
        guest.ask()
        guest.ask()
        assert guest.model.usage == LITTLE + LITTLE
        price = 7 * 3 + 3 * 15 + 2 * 0.3 + 1 * 3.75
        assert guest.model.cost == pytest.approx(2 * price / 1e6)

    def test_streamed_answers_count_as_well(self, guest):
        guest.model.script(say("one", usage=LITTLE))
        connection = guest.connect()
        data = guest.raw_request().partition(b"\r\n\r\n")[2].replace(b"false", b"true")
        connection.request("POST", "/v1/messages", data, guest.headers)
        assert connection.getresponse().read().startswith(b"event: message_start")
        connection.close()
        assert guest.model.usage == LITTLE
        assert guest.model.exchanges[0].reply.text == "one"

    def test_a_long_record_comes_in_pages(self, local_door, monkeypatch):
        monkeypatch.setattr(history, "PAGE_BYTES", 5000)
        other = Guest(local_door(OneSource(hello)), "bottle-2")
        for number in range(10):
            other.ask(f"{number}" * 2000)
        said = [request.messages[0]["content"] for request in other.model.requests]
        assert said == [f"{number}" * 2000 for number in range(10)]

    def test_it_is_there_after_the_end(self, guest):
        guest.model.script(say("one", usage=LITTLE))
        guest.ask()
        guest.model.close()
        guest.model.close()
        assert len(guest.model.requests) == 1
        assert guest.model.usage == LITTLE
        assert guest.model.problems == []


class TestBudget:
    def test_who_asks_late_is_told_at_once(self, client):
        guest = Guest(client.connection(), budget=Budget(tokens=1))
        guest.model.script(say("one", usage=LITTLE))
        assert guest.model.over_budget is None
        guest.ask()
        guest.ask()
        assert eventually(lambda: guest.model.over_budget)
        heard: list[BudgetExceededError] = []
        guest.model.on_over_budget(heard.append)
        assert heard == [guest.model.over_budget]

    def test_it_is_told_once(self, client):
        guest = Guest(client.connection(), budget=Budget(tokens=1))
        guest.model.script(say("one", usage=LITTLE))
        heard: list[BudgetExceededError] = []
        guest.model.on_over_budget(heard.append)
        assert [guest.ask()[0] for _ in range(4)] == [200, 400, 400, 400]
        assert eventually(lambda: heard)
        guest.model.close()
        assert len(heard) == 1


def test_the_guest_is_told_where_and_with_which_key(guest):
    assert guest.model.url == f"http://127.0.0.1:{guest.port}"
    assert guest.model.token == guest.opening.token
    assert guest.model.mode == "scripted"
