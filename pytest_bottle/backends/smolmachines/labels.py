"""What tells our machines from others, and each from its siblings."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.state.owner import Owner

if TYPE_CHECKING:
    from pytest_bottle.plan import BottlePlan

OWNER_LABEL: Final = "pytest-bottle.owner"
RUN_LABEL: Final = "pytest-bottle.run"
WORKER_LABEL: Final = "pytest-bottle.worker"
NAME_LABEL: Final = "pytest-bottle.name"


def labels(plan: BottlePlan) -> dict[str, str]:
    """Return what tells our machines from others, and each from its siblings."""
    return {
        RUN_LABEL: plan.run_id,
        WORKER_LABEL: plan.worker,
        NAME_LABEL: plan.name,
        OWNER_LABEL: Owner.current().encode(),
    }
