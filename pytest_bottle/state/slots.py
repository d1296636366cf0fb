"""Host-wide admission: how many sandboxes there may be at once, across workers and runs.

Each requester is a file below the slots' directory, so that everyone sees who holds a slot and who
came first; its name says all that admission has to know. A file becomes a holder's by a rename,
under a lock, and goes by a removal, which needs none. Whoever died with a slot is passed over.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Literal

from pytest_bottle.errors import SlotTimeoutError
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.publish import locked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self
    from typing import TypeAlias

    OnWait: TypeAlias = Callable[[int, "list[str]", float], None]

_POLL_PER_POSITION = 0.002
_POLL_PER_WAITED = 0.02
_LONGEST_POLL = 0.05
_LOOK_FOR_DEAD = 0.5
_REPORT_EVERY = 1.0
_PARTS = 5


class Slots:
    """One kind of admission, such as bottles that run, or launches in flight."""

    def __init__(self, directory: Path, name: str, capacity: int) -> None:
        """Name the kind, and this requester's own idea of how many there may be.

        Args:
            directory: the host's directory of slots.
            name: the kind; a file name.
            capacity: at least 1. Others may bring another; a slot is free for us while fewer than
                this are held.
        """
        if capacity < 1:
            message = f"a capacity of {capacity} would admit nobody"
            raise ValueError(message)
        self._directory = directory / name
        self._capacity = capacity
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def acquire(self, *, label: str, deadline: float, on_wait: OnWait | None = None) -> Ticket:
        """Wait for a slot and take it; first come, first served.

        Args:
            label: how others are told who holds it.
            deadline: seconds to wait at most.
            on_wait: called about every second of waiting with the position in the line (1 is
                next), the holders' labels, and the seconds waited.

        Raises:
            SlotTimeoutError: none became free in time; names the holders.
        """
        token = os.urandom(6).hex()
        try:
            path = self._enter(token, label)
            if path is None:
                path = self._wait(token, deadline, on_wait)
        except BaseException:
            self._withdraw(token)
            raise
        return Ticket(path)

    def holders(self) -> list[str]:
        """Return the labels of those who hold a slot now."""
        return [self._label(place) for place in _look(self._directory) if place.state == "held"]

    def _enter(self, token: str, label: str) -> Path | None:
        """Join the line, or take a free slot at once and return its file."""
        with locked(self._directory / "lock"):
            places = _look(self._directory)
            if any(place.state == "waiting" for place in places):
                places = _prune(self._directory, places)
            place = _Place(
                number=max((other.number for other in places), default=0) + 1,
                state="waiting",
                capacity=self._capacity,
                owner=Owner.current(),
                token=token,
            )
            if _fits(place, places):
                place = place.admitted()
            path = self._directory / place.file_name
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, label.encode())
            finally:
                os.close(descriptor)
            return path if place.state == "held" else None

    def _wait(self, token: str, deadline: float, on_wait: OnWait | None) -> Path:
        began = time.monotonic()
        report_at = began
        prune_at = began
        while True:
            places = _look(self._directory)
            now = time.monotonic()
            dead_are_due = now >= prune_at
            if dead_are_due or _fits(_find(token, places), places):
                prune_at = now + _LOOK_FOR_DEAD
                path = self._try(token)
                if path is not None:
                    return path
                places = _look(self._directory)
            if now - began >= deadline:
                raise SlotTimeoutError(
                    waited=now - began, capacity=self._capacity, holders=self.holders()
                )
            if on_wait is not None and now >= report_at:
                report_at = now + _REPORT_EVERY
                on_wait(_position(token, places), self.holders(), now - began)
            time.sleep(min(_pause(token, places, now - began), max(0.0, began + deadline - now)))

    def _try(self, token: str) -> Path | None:
        """Take a slot where there is one for the place in the line that has this token."""
        with locked(self._directory / "lock"):
            places = _prune(self._directory, _look(self._directory))
            place = _find(token, places)
            if place is None or not _fits(place, places):
                return None
            path = self._directory / place.admitted().file_name
            (self._directory / place.file_name).rename(path)
            return path

    def _withdraw(self, token: str) -> None:
        with locked(self._directory / "lock"):
            for path in self._directory.glob(f"*,{token}"):
                path.unlink(missing_ok=True)

    def _label(self, place: _Place) -> str:
        try:
            return (self._directory / place.file_name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return f"process {place.owner.pid}"


def release_dead(directory: Path) -> None:
    """Remove the places of those who died, in the lines of every kind.

    Whoever waits passes them over anyway; but where nobody waits, nobody looks.

    Args:
        directory: the host's directory of slots.
    """
    for kind in directory.glob("*/"):
        with locked(kind / "lock"):
            _prune(kind, _look(kind))


class Ticket:
    """A slot that is held until `release`, or the end of a `with` block."""

    def __init__(self, path: Path) -> None:
        """Not for callers: `Slots.acquire` returns them."""
        self._path = path

    def release(self) -> None:
        """Give the slot back. Idempotent."""
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Return the ticket."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the slot back."""
        self.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A requester, as its file's name tells."""

    number: int
    state: Literal["waiting", "held"]
    capacity: int
    owner: Owner
    token: str

    @classmethod
    def parse(cls, name: str) -> _Place:
        number, state, capacity, owner, token = name.split(",", _PARTS - 1)
        return cls(
            number=int(number),
            state="held" if state == "held" else "waiting",
            capacity=int(capacity),
            owner=Owner.decode(owner),
            token=token,
        )

    @property
    def file_name(self) -> str:
        owner = self.owner.encode()
        return f"{self.number},{self.state},{self.capacity},{owner},{self.token}"

    def admitted(self) -> _Place:
        return _Place(
            number=self.number,
            state="held",
            capacity=self.capacity,
            owner=self.owner,
            token=self.token,
        )


def _look(directory: Path) -> list[_Place]:
    places = [_Place.parse(name) for name in os.listdir(directory) if "," in name]  # noqa: PTH208 - a third of the time
    return sorted(places, key=lambda place: place.number)


def _prune(directory: Path, places: list[_Place]) -> list[_Place]:
    living = []
    known: dict[Owner, bool] = {Owner.current(): True}
    for place in places:
        if place.owner not in known:
            known[place.owner] = place.owner.alive()
        if known[place.owner]:
            living.append(place)
        else:
            (directory / place.file_name).unlink(missing_ok=True)
    return living


def _find(token: str, places: list[_Place]) -> _Place | None:
    return next((place for place in places if place.token == token), None)


def _fits(place: _Place | None, places: list[_Place]) -> bool:
    """Whether there is a slot for a place in the line, and nobody before it whom it would serve."""
    held = sum(other.state == "held" for other in places)
    if place is None or held >= place.capacity:
        return False
    return not any(
        other.state == "waiting" and other.number < place.number and held < other.capacity
        for other in places
    )


def _position(token: str, places: list[_Place]) -> int:
    waiting = [place.token for place in places if place.state == "waiting"]
    return 1 + (waiting.index(token) if token in waiting else 0)


def _pause(token: str, places: list[_Place], waited: float) -> float:
    """Return how long to sleep: who is next, and has not waited long, is the quickest to look."""
    pause = _POLL_PER_POSITION * _position(token, places) + _POLL_PER_WAITED * waited
    return min(pause, _LONGEST_POLL)
