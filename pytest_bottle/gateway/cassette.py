"""The files that recorded answers are kept in: where they are, how they are read and written."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import json
import os
import re
from base64 import b64decode
from base64 import b64encode
from typing import TYPE_CHECKING
from typing import Any

from pytest_bottle.errors import CassetteError
from pytest_bottle.gateway.normalise import normalise
from pytest_bottle.gateway.packing import pack
from pytest_bottle.gateway.packing import unpack
from pytest_bottle.gateway.transcribing import Episode
from pytest_bottle.gateway.transcribing import RecordedAnswer
from pytest_bottle.gateway.transcribing import RecordedRequest

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
"""Of the format. A file of a later one is refused, of an earlier one is read."""

_LONGEST_NAME = 100
_DIGEST = 8
_HASHED = re.compile(rf"-[0-9a-f]{{{_DIGEST}}}$")
_DAMAGE = (LookupError, TypeError, ValueError, AttributeError)


def cassette_path(test_file: Path, node_name: str, bottle: str = "") -> Path:
    """Return the cassette of a test: `cassettes/<module>/<test>.json` beside its module.

    Each test has its own, on file systems too that do not tell upper from lower case: a name that
    does not go into a file name as it is ends in a part of its digest.

    Args:
        test_file: The test's module.
        node_name: Its id after the module: `test_it[param]`, `TestIt::test_it`.
        bottle: What tells a bottle from the test's others; empty for the first.
    """
    name = _file_name(node_name) + (f"@{_file_name(bottle)}" if bottle else "")
    return test_file.parent / "cassettes" / _file_name(test_file.stem) / f"{name}.json"


def _file_name(text: str) -> str:
    head, bracket, parameters = text.partition("[")
    # A dot for the colons, unless that could be another test's name.
    dotted = head.replace("::", ".") if "." not in head else head
    plain = re.sub(r"[^A-Za-z0-9_.=,+\[\]-]+", "-", dotted + bracket + parameters)
    plain = plain.strip("-. ")[:_LONGEST_NAME]
    if plain == dotted + bracket + parameters and plain.islower() and not _HASHED.search(plain):
        return plain
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{plain}-{digest[:_DIGEST]}"


class Cassette:
    """The recorded answers of one bottle of one test."""

    def __init__(self, path: Path, *, test: str = "") -> None:
        """Begin an empty one, of which nothing is written yet.

        Args:
            path: Where it will be.
            test: The test's id, for messages.
        """
        self.path = path
        self.test = test
        self.episodes: list[Episode] = []
        self._orders: list[int] = []
        self._written: list[str] = []
        """The episodes from the first on as they are in the file, as far as they are known."""

    @classmethod
    def load(cls, path: Path, *, test: str = "") -> Cassette:
        """Read one.

        Raises:
            CassetteError: there is none, it is damaged, or a later version wrote it.
        """
        cassette = cls(path, test=test)
        try:
            value = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise cassette.error("nothing has been recorded there.") from None
        except OSError as error:
            raise cassette.error(f"it cannot be read: {error.strerror}.") from None
        except ValueError as error:
            raise cassette.error(f"it is damaged: {error}.") from None
        version = value.get("version") if isinstance(value, dict) else None
        if not isinstance(version, int) or not isinstance(value.get("episodes"), list):
            raise cassette.error("it is damaged: no cassette, though JSON.")
        if version > VERSION:
            raise cassette.error(
                f"its format is {version}, of a later pytest-bottle; this one reads up to "
                f"{VERSION}. Update pytest-bottle."
            )
        bodies: list[dict[str, Any]] = []
        for number, item in enumerate(value["episodes"]):
            try:
                bodies.append(unpack(item["request"], bodies))
                cassette.add(_episode(item, bodies[-1]))
            except _DAMAGE as error:
                reason = f"{type(error).__name__}: {error}"
                raise cassette.error(f"episode {number} is damaged: {reason}.") from None
        return cassette

    def error(self, problem: str) -> CassetteError:
        """Return an error that names this cassette."""
        return CassetteError(problem, file=str(self.path), test=self.test)

    def add(self, episode: Episode, order: int | None = None) -> None:
        """Put an episode behind those of a lower order; without one, behind all."""
        if order is None:
            order = self._orders[-1] + 1 if self._orders else 0
        place = bisect.bisect_right(self._orders, order)
        self._orders.insert(place, order)
        self.episodes.insert(place, episode)
        del self._written[place:]

    def save(self) -> None:
        """Write the file, whole or not at all.

        Raises:
            CassetteError: it could not be written.
        """
        bodies = [episode.request.body for episode in self.episodes]
        for number in range(len(self._written), len(self.episodes)):
            item = _item(self.episodes[number], bodies[:number])
            text = json.dumps(item, indent=1, ensure_ascii=False)
            self._written.append("  " + text.replace("\n", "\n  "))
        episodes = ",\n".join(self._written)
        data = f'{{\n "version": {VERSION},\n "episodes": [\n{episodes}\n ]\n}}\n'
        # Of this process alone, so that two runs do not write into each other's.
        draft = self.path.with_name(f".{self.path.stem}.{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                draft.write_bytes(_encoded(data))
                draft.replace(self.path)
            finally:
                with contextlib.suppress(OSError):
                    draft.unlink(missing_ok=True)
        except OSError as error:
            raise self.error(f"it cannot be written: {error.strerror}.") from error


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, which JSON can spell and UTF-8 cannot.
        return re.sub(r"[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text).encode()


def _item(episode: Episode, earlier: list[Any]) -> dict[str, Any]:
    """Return an episode as it is in the file."""
    request, answer = episode.request, episode.answer
    return {
        "request": {
            "method": request.method,
            "path": request.path,
            "agent": request.agent,
            "headers": dict(request.headers),
            **pack(request.body, earlier),
        },
        "answer": {
            "status": answer.status,
            "headers": dict(answer.headers),
            **_lines(answer.body),
        },
    }


def _episode(item: dict[str, Any], body: dict[str, Any]) -> Episode:
    """Return an episode that was read.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: something of it is not as it should be.
    """
    request, answer = item["request"], item["answer"]
    lines = answer.get("lines")
    whole = b64decode(answer["base64"], validate=True) if lines is None else "".join(lines).encode()
    return Episode(
        request=RecordedRequest(
            method=request["method"],
            path=request["path"],
            headers=dict(request.get("headers", {})),
            agent=request.get("agent", ""),
            # Again: rules may have come since it was written.
            body=normalise(body),
        ),
        answer=RecordedAnswer(
            status=int(answer["status"]),
            headers=dict(answer.get("headers", {})),
            body=whole,
        ),
    )


def _lines(body: bytes) -> dict[str, Any]:
    """Return a body as lines, each with its end; in base64 what is no text."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(body).decode()}
    *lines, last = text.split("\n")
    return {"lines": [*(f"{line}\n" for line in lines), *([last] if last else [])]}
