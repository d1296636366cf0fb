"""The command `pytest-bottle`: look at the host, at what runs on it, and clean up by hand."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_bottle import image_command
from pytest_bottle import supervise_command
from pytest_bottle.errors import BottleError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence

    from pytest_bottle.reaper import Report
    from pytest_bottle.state.journal import Entry


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command != "doctor":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        status: int = arguments.run(arguments, rest)
    except BottleError as problem:
        print(f"pytest-bottle: {problem}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pytest-bottle", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor",
        help="show settings with their sources, and what this host can do; takes pytest's options",
    )
    doctor.set_defaults(run=_doctor)
    ps = commands.add_parser("ps", help="list the bottles of all runs on this host")
    ps.set_defaults(run=_ps)
    reap = commands.add_parser("reap", help="remove what dead runs left behind")
    reap.add_argument("name", nargs="?", help="only this bottle, which was kept or left behind")
    reap.add_argument("--kept", action="store_true", help="also bottles that were kept on purpose")
    reap.set_defaults(run=_reap)
    schema = commands.add_parser("schema", help="write the manifest's JSON Schema, for editors")
    schema.add_argument("-o", "--output", type=Path, help="a file, instead of standard output")
    schema.set_defaults(run=_schema)
    enter = commands.add_parser("enter", help="open a shell in a bottle that runs or was kept")
    enter.add_argument("name", help="the bottle's name, as `ps` and failure reports show it")
    enter.add_argument("argv", nargs="*", metavar="COMMAND", help="instead of a shell (after --)")
    enter.set_defaults(run=_enter)
    image = commands.add_parser("image", help="build, list, remove and export images (Docker)")
    image_command.set_up(image)
    supervise = commands.add_parser("supervise", help="answer what agents in bottles ask for")
    supervise_command.set_up(supervise)
    return parser


def _doctor(_arguments: argparse.Namespace, rest: list[str]) -> int:
    # A pytest run of its own, as only pytest knows its ini files, conftest files and plugins.
    _become([sys.executable, "-m", "pytest", "--bottle-doctor", *rest])
    return 1


def _entries() -> Iterator[tuple[Path, Entry]]:
    from pytest_bottle.state.directory import state_root
    from pytest_bottle.state.journal import read_journals
    from pytest_bottle.state.run import list_runs

    for directory in list_runs(state_root()):
        for entry in read_journals(directory):
            yield directory, entry


def _ps(_arguments: argparse.Namespace, _rest: list[str]) -> int:
    from pytest_bottle.lifecycle.reference import read_reference

    rows = [("BOTTLE", "BACKEND", "STATE", "OWNER")]
    for directory, entry in _entries():
        reference = read_reference(directory / entry.bottle)
        backend = reference["backend"] if reference else "?"
        rows.append((entry.bottle, backend, _state(directory, entry), f"pid {entry.owner.pid}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        padded = [word.ljust(width) for word, width in zip(row[:3], widths, strict=True)]
        print("  ".join([*padded, row[3]]))
    return 0


def _state(directory: Path, entry: Entry) -> str:
    from pytest_bottle.state.run import has_ended

    if entry.kept:
        return "kept"
    if has_ended(directory) or not (entry.owner.alive() or entry.scope_owner == "run"):
        return "orphan"
    return "running"


def _find(name: str) -> tuple[Path, Entry] | None:
    return next((found for found in _entries() if found[1].bottle == name), None)


def _reap(arguments: argparse.Namespace, _rest: list[str]) -> int:
    from pytest_bottle.backends.registry import BUILTIN
    from pytest_bottle.backends.registry import load_backend
    from pytest_bottle.backends.registry import remove_resource
    from pytest_bottle.errors import CapabilityError
    from pytest_bottle.reaper import sweep
    from pytest_bottle.reaper import sweep_labelled
    from pytest_bottle.state.directory import state_root

    if arguments.name is not None:
        return _reap_one(arguments.name)
    report = sweep(state_root(), remove_resource, kept=arguments.kept, wait=60.0)
    spared = {entry.bottle for _, entry in _entries() if entry.kept}
    for place in BUILTIN.values():
        backend = load_backend(place)
        try:
            report += sweep_labelled(backend.orphans(), remove_resource, spared=spared)
        except CapabilityError:
            continue  # No engine here, so nothing of its either.
        finally:
            backend.shutdown()
    _print_report(report)
    return 1 if report.failed else 0


def _reap_one(name: str) -> int:
    from pytest_bottle.backends.registry import remove_resource
    from pytest_bottle.reaper import reap_bottle

    found = _find(name)
    if found is None:
        return _refuse(f"there is no bottle {name!r}; `pytest-bottle ps` lists them")
    if _state(*found) == "running":
        return _refuse(f"{name} is in use: it ends with process {found[1].owner.pid} or its run")
    try:
        report = reap_bottle(*found, remove_resource, wait=60.0)
    except TimeoutError:
        return _refuse("another sweep did not end within 60 s")
    _print_report(report)
    return 1 if report.failed else 0


def _print_report(report: Report) -> None:
    for resource in report.removed:
        print(f"removed {resource.kind} {resource.id}")
    for resource, reason in report.failed:
        print(f"not removed {resource.kind} {resource.id}: {reason}", file=sys.stderr)
    print(f"{len(report.removed)} removed, {len(report.failed)} not removed")


def _schema(arguments: argparse.Namespace, _rest: list[str]) -> int:
    from pytest_bottle.manifest import manifest_schema

    text = json.dumps(manifest_schema(), indent=2) + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")
    return 0


def _enter(arguments: argparse.Namespace, _rest: list[str]) -> int:
    from pytest_bottle.lifecycle.reference import read_reference

    bottle = _find(arguments.name)
    if bottle is None:
        return _refuse(f"there is no bottle {arguments.name!r}; `pytest-bottle ps` lists them")
    found = read_reference(bottle[0] / arguments.name)
    if found is None:
        return _refuse(f"{arguments.name} is not up yet")
    if found["backend"] == "bubblewrap":
        from pytest_bottle.backends.bubblewrap.entering import enter

        return enter(found["reference"], tuple(arguments.argv))
    # The command lines of other backends end in a shell, in whose place a command comes.
    shell = found["connection"]
    _become([*shell[:-1], *arguments.argv] if arguments.argv else shell)
    return 1


def _refuse(problem: str) -> int:
    print(f"pytest-bottle: {problem}", file=sys.stderr)
    return 1


def _become(argv: list[str]) -> None:
    """Turn into another program; returns only where there is none of that name."""
    try:
        os.execvp(argv[0], argv)
    except OSError as problem:
        print(f"pytest-bottle: {argv[0]}: {problem}", file=sys.stderr)
