"""Measure a bottle that is provisioned anew beside one that is branched from a golden one.

    python benchmarks/branching.py [--rounds N]

For the usual bottle (a prompt and three skills) and for a heavy one (3,000 files, 24 MB), on each
backend that opens here. What needs Docker is left out, and said so, where no engine answers; its
image is BOTTLE_DOCKER_IMAGE, or the plugin's default.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

from pytest_bottle.lifecycle.lifecycle import Lifecycle
from pytest_bottle.lifecycle.settings import Settings
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import load_manifest
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run

warnings.simplefilter("ignore")

SKILLS = ("audit", "changelog", "style")
MANIFEST = f"""\
[agents.usual]
kind = "command"
args = ["true"]
prompt = "You review code for security. Be terse."
skills = {list(SKILLS)}

[bottles.heavy.files]
src = "heavy"
"""
FILES, BYTES = 3_000, 8_000
PAUSE = 0.2
"""Seconds after each, for what engines leave to the background."""


def make_project(directory: Path) -> None:
    (directory / "bottle.toml").write_text(MANIFEST)
    for name in SKILLS:
        skill = directory / "skills" / name
        skill.mkdir(parents=True)
        (skill / "SKILL.md").write_text(f"---\nname: {name}\n---\n" + "Do it well.\n" * 100)
    for number in range(FILES):
        path = directory / "heavy" / f"package{number % 60}" / f"file{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(BYTES))


def timed(call):
    start = time.perf_counter()
    result = call()
    return result, (time.perf_counter() - start) * 1000


def measure(lifecycle, manifest, arguments, rounds):
    """Return the times to have a bottle ready, and to branch it: anew, golden, branch."""
    times = {"anew": [], "golden": [], "branch": []}
    for _ in range(rounds + 1):  # The first pays for imports, images, and the golden bottle.
        for name, golden in (("anew", False), ("golden", True)):
            spec = spec_from_arguments(**arguments, golden=golden)
            bottle, taken = timed(functools.partial(lifecycle.open, spec, manifest))
            times[name].append(taken)
            if golden:
                branch, taken = timed(bottle.branch)
                times["branch"].append(taken)
                branch.close()
            bottle.close()
            time.sleep(PAUSE)
    return times


def row(name, values, against=None):
    median = statistics.median(values)
    spread = f"{min(values):8.1f} {max(values):8.1f}"
    ratio = f"{median / against:8.2f}" if against else ""
    print(f"  {name:<40}{median:9.1f} {spread} {ratio}")
    return median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="of each (default: 10)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        make_project(Path(directory))
        manifest = load_manifest(Path(directory, "bottle.toml"))
        run = Run.join(os.urandom(8).hex(), "main", Owner.current())
        lifecycle = Lifecycle(run, Settings())
        try:
            for backend in ("bubblewrap", "docker"):
                probe = lifecycle.probe(backend)
                if not probe.ok:
                    print(f"{backend} is left out: {probe.detail}")
                    continue
                for kind, asked in (("usual", {"agent": "usual"}), ("heavy", {"bottle": "heavy"})):
                    arguments = {"backend": backend, **asked}
                    report(backend, kind, measure(lifecycle, manifest, arguments, rounds), rounds)
        finally:
            lifecycle.close()
            lifecycle.end_run()


def report(backend, kind, times, rounds):
    print(f"\n{backend}, the {kind} bottle, until it is ready, ms, {rounds} rounds, in turn")
    print(f"  {'':<40}{'median':>9} {'min':>8} {'max':>8} {'ratio':>8}")
    anew = row("provisioned anew", times["anew"][1:])
    golden = row("a branch of a golden one", times["golden"][1:], anew)
    first = times["golden"][0]
    print(f"  {'  the first, with the golden one itself':<40}{first:9.1f}")
    if golden < anew:
        even = math.ceil((first - golden) / (anew - golden))
        print(f"  {'  pays from this many tests on':<40}{even:9}")
    row("bottle.branch() in a test", times["branch"][1:], anew)


if __name__ == "__main__":
    main()
