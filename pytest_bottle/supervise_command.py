"""The command `pytest-bottle supervise`: a person answers what agents in running bottles ask."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final

from pytest_bottle.errors import BottleError
from pytest_bottle.errors import OptionError
from pytest_bottle.errors import SuperviseError
from pytest_bottle.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

LOOK_EVERY: Final = 0.5
"""Seconds between two looks of `watch`."""

_TIMEOUT: Final = 60.0
"""Seconds until a door has to answer; an approval has taken effect by then."""

_LISTS: Final = frozenset({"methods", "paths"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A proposal of a bottle that runs."""

    run: Path
    """The run's directory."""
    bottle: str
    proposal: Mapping[str, Any]
    """What its guest wrote is in it."""
    left: float
    """Seconds until it is decided without anybody's answer."""

    @property
    def id(self) -> str:
        """Its id, which is the door's."""
        return str(self.proposal["id"])


def set_up(parser: argparse.ArgumentParser) -> None:
    """Add the command's actions and their options to its parser."""
    actions = parser.add_subparsers(dest="action", required=False, metavar="ACTION")
    parser.set_defaults(run=_list)

    ls = actions.add_parser("list", help="list what waits for an answer (the default)")
    ls.set_defaults(run=_list)

    approve = actions.add_parser("approve", help="grant what is asked for")
    approve.set_defaults(run=_approve)

    modify = actions.add_parser("modify", help="grant something else")
    modify.set_defaults(run=_modify)

    reject = actions.add_parser("reject", help="grant nothing")
    reject.set_defaults(run=_reject)

    for action in (approve, modify, reject):
        action.add_argument("id", metavar="ID", help="as `list` shows it; its beginning is enough")
        action.add_argument("--why", default="", help="a sentence for the agent")
    modify.add_argument(
        "changes",
        nargs="+",
        metavar="KEY=VALUE",
        help="such as host=docs.python.org, or paths=/3/,/2/",
    )

    watch = actions.add_parser("watch", help="show what is asked as it comes, and ask about it")
    watch.set_defaults(run=_watch)


def find_waiting() -> Iterator[Waiting]:
    """Yield what waits for an answer in all runs of this user, and holds nothing of them."""
    from pytest_bottle.errors import DoorError
    from pytest_bottle.state.directory import state_root
    from pytest_bottle.state.run import list_runs

    for run in list_runs(state_root()):
        with contextlib.suppress(DoorError):  # It has ended in the meantime.
            bottles = _call(run, "proposals").get("bottles", {})
            for bottle, found in bottles.items():
                for proposal in found["proposals"]:
                    left = proposal["time"] + found["timeout"] - time.time()
                    yield Waiting(run=run, bottle=bottle, proposal=proposal, left=max(0.0, left))


def _call(run: Path, do: str, **fields: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
    """Have the door of a run do something; it answers nothing where there is no door.

    Raises:
        DoorError: it is gone.
        SuperviseError: it cannot.
    """
    from pytest_bottle.gateway.client import Connection
    from pytest_bottle.gateway.starting import read_door

    door = read_door(run)
    if door is None or not door.alive():
        return {}
    connection = Connection(run)
    try:
        return connection.call(do, timeout=_TIMEOUT, **fields)
    finally:
        connection.close()


def _list(_arguments: argparse.Namespace, _rest: Sequence[str]) -> int:
    found = list(find_waiting())
    for waiting in found:
        _show(waiting)
    if not found:
        print("nothing waits for an answer")
    return 0


def _show(waiting: Waiting) -> None:
    from pytest_bottle.gateway.supervise.asking import describe

    proposal = waiting.proposal
    what = _line(describe(proposal["kind"], proposal["arguments"]))
    print(f"{waiting.id}  {what}  ({waiting.bottle}, {waiting.left:.0f} s left)")
    print(f"    {_line(proposal['reason'])}")
    sys.stdout.flush()


def _line(text: str) -> str:
    """Return a guest's text in one line, so that it cannot look like ours."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _approve(arguments: argparse.Namespace, _rest: Sequence[str]) -> int:
    return _decide(arguments.id, "approve", why=arguments.why)


def _reject(arguments: argparse.Namespace, _rest: Sequence[str]) -> int:
    return _decide(arguments.id, "reject", why=arguments.why or "a person rejected it")


def _modify(arguments: argparse.Namespace, _rest: Sequence[str]) -> int:
    return _decide(
        arguments.id, "modify", why=arguments.why, changes=_read_changes(arguments.changes)
    )


def _read_changes(words: Sequence[str]) -> dict[str, Any]:
    """Return arguments that were written as `key=value`.

    Raises:
        OptionError: one was not.
    """
    changes: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            problem = f"{word!r} is no change."
            raise OptionError(
                problem, option="KEY=VALUE", source="command line", remedy="Write host=example.org."
            )
        if key in _LISTS:
            changes[key] = [part for part in value.split(",") if part]
        elif key == "port" and value.isdigit():
            changes[key] = int(value)
        else:
            changes[key] = value
    return changes


def _decide(number: str, decision: str, **fields: object) -> int:
    found = [waiting for waiting in find_waiting() if waiting.id.startswith(number)]
    if len(found) != 1:
        reason = "there is none that waits." if not found else "several begin so."
        raise SuperviseError(number, reason=f"{reason} `pytest-bottle supervise` lists them.")
    return _answer(found[0], decision, **fields)


def _answer(waiting: Waiting, decision: str, **fields: object) -> int:
    decided = _call(
        waiting.run,
        "decide",
        bottle=waiting.bottle,
        id=waiting.id,
        decision=decision,
        by="person",
        **fields,
    )
    if problem := decided.get("problem"):
        print(f"{waiting.id}: {_line(problem)}", file=sys.stderr)
        return 1
    words = {"approve": "approved", "modify": "approved with changes", "reject": "rejected"}
    print(f"{waiting.id}: {words[decided.get('decision', decision)]}")
    return 0


def _watch(_arguments: argparse.Namespace, _rest: Sequence[str]) -> int:
    seen: set[str] = set()
    try:
        while True:
            for waiting in find_waiting():
                if waiting.id not in seen:
                    seen.add(waiting.id)
                    _show(waiting)
                    if sys.stdin.isatty():
                        _ask(waiting)
            time.sleep(LOOK_EVERY)
    except KeyboardInterrupt:
        return 0


def _ask(waiting: Waiting) -> None:
    """Ask the person at the terminal, who may also leave it to somebody else."""
    try:
        said = input("    approve? [y/N, s to skip] ").strip().lower()
    except EOFError:
        return
    if said in {"s", "skip"}:
        return
    try:
        if said in {"y", "yes"}:
            _answer(waiting, "approve")
        else:
            _answer(waiting, "reject", why="a person rejected it")
    except BottleError as problem:  # Its time was up, for one.
        print(f"pytest-bottle: {problem}", file=sys.stderr)
