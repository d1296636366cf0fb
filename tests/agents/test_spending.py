"""What a real CLI's model takes is counted to the token, and bounded."""

from __future__ import annotations

import time

import pytest

from pytest_bottle import BudgetExceededError
from pytest_bottle import Usage
from pytest_bottle import say
from pytest_bottle.gateway.prices import BUILT_IN
from tests.agents.clis import on_every_cli

FIRST = Usage(input_tokens=1000, output_tokens=20, cache_read_tokens=300)
SECOND = Usage(input_tokens=1500, output_tokens=7, cache_read_tokens=1300)


@on_every_cli()
def test_tokens_are_those_of_the_script(bottle, cli):
    bottle.model.script(say("Look.", cli.shell("echo a"), usage=FIRST), say("Done.", usage=SECOND))

    run = bottle.run_agent("Look.").check()

    assert run.usage == bottle.model.usage == FIRST + SECOND
    assert [exchange.reply.usage for exchange in bottle.model.exchanges] == [FIRST, SECOND]
    model = bottle.model.requests[0].model
    prices = BUILT_IN.cost(model, FIRST), BUILT_IN.cost(model, SECOND)
    known = [price for price in prices if price is not None]
    assert run.cost == bottle.model.cost == (sum(known) if known else None)


@on_every_cli()
def test_each_run_has_its_own(bottle):
    bottle.model.script(say("One.", usage=FIRST), say("Two.", usage=SECOND))

    first = bottle.run_agent("One.").check()
    second = bottle.run_agent("Two.", resume=first).check()

    assert (first.usage, second.usage) == (FIRST, SECOND)
    assert bottle.model.usage == FIRST + SECOND


@on_every_cli()
def test_a_budget_stops_it_at_the_next_request(bottle_factory, request, cli):
    """At once: it is not left to give up by itself."""
    (marker,) = request.node.iter_markers("bottle")
    bottle = bottle_factory(**marker.kwargs, budget="1000 tokens")
    bottle.model.script(
        say("Look.", cli.shell("echo a > begun"), usage=FIRST),
        say("Done.", usage=SECOND),
    )

    begun = time.monotonic()
    with pytest.raises(BudgetExceededError, match="1,000 tokens"):
        bottle.run_agent("Look.")

    assert time.monotonic() - begun < 20
    assert bottle.model.usage == FIRST
    (run,) = bottle.runs
    assert run.exit == "killed"
    assert bottle.exists("begun")
    listing = bottle.sh("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'").stdout.splitlines()
    assert not [word for word in listing if word.endswith(cli.kind)]
