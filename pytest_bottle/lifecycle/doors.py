"""Opens the model door of a bottle: a process for the whole run, a socket in each guest."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.errors import MarkerError
from pytest_bottle.gateway.client import DoorClient
from pytest_bottle.gateway.gate_opening import VARIABLES
from pytest_bottle.gateway.gate_opening import GateOpening
from pytest_bottle.gateway.git.environment import way_out
from pytest_bottle.gateway.model import new_token
from pytest_bottle.gateway.model import open_model
from pytest_bottle.gateway.open_gates import OpenGates
from pytest_bottle.gateway.opening import Opening
from pytest_bottle.gateway.opening import Upstream
from pytest_bottle.gateway.prices import load_prices
from pytest_bottle.guest_door import MODEL_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.gateway.model import Model
    from pytest_bottle.gateway.occasion import Occasion
    from pytest_bottle.gateway.prices import PriceTable
    from pytest_bottle.lifecycle.settings import Settings
    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.state.run import Run

PROXY_TIMEOUT: Final = 200.0
"""Seconds until the run's proxy has to serve."""

_APIS: Final = {
    "anthropic": ("ANTHROPIC_BASE_URL", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    "openai": ("OPENAI_BASE_URL", "https://api.openai.com", "OPENAI_API_KEY"),
}
"""Of each family of APIs: the host's variables, as the CLIs and SDKs know them, and the default."""


class Doors:
    """This process's way to the run's door."""

    def __init__(self, run: Run, settings: Settings) -> None:
        """Start nothing yet."""
        self._run = run
        self._settings = settings
        self._client = DoorClient(run)
        self._prices: PriceTable | None = None
        self._listeners: dict[str, socket.socket] = {}

    def start(self) -> None:
        """Have the run's door start, which takes a while, without waiting until it serves.

        Raises:
            InfraError: it could not be started.
        """
        self._client.start()

    def open(self, bottle: Bottle, occasion: Occasion) -> Model:
        """Return the model of a bottle, which answers in the guest when its door is used.

        Raises:
            MarkerError: several workers share the bottle.
            OptionError: the file with prices is wrong.
            HostError: no socket of the guest can be had here.
            InfraError: the door could not be started, or the sandbox is gone.
        """
        if bottle.plan.shared:
            problem = "scope='run' shares a bottle among workers, and a model has one test at once."
            raise MarkerError(problem, remedy="Take scope='session': a bottle for each worker.")
        listener = self._listeners.get(bottle.name)
        if listener is None:
            listener = self._listeners[bottle.name] = bottle.sandbox.listen(MODEL_PORT)
        settings, plan = self._settings, bottle.plan
        opening = Opening(
            bottle=bottle.name,
            token=new_token(),
            mode=settings.model,
            test=occasion.test,
            agent=plan.agent.name if plan.agent else "",
            cassette=occasion.cassette,
            upstreams=_upstreams(os.environ) if settings.model != "scripted" else {},
            secrets={name: os.environ[name] for name in plan.secrets if name in os.environ},
            budget=plan.budget,
            run_budget=settings.budget,
            prices=self._price_table(),
            evidence=occasion.evidence,
        )
        host, port = listener.getsockname()
        model = open_model(self._client.connection(), opening)
        model.listen(listener, url=f"http://{host}:{port}")
        # As long as it listens here, a guest would wait for an answer that nobody gives.
        model.on_gone(lambda: self.forget(bottle.name))
        return model

    def authority(self) -> Path:
        """Return the certificate of the run's proxy; waits until there is one.

        Raises:
            HostError: the proxy's environment cannot be made.
            InfraError: the door or the proxy could not be started.
        """
        reply = self._client.connection().call("gates-authority", timeout=PROXY_TIMEOUT)
        return Path(reply["path"])

    def open_gates(
        self, plan: BottlePlan, undo: contextlib.ExitStack, evidence: Path | None
    ) -> OpenGates | None:
        """Open the gates that a bottle declares, if any; the stack closes them.

        They serve when its sandbox has been launched.

        Raises:
            InfraError: the door could not be started, or a library is missing.
        """
        if not plan.door.kinds:
            return None
        opening = GateOpening(
            bottle=plan.name,
            token=new_token(),
            plan=plan.door,
            evidence=evidence,
            state=plan.state_dir,
            secrets={name: os.environ[name] for name in plan.secrets if name in os.environ},
            credentials={name: os.environ[name] for name in plan.door.token_refs},
            environ={
                **{name: os.environ[name] for name in VARIABLES if name in os.environ},
                **way_out(os.environ),
            },
        )
        gates = OpenGates(self._client.connection(), opening)
        undo.callback(gates.close)
        return gates

    def forget(self, name: str) -> None:
        """Let go of a bottle's socket, at the bottle's end, or at its door's."""
        if (listener := self._listeners.pop(name, None)) is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def close(self) -> None:
        """End this process's part of the door."""
        for name in list(self._listeners):
            self.forget(name)
        self._client.close()

    def _price_table(self) -> PriceTable:
        if self._prices is None:
            self._prices = load_prices(self._settings.prices)
        return self._prices


def _upstreams(environ: Mapping[str, str]) -> dict[str, Upstream]:
    """Return the real APIs that the host's environment has a key for."""
    return {
        family: Upstream(base_url=environ.get(url) or default, key=environ[key])
        for family, (url, default, key) in _APIS.items()
        if environ.get(key)
    }
