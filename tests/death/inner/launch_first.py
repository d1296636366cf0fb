"""A run without pytest that opens its first bottle, and then waits to be killed."""

from __future__ import annotations

import os
import time

from pytest_bottle.lifecycle.lifecycle import Lifecycle
from pytest_bottle.lifecycle.settings import Settings
from pytest_bottle.lifecycle.spec import Spec
from pytest_bottle.manifest import EMPTY
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run

run = Run.of(os.urandom(8).hex(), "main", Owner.current())
lifecycle = Lifecycle(run, Settings(backend=os.environ["DEATH_BACKEND"]))
print(run.id, flush=True)
lifecycle.open(Spec(), EMPTY)
time.sleep(60)
