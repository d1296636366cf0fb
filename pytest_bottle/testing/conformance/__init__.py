"""What every backend has to do, as checks that a third party can run on its own.

All checks go through the bottle's handle. The guest needs a POSIX shell, coreutils, tar, a Python
and a command that starts another in a new session.
"""

from __future__ import annotations

from pytest_bottle.testing.conformance.branching import BranchChecks
from pytest_bottle.testing.conformance.changes import ChangeChecks
from pytest_bottle.testing.conformance.commands import CommandChecks
from pytest_bottle.testing.conformance.concurrency import ConcurrencyChecks
from pytest_bottle.testing.conformance.copies import CopyChecks
from pytest_bottle.testing.conformance.door import DoorChecks
from pytest_bottle.testing.conformance.ending import EndingChecks
from pytest_bottle.testing.conformance.environment import EnvironmentChecks
from pytest_bottle.testing.conformance.file_errors import FileErrorChecks
from pytest_bottle.testing.conformance.files import FileChecks
from pytest_bottle.testing.conformance.hostile import HostileGuestChecks
from pytest_bottle.testing.conformance.input import InputChecks
from pytest_bottle.testing.conformance.limits import LimitChecks
from pytest_bottle.testing.conformance.processes import ProcessChecks
from pytest_bottle.testing.conformance.timeouts import TimeoutChecks

__all__ = ["BottleConformance"]


class BottleConformance(
    FileChecks,
    FileErrorChecks,
    CopyChecks,
    HostileGuestChecks,
    ChangeChecks,
    CommandChecks,
    EnvironmentChecks,
    InputChecks,
    LimitChecks,
    TimeoutChecks,
    ProcessChecks,
    ConcurrencyChecks,
    DoorChecks,
    BranchChecks,
    EndingChecks,
):
    """All checks. Name the backend, and where it differs set the flags of `Subject`."""
