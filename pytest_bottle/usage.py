"""What a model's answers take, in tokens by kind, and how much they may."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one answer, or of several together. The kinds do not overlap.

    Anthropic counts like this. OpenAI counts cached tokens among the input: they are taken out of
    `input_tokens` here.
    """

    input_tokens: int = 0
    """Read anew, neither from a cache nor into one."""
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Return both together."""
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
        )

    @property
    def total_tokens(self) -> int:
        """All kinds together."""
        return (
            self.input_tokens
            + self.output_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent; None is no bound. Reaching either bound ends it."""

    dollars: float | None = None
    tokens: int | None = None
    """Of all kinds together."""
