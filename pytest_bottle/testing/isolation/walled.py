"""The bottle whose wall is tried, and the canaries that are looked for from inside."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import ClassVar

import pytest

from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle

BOOT = Path("/proc/sys/kernel/random/boot_id")


class WalledSubject(Subject):
    """Base of all attempts."""

    seccomp: ClassVar[bool] = True
    """Whether the backend promises a filter of system calls on this host."""

    bounded_disk: ClassVar[bool] = False
    """Whether the backend bounds what the guest may write."""

    own_kernel: ClassVar[bool] = False
    """Whether the guest has a kernel of its own, over which its root may have every power."""

    def has_own_kernel(self, bottle: Bottle) -> bool:
        """Tell whether it was declared, and is so: each kernel names its boot."""
        if not self.own_kernel:
            return False
        return bottle.read_file(str(BOOT)) != BOOT.read_text()

    @pytest.fixture
    def canary(self) -> str:
        """Return a word that is nowhere else on this host."""
        return f"bottle-canary-{uuid.uuid4().hex}"

    def run_python(self, bottle: Bottle, script: str, *arguments: Any) -> Any:  # noqa: ANN401 -- JSON
        """Run a script in the guest with `arguments` and `patience`; return the JSON it prints."""
        start = (
            f"import json, sys\npatience, arguments = {self.patience}, json.loads(sys.stdin.read())"
        )
        result = bottle.exec(
            [self.python, "-c", f"{start}\n{script}"],
            input=json.dumps(arguments),
            timeout=60 * self.patience,
        ).check()
        return json.loads(result.stdout)
