"""The command `pytest-bottle image`: builds the agent image, and looks after our images."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_bottle import machine_image_command
from pytest_bottle.amounts import age_in_words
from pytest_bottle.amounts import size_in_words
from pytest_bottle.errors import CapabilityError
from pytest_bottle.errors import ImageError
from pytest_bottle.errors import OptionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from collections.abc import Mapping
    from collections.abc import Sequence

    from pytest_bottle.backends.docker.engine import Engine
    from pytest_bottle.backends.docker.inventory import OurImage


def set_up(parser: argparse.ArgumentParser) -> None:
    """Add the command's actions and their options to its parser."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    build = actions.add_parser("build", help="build the image with Claude Code and Codex")
    build.add_argument("--base", metavar="IMAGE", help="a Debian or Ubuntu (debian:bookworm-slim)")
    build.add_argument("--tag", metavar="NAME", help="the image's name (pytest-bottle-agent)")
    build.add_argument(
        "--build-arg",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the Dockerfile, such as CLAUDE_VERSION, CODEX_VERSION or NODE_VERSION",
    )
    build.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="CA certificates that downloads trust"
    )
    build.add_argument(
        "--keep-ca", action="store_true", help="have the image trust those of --ca-file as well"
    )
    build.add_argument("--network", metavar="MODE", help="of the build's commands, such as host")
    build.add_argument("--no-cache", action="store_true", help="build all steps anew")
    build.set_defaults(run=_build)

    ls = actions.add_parser("ls", help="list our images")
    ls.set_defaults(run=_ls)

    rm = actions.add_parser("rm", help="remove images of ours")
    rm.add_argument("names", nargs="*", metavar="NAME", help="as `ls` shows it")
    rm.add_argument(
        "--unused", action="store_true", help="those that bottles make again when they need them"
    )
    rm.set_defaults(run=_rm)

    prune = actions.add_parser("prune", help="remove all that bottles make again by themselves")
    prune.set_defaults(run=_prune)

    export = actions.add_parser("export", help="write an image's files, for bubblewrap")
    export.add_argument("name", metavar="NAME", help="an image of the engine's")
    export.add_argument("directory", type=Path, metavar="DIR", help="not there yet, or empty")
    export.set_defaults(run=_export)

    convert = actions.add_parser("convert", help="make an image ready for microVMs")
    machine_image_command.set_up(convert)


@contextlib.contextmanager
def _engine() -> Iterator[Engine]:
    """Connect to the engine that `docker` would use.

    Raises:
        CapabilityError: there is none, or no SDK.
    """
    from pytest_bottle.backends.docker.endpoint import current_endpoint
    from pytest_bottle.backends.docker.engine import Engine
    from pytest_bottle.backends.docker.engine import EngineError
    from pytest_bottle.backends.docker.unavailable import explain

    endpoint = current_endpoint()
    try:
        engine = Engine(endpoint)
    except EngineError as problem:
        detail, fix = explain(endpoint.host, str(problem))
        raise CapabilityError("docker", reason=detail, fix=fix) from problem
    with contextlib.closing(engine):
        yield engine


def _build(arguments: argparse.Namespace, _rest: list[str]) -> int:
    from pytest_bottle.backends.docker import agent_image
    from pytest_bottle.backends.docker.building import parse_step
    from pytest_bottle.progress import progress
    from pytest_bottle.state.directory import cache_directory
    from pytest_bottle.state.publish import locked

    wanted = agent_image.AgentBuild(
        tag=arguments.tag or agent_image.AGENT_IMAGE,
        args=_build_args(arguments),
        certificates=_certificates(arguments.ca_file),
        network=arguments.network,
        cached=not arguments.no_cache,
    )
    name = agent_image.with_tag(wanted.tag)
    begun = time.monotonic()
    with (
        _engine() as engine,
        # A build that ends removes stages, which another one may still need.
        locked(cache_directory() / "image-build.lock"),
        progress(f"building {name}", sys.stderr) as shown,
    ):

        def report(line: str) -> None:
            step = parse_step(line)
            if step is not None:
                shown.reach(step.number, step.total)
            shown.say(str(step or line))

        labels = agent_image.build(engine, wanted, report)
    seconds = time.monotonic() - begun
    print(f"built {name} in {seconds:.0f} s: {agent_image.versions(labels)}")
    return 0


def _build_args(arguments: argparse.Namespace) -> Mapping[str, str]:
    """Return the Dockerfile's arguments.

    Raises:
        OptionError: one has no value, or --keep-ca has nothing to keep.
    """
    values: dict[str, str] = {}
    for pair in arguments.build_arg:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise _wrong(f"{pair!r} is not KEY=VALUE.", "--build-arg")
        values[key] = value
    if arguments.base is not None:
        values["BASE"] = arguments.base
    if arguments.keep_ca:
        if arguments.ca_file is None:
            raise _wrong("there are no certificates to keep.", "--keep-ca", "Add --ca-file.")
        values["TRUST"] = "image"
    return values


