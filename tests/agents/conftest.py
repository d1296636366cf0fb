"""What these tests share: the CLI that each is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.agents.clis import Cli


@pytest.fixture(autouse=True)
def cli(request: pytest.FixtureRequest) -> Cli:
    """The CLI that `on_every_cli` or `on_claude` runs this test on."""
    chosen: Cli = request.param
    return chosen
