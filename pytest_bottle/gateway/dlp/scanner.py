"""Searches bodies and texts for declared secrets and for what is shaped like a secret."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.gateway.dlp.budget import Budget
from pytest_bottle.gateway.dlp.budget import ExhaustedError
from pytest_bottle.gateway.dlp.declared import DeclaredSecrets
from pytest_bottle.gateway.dlp.decoding import decoded
from pytest_bottle.gateway.dlp.finding import CANARY
from pytest_bottle.gateway.dlp.finding import UNSEARCHABLE
from pytest_bottle.gateway.dlp.finding import Finding
from pytest_bottle.gateway.dlp.finding import redacted
from pytest_bottle.gateway.dlp.streaming import StreamScan
from pytest_bottle.gateway.dlp.unpacking import unpacked

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Iterator
    from collections.abc import Mapping

    from pytest_bottle.gateway.dlp.shapes import Shapes

__all__ = ["CANARY", "UNSEARCHABLE", "Finding", "Scanner", "StreamScan"]

DEPTH: Final = 3
"""How many encodings, one in the other, are decoded around what is itself still encoded once."""


class Scanner:
    """Searches for secrets.

    One search decodes at most three encodings in each other (and finds a declared secret that is
    encoded once more in the innermost), unpacks at most 32 MiB, decodes at most 64 MiB and twelve
    times the size of what is searched, and looks into at most 20,000 compressed parts. Where there
    is more, one finding says that it cannot be searched. Threads may share one.
    """

    def __init__(
        self,
        secrets: Mapping[str, str],
        shapes: bool = True,  # noqa: FBT001, FBT002 - part of an interface
        known: Collection[str] = (),
    ) -> None:
        """Prepare a search.

        Args:
            secrets: The values of the declared secrets by their names; that of a canary is called
                `CANARY`.
            shapes: Whether what merely looks like a secret is found as well; it needs the package
                `detect-secrets`.
            known: Values that look like secrets and are none, such as placeholders.

        Raises:
            CapabilityError: `detect-secrets` is asked for and not installed.
        """
        self._values = {name: value.strip() for name, value in secrets.items()}
        self.declared = DeclaredSecrets(secrets)
        self._shapes: Shapes | None = None
        if shapes:
            from pytest_bottle.gateway.dlp.shapes import Shapes  # noqa: PLC0415 - only where asked for

            self._shapes = Shapes({*known, *self._values.values()})

    def scan(self, data: bytes, where: str) -> list[Finding]:
        """Return what is in some bytes, each rule and value once.

        Args:
            data: What is searched whole.
            where: What it is, for the findings.
        """
        return list(self._search(data, where, decode=True))

    def glance(self, data: bytes, where: str) -> list[Finding]:
        """Return what is in some bytes without decoding or unpacking them: fast.

        The forms of a declared secret that `DeclaredSecrets` knows are found all the same.
        """
        return list(self._search(data, where, decode=False))

    def stream(self, where: str) -> StreamScan:
        """Return a search through what comes in pieces."""
        return StreamScan(self, where)

    def scan_text_lines(self, text: str, where: str) -> list[Finding]:
        """Return what is in a text, with the line in which each ends; each rule once per line.

        Args:
            text: What is searched whole, so that a secret may go over several lines.
            where: What it is, for the findings.
        """
        lines = text.encode(errors="surrogateescape").splitlines(keepends=True)
        found: list[Finding] = []
        for finding in self._search(b"".join(lines), where, decode=True, each_line=True):
            if finding.line is not None or finding.rule == UNSEARCHABLE:
                found.append(finding)
                continue
            numbers = list(self._lines_with(finding.rule, lines)) or [self._line_of(finding, lines)]
            found += (replace(finding, line=number) for number in numbers)
        return sorted(found, key=lambda finding: finding.line or 0)

    def _lines_with(self, rule: str, lines: list[bytes]) -> Iterator[int]:
        for number, line in enumerate(lines, 1):
            if any(_rule(occurrence.name) == rule for occurrence in self.declared.search(line)):
                yield number

    def _line_of(self, finding: Finding, lines: list[bytes]) -> int:
        """Return the line with which a secret is complete that no line holds by itself."""

        def is_within(count: int) -> bool:
            part = b"".join(lines[:count])
            return any(each.rule == finding.rule for each in self._search(part, "", decode=True))

        return min(bisect_left(range(len(lines)), True, key=is_within), len(lines))

    def _search(
        self, data: bytes, where: str, *, decode: bool, each_line: bool = False
    ) -> Iterator[Finding]:
        if not (self.declared or self._shapes):
            return
        names: set[str] = set()
        seen: set[tuple[tuple[str, str], int | None]] = set()
        try:
            for encodings, view in _views(data, decode=decode):
                for finding in self._in_view(view, where, encodings, names):
                    # Without its escapes, a text shows the same things once more.
                    marks: set[tuple[tuple[str, str], int | None]] = {(finding.mark, None)}
                    if each_line and finding.line is not None:
                        marks.add((finding.mark, finding.line))
                    if not marks <= seen:
                        seen |= marks
                        yield finding
        except ExhaustedError as exhausted:
            yield Finding(UNSEARCHABLE, where, str(exhausted))

    def _in_view(
        self, view: bytes, where: str, encodings: tuple[str, ...], names: set[str]
    ) -> Iterator[Finding]:
        for occurrence in self.declared.search(view, names):
            names.add(occurrence.name)
            how = (*filter(None, [occurrence.encoding]), *reversed(encodings))
            yield Finding(
                _rule(occurrence.name), where, redacted(self._values[occurrence.name], how)
            )
        # Keys have nothing to escape but the ends of their lines: a third time shows nothing new.
        if self._shapes and encodings != ("escaped",) * DEPTH:
            for shape in self._shapes.search(view):
                evidence = redacted(shape.value, reversed(encodings))
                yield Finding(shape.rule, where, evidence, None if encodings else shape.line)


def _rule(name: str) -> str:
    return CANARY if name == CANARY else f"secret {name}"


def _views(data: bytes, *, decode: bool) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """Yield bytes and what is encoded in them, each with its encodings from the outermost on."""
    budget = Budget(len(data))
    seen: set[int] = set()
    rounds: list[tuple[tuple[str, ...], bytes]] = [((), data)]
    while rounds:
        following: list[tuple[tuple[str, ...], bytes]] = []
        for encodings, view in rounds:
            yield encodings, view
            if not decode or len(encodings) == DEPTH:
                continue
            following += (((*encodings, how), inner) for how, inner in unpacked(view, budget))
            following += (
                ((*encodings, how), inner)
                for how, inner in decoded(
                    view, budget, seen=seen, outer=encodings[-1] if encodings else ""
                )
            )
        rounds = following