def _certificates(file: Path | None) -> bytes:
    """Return a file of CA certificates.

    Raises:
        OptionError: it cannot be read, or has none.
    """
    if file is None:
        return b""
    try:
        content = file.read_bytes()
    except OSError as problem:
        raise _wrong(f"{file} cannot be read: {problem.strerror}.", "--ca-file") from problem
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise _wrong(f"{file} has no certificate in PEM form.", "--ca-file")
    if b"PRIVATE KEY-----" in content:
        raise _wrong(f"{file} has a private key, which an image must not get.", "--ca-file")
    return content


def _wrong(problem: str, option: str, remedy: str = "") -> OptionError:
    return OptionError(problem, option=option, source="the command line", remedy=remedy)


def _ls(_arguments: argparse.Namespace, _rest: list[str]) -> int:
    from pytest_bottle.backends.docker.inventory import list_ours

    rows = [("IMAGE", "KIND", "SIZE", "AGE", "CONTENTS")]
    cached = machine_image_command.rows()
    try:
        with _engine() as engine:
            rows += [_row(image, time.time()) for image in list_ours(engine)]
    except CapabilityError as problem:
        if not cached:
            raise
        print(f"pytest-bottle: Docker's are not listed: {problem}", file=sys.stderr)
    rows += cached
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        padded = [word.ljust(width) for word, width in zip(row[:4], widths, strict=True)]
        print("  ".join([*padded, row[4]]).rstrip())
    return 0


def _row(image: OurImage, now: float) -> tuple[str, str, str, str, str]:
    return (
        image.name,
        image.kind,
        size_in_words(image.size),
        age_in_words(now - image.created),
        image.contents,
    )


def _rm(arguments: argparse.Namespace, _rest: list[str]) -> int:
    if not arguments.names and not arguments.unused:
        raise _wrong("nothing is named to be removed.", "rm", "Name images, or say --unused.")
    if arguments.unused:
        _refuse_during_runs("--unused")
    cached = [name for name in arguments.names if machine_image_command.is_ours(name)]
    names = [name for name in arguments.names if name not in cached]
    failed = machine_image_command.remove(cached) if cached else 0
    if names or arguments.unused:
        failed += _remove(names, unused=arguments.unused)
    return 1 if failed else 0


def _prune(_arguments: argparse.Namespace, _rest: list[str]) -> int:
    _refuse_during_runs("prune")
    failed = machine_image_command.remove(None)
    try:
        failed += _remove([], unused=True)
    except CapabilityError as problem:
        print(f"pytest-bottle: Docker's are left alone: {problem}", file=sys.stderr)
    return 1 if failed else 0


def _remove(names: Sequence[str], *, unused: bool) -> int:
    """Remove images of ours from Docker; return how many could not be removed."""
    from pytest_bottle.backends.docker.inventory import find_ours
    from pytest_bottle.backends.docker.inventory import find_unused
    from pytest_bottle.backends.docker.inventory import remove

    with _engine() as engine:
        images = {image.name: image for name in names for image in find_ours(engine, name)}
        if unused:
            images |= {image.name: image for image in find_unused(engine)}
        removed, failed = remove(engine, list(images.values()))
    _print_removed(removed, failed)
    return len(failed)


def _print_removed(removed: Sequence[OurImage], failed: Sequence[tuple[OurImage, str]]) -> None:
    for image in removed:
        print(f"removed {image.name}")
    for image, reason in failed:
        print(f"not removed {image.name}: {reason}", file=sys.stderr)
    print(f"{len(removed)} removed, {len(failed)} not removed")


def _refuse_during_runs(option: str) -> None:
    """Refuse while runs of this user work: between two tests, nothing shows what they need.

    Raises:
        OptionError: there is one.
    """
    from pytest_bottle.state.directory import state_root
    from pytest_bottle.state.run import has_ended
    from pytest_bottle.state.run import list_runs

    running = [directory.name for directory in list_runs(state_root()) if not has_ended(directory)]
    if running:
        problem = f"a run is under way ({', '.join(running)}), whose images are in use."
        raise _wrong(problem, option, "Wait for its end, or name the images.")


def _export(arguments: argparse.Namespace, _rest: list[str]) -> int:
    from pytest_bottle.backends.docker.exporting import exported
    from pytest_bottle.progress import progress
    from pytest_bottle.rootfs import check_destination
    from pytest_bottle.rootfs import write_rootfs

    # As it was written: a symbolic link is refused, not followed.
    directory = Path.cwd() / arguments.directory
    check_destination(directory)
    done = 0
    with (
        _engine() as engine,
        exported(engine, arguments.name) as (archive, size),
        progress(f"exporting {arguments.name}", sys.stderr, unit="B") as shown,
    ):

        def advance(written: int) -> None:
            nonlocal done
            done += written
            shown.reach(done, max(done, size))

        try:
            write_rootfs(archive, directory, advance)
        except OSError as problem:
            raise ImageError(
                arguments.name,
                reason=f"{directory} cannot be written: {problem.strerror or problem}.",
                remedy="Check its disk, and who may write there.",
            ) from problem
    print(f"exported {arguments.name} to {directory} ({size_in_words(done)})")
    return 0
