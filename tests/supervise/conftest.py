"""What these tests share: a way for a bottle to ask its supervisor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

AGENT = Path(__file__).with_name("asking_agent.py")


@pytest.fixture
def ask(bottle) -> Callable[..., Any]:
    """Have the bottle ask: `ask("request_capability", name="gpu", reason="to compute")`."""
    bottle.write_file("agent.py", AGENT.read_text())

    def ask(tool: str, **arguments: Any) -> Any:
        argv = ["python3", "agent.py", tool, json.dumps(arguments)]
        return json.loads(bottle.exec(argv, timeout=90).check().stdout)

    return ask
