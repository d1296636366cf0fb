"""Which source serves which mode."""

from __future__ import annotations

import asyncio

import pytest

from pytest_bottle.gateway.opening import Opening
from pytest_bottle.gateway.recording import NewEpisodesSource
from pytest_bottle.gateway.recording import RecordSource
from pytest_bottle.gateway.replay import ReplaySource
from pytest_bottle.gateway.script import ScriptSource
from pytest_bottle.gateway.sources import make_source
from pytest_bottle.gateway.upstream import LiveSource


async def ask(_number, _request):
    raise AssertionError


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("scripted", ScriptSource),
        ("replay", ReplaySource),
        ("record", RecordSource),
        ("new-episodes", NewEpisodesSource),
        ("live", LiveSource),
    ],
)
def test_each_mode_has_its_source(mode, kind, tmp_path):
    opening = Opening(bottle="one", token="t", mode=mode, cassette=tmp_path / "cassette.json")
    source = make_source(opening, ask)
    assert type(source) is kind
    asyncio.run(source.close())


@pytest.mark.parametrize("mode", ["replay", "record", "new-episodes"])
def test_a_cassette_has_to_be_named(mode):
    with pytest.raises(ValueError, match=f"the mode '{mode}' needs the path of a cassette"):
        make_source(Opening(bottle="one", token="t", mode=mode), ask)
