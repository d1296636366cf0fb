"""What every wall has to hold, as attempts to get out that a third party can run on its own.

Each attempt has a control beside it that shows that it would have been seen to succeed. The guest
needs what the conformance suite needs.

The attempts are real. On a backend without a wall some of them harm the host.
"""

from __future__ import annotations

from pytest_bottle.testing.isolation.door import DoorAttempts
from pytest_bottle.testing.isolation.other_processes import OtherProcessChecks
from pytest_bottle.testing.isolation.powers import PowerChecks
from pytest_bottle.testing.isolation.resources import ResourceChecks
from pytest_bottle.testing.isolation.secrets import SecretChecks
from pytest_bottle.testing.isolation.writes import WriteChecks

__all__ = ["BottleIsolation"]


class BottleIsolation(
    SecretChecks, OtherProcessChecks, DoorAttempts, WriteChecks, PowerChecks, ResourceChecks
):
    """All attempts. Name the backend, and where it differs set the flags of `WalledSubject`."""
