"""Makes the source of a bottle's answers that its mode asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bottle.gateway.script import ScriptSource

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from collections.abc import Callable
    from collections.abc import Iterable
    from typing import TypeAlias

    from pytest_bottle.gateway.opening import Opening
    from pytest_bottle.gateway.turns import Answer
    from pytest_bottle.gateway.turns import Script
    from pytest_bottle.gateway.values import HttpAnswer
    from pytest_bottle.gateway.values import HttpRequest
    from pytest_bottle.gateway.values import ModelRequest
    from pytest_bottle.gateway.values import Source

    Ask: TypeAlias = Callable[[int, ModelRequest], Awaitable[Answer]]
    MakeSource: TypeAlias = Callable[[Opening, Ask], Source]


class UnlessScripted:
    """A source that a script takes the place of, as soon as the test has set one."""

    def __init__(self, other: Source, script: ScriptSource) -> None:
        """Begin with the other source."""
        self._other = other
        self._script = script
        self._scripted = False

    @property
    def scripted(self) -> bool:
        """Whether a script was set."""
        return self._scripted

    def replace(self, scripts: Iterable[Script]) -> None:
        """Answer from scripts from now on; see `ScriptSource.replace`."""
        self._scripted = True
        self._script.replace(scripts)

    async def answer(self, request: ModelRequest, http: HttpRequest) -> HttpAnswer:
        """Return the answer to a request; see `Source.answer`."""
        return await (self._script if self._scripted else self._other).answer(request, http)

    def unused(self) -> list[str]:
        """Return what the script holds and nobody asked for."""
        return self._script.unused()

    def drift(self) -> list[str]:
        """Return how the cassette differs from what the agent does; nothing with a script."""
        drift = getattr(self._other, "drift", None)
        return [] if drift is None or self._scripted else drift()

    async def close(self) -> None:
        """Close both."""
        await self._other.close()
        await self._script.close()


def make_source(opening: Opening, ask: Ask) -> Source:
    """Return where a bottle's answers come from.

    Args:
        opening: what the test process asked for.
        ask: asks the test process what the callable of a number answers.

    Raises:
        ValueError: the mode needs a cassette, and there is no path of one.
    """
    if opening.mode == "scripted":
        return ScriptSource([], ask)
    # Only what the mode needs is loaded.
    from pytest_bottle.gateway.transcribing import Transcriber  # noqa: PLC0415

    transcriber = Transcriber(opening.hidden, {"bottle": opening.bottle, **opening.names})
    cassette, test = opening.cassette, opening.test
    if opening.mode == "replay" and cassette is not None:
        from pytest_bottle.gateway.replay import ReplaySource  # noqa: PLC0415

        return ReplaySource(cassette, transcriber, test=test)

    from pytest_bottle.gateway.recording import NewEpisodesSource  # noqa: PLC0415
    from pytest_bottle.gateway.recording import RecordSource  # noqa: PLC0415
    from pytest_bottle.gateway.upstream import LiveSource  # noqa: PLC0415
    from pytest_bottle.gateway.upstream import UpstreamClient  # noqa: PLC0415

    upstream = UpstreamClient(opening.upstreams)
    if opening.mode == "live":
        return LiveSource(upstream)
    if cassette is None:
        message = f"the mode {opening.mode!r} needs the path of a cassette"
        raise ValueError(message)
    kind = RecordSource if opening.mode == "record" else NewEpisodesSource
    return kind(upstream, cassette, transcriber, test=test)
