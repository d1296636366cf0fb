"""Attempts to get out through a bottle's door: to places that are not allowed, with what is secret.

A third party can run them on its own backend. Each attempt has a control beside it that shows that
it would have been seen to succeed: the same thing done from the host, or with a harmless word.
The guest needs Python and git, the host git and what the proxy and the git gate need. All traffic
stays on this host.
"""

from __future__ import annotations

from pytest_bottle.testing.escape.credentials import CredentialAttempts
from pytest_bottle.testing.escape.destinations import DestinationAttempts
from pytest_bottle.testing.escape.doors import DoorAttempts
from pytest_bottle.testing.escape.exfiltration import ExfiltrationAttempts
from pytest_bottle.testing.escape.pushes import PushAttempts

__all__ = ["BottleEscape"]


class BottleEscape(
    DestinationAttempts, ExfiltrationAttempts, PushAttempts, DoorAttempts, CredentialAttempts
):
    """All attempts. Name the backend, and where it differs set the flags of `Subject`."""
