"""The bottle whose wall is tried, and the canaries that are looked for from inside."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING
from typing import Any
from typing import ClassVar

import pytest

from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle


class WalledSubject(Subject):
    """Base of all attempts."""

    python: ClassVar[str] = "python3"
    """The guest's Python, for what needs sockets and system calls."""

    seccomp: ClassVar[bool] = True
    """Whether the backend promises a filter of system calls on this host."""

    bounded_disk: ClassVar[bool] = False
    """Whether the backend bounds what the guest may write."""

    @pytest.fixture
    def canary(self) -> str:
        """Return a word that is nowhere else on this host."""
        return f"bottle-canary-{uuid.uuid4().hex}"

    def run_python(self, bottle: Bottle, script: str, *arguments: Any) -> Any:  # noqa: ANN401 -- JSON
        """Run a script in the guest with `arguments`; return what it prints as JSON."""
        program = f"import json, sys\narguments = json.loads(sys.stdin.read())\n{script}"
        result = bottle.exec(
            [self.python, "-c", program], input=json.dumps(arguments), timeout=60
        ).check()
        return json.loads(result.stdout)
