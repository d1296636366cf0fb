"""What an assertion looked for and found: true where it is something, and talkative where not."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final
from typing import Generic
from typing import TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Iterator

Found_co = TypeVar("Found_co", covariant=True)

REPR_LIMIT: Final = 200
"""Characters of a repr: pytest cuts what an assertion saw a little above that."""


class Finding(Generic[Found_co]):
    """The matches of a look-up, in their order, with a story for when there are none.

    `assert finding` shows its repr, one line. The whole story goes to the failure report by way of
    the list that the finding was given, once somebody asks whether there is a match.
    """

    __slots__ = ("_found", "_misses", "_story", "summary")

    def __init__(
        self,
        found: Iterable[Found_co],
        *,
        summary: str,
        story: Callable[[], str],
        misses: list[str] | None = None,
    ) -> None:
        """Take what was found.

        Args:
            found: The matches.
            summary: What was looked for and what came of it, in one line.
            story: Makes the explanation of many lines, when it is wanted.
            misses: Where the explanation goes if there turns out to be no match.
        """
        self.summary: Final = summary
        self._found = tuple(found)
        self._story = story
        self._misses = misses

    def __bool__(self) -> bool:
        """Tell whether there is a match; where there is none, the failure report will say more."""
        if not self._found and self._misses is not None:
            explanation = self.explanation
            if explanation not in self._misses:
                self._misses.append(explanation)
        return bool(self._found)

    def __len__(self) -> int:
        """Return the number of matches."""
        return len(self._found)

    def __iter__(self) -> Iterator[Found_co]:
        """Iterate over the matches."""
        return iter(self._found)

    def __getitem__(self, index: int) -> Found_co:
        """Return the match at a place.

        Raises:
            LookupError: there is none; says what was looked for.
        """
        try:
            return self._found[index]
        except IndexError:
            raise LookupError(self.explanation) from None

    def __repr__(self) -> str:
        """Return the summary, cut to what pytest shows."""
        text = f"<{self.summary}>"
        return text if len(text) <= REPR_LIMIT else f"{text[: REPR_LIMIT - 4]}...>"

    @property
    def count(self) -> int:
        """The number of matches."""
        return len(self._found)

    @property
    def explanation(self) -> str:
        """What was looked for, and what there was, in many lines."""
        return self._story()
