"""What a bottle did at its gates in a test: requests, pushes and proposals, in order of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.errors import DoorError
from pytest_bottle.errors import ManifestError
from pytest_bottle.errors import SandboxLostError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.gateway.git.values import Push
    from pytest_bottle.gateway.supervise.proposal import Proposal

_DECIDED: Final = {
    "approve": "approved",
    "modify": "approved with changes",
    "reject": "rejected",
    None: "pending",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One thing that came to a gate. Its texts are partly a guest's."""

    time: float
    """When, in seconds since 1970."""
    gate: str
    """`egress`, `git` or `supervise`."""
    text: str
    """What became of it, and what it was: `pushed refs/heads/main to origin`."""
    details: tuple[str, ...] = ()
    """What was found in it, and why it was decided so."""
    refused: bool = False


def crossings_of(bottle: Bottle) -> tuple[tuple[Crossing, ...], str]:
    """Return what came to a bottle's gates in this test, and why that is not all, if so."""
    found: list[Crossing] = []
    problems: dict[str, None] = {}
    readers: tuple[Callable[[Bottle], Iterator[Crossing]], ...] = (_requests, _git, _proposals)
    for read in readers:
        try:
            found += read(bottle)
        except ManifestError:  # It has none of these.
            continue
        except (DoorError, SandboxLostError) as problem:
            problems[str(problem)] = None
    return tuple(sorted(found, key=lambda one: one.time)), "; ".join(problems)


def _requests(bottle: Bottle) -> Iterator[Crossing]:
    for request in bottle.egress.requests:
        yield Crossing(
            time=request.time.timestamp(),
            gate="egress",
            text=str(request),
            details=(f"found: {request.evidence}",) if request.evidence else (),
            refused=request.verdict != "allowed",
        )


def _git(bottle: Bottle) -> Iterator[Crossing]:
    for fetch in bottle.git.fetched:
        refs = ", ".join(fetch.refs) or "objects"
        yield Crossing(time=fetch.time, gate="git", text=f"fetched {refs} from {fetch.remote}")
    for failure in bottle.git.failed:
        yield Crossing(
            time=failure.time,
            gate="git",
            text=f"failed to fetch from {failure.remote}",
            details=(failure.reason,),
            refused=True,
        )
    for push in bottle.git.pushed:
        yield _push(push, "pushed")
    for push in bottle.git.rejected:
        yield _push(push, "rejected")


def _push(push: Push, verdict: str) -> Crossing:
    commits = ", ".join(f'"{commit.subject}"' for commit in push.commits)
    rule = f" ({push.rule})" if push.rule else ""
    findings = (
        f"{finding.where}{'' if finding.line is None else f', line {finding.line}'}: "
        f"{finding.rule}: {finding.evidence}"
        for finding in push.findings
    )
    return Crossing(
        time=push.time,
        gate="git",
        text=f"{verdict} {push.ref} to {push.remote}{rule}{f': {commits}' if commits else ''}",
        details=tuple(findings) or tuple(filter(None, (push.reason,))),
        refused=verdict == "rejected",
    )


def _proposals(bottle: Bottle) -> Iterator[Crossing]:
    for proposal in bottle.supervise.proposals:
        by = f" (by the {proposal.by})" if proposal.by else ""
        yield Crossing(
            time=proposal.time,
            gate="supervise",
            text=f"{_DECIDED[proposal.decision]} {proposal}{by}",
            details=tuple(_reasons(proposal)),
            refused=proposal.decision in {None, "reject"} or bool(proposal.problem),
        )


def _reasons(proposal: Proposal) -> Iterator[str]:
    if proposal.reason:
        yield f"asked because: {proposal.reason}"
    if proposal.decision == "modify":
        yield f"granted: {dict(proposal.granted or {})}"
    if proposal.why:
        yield f"decided because: {proposal.why}"
    if proposal.problem:
        yield f"could not be granted: {proposal.problem}"
