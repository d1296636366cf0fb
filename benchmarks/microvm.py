"""Measure a bottle's whole life on each backend that opens here, side by side in one run.

    python benchmarks/microvm.py [--repeats N] [--limit SECONDS]
                                 [--backends NAME ...] [--parts PART ...]

Until it is ready for its agent (a prompt and three skills are in it): cold, warm, from a pack, and
branched; then commands, files, and teardown. All of it happens in a state directory of its own,
which is gone at the end. Docker's image is BOTTLE_DOCKER_IMAGE, or the plugin's default; that of
microVMs is BOTTLE_SMOLVM_IMAGE, or the agent image. With BOTTLE_SMOLVM_EMULATED set, all is marked
as emulated.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from pytest_bottle.errors import BottleError
from pytest_bottle.lifecycle.lifecycle import Lifecycle
from pytest_bottle.lifecycle.settings import Settings
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import load_manifest
from pytest_bottle.state.directory import STATE_VARIABLE
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run
from pytest_bottle.state.run import read_watchdog
from pytest_bottle.state.tree import remove_tree
from pytest_bottle.watchdog import ensure_watchdog

warnings.simplefilter("ignore")

BACKENDS = ("bubblewrap", "docker", "smolmachines")
BASES = ("bubblewrap", "docker")
"""What the ratios are to."""
PARTS = ("cold", "life", "golden", "pack")

DOCKER_IMAGE = os.environ.get("BOTTLE_DOCKER_IMAGE", "python:3.13-slim-bookworm")
EMULATED = bool(os.environ.get("BOTTLE_SMOLVM_EMULATED"))

SKILLS = ("audit", "changelog", "style")
MANIFEST = f"""\
[agents.usual]
kind = "command"
args = ["true"]
prompt = "You review code for security. Be terse."
skills = {list(SKILLS)}
"""
MIB = 1 << 20
PAUSE = 0.2
"""Seconds after each bottle, for what engines leave to the background."""
ATTEMPTS = 3
"""At each step: a microVM on a busy host may not boot in the time that its engine gives it."""
PATIENCE = 300.0
"""Seconds for a command, and for engines to remove what was stopped."""

MEASURES = {
    "cold": "cold launch, the first of its image, until ready for its agent",
    "launch": "launch, until ready for its agent",
    "pack": "launch from a pack, until ready for its agent",
    "golden": "golden bottle and its first branch, until ready for its agent",
    "branch": "branch of a golden bottle, until ready for its agent",
    "branched": "bottle.branch() in a test",
    "exec": "exec of `true`",
    "in": "1 MiB in",
    "out": "1 MiB out",
    "teardown": "teardown, until nothing is left",
    "packing": "making a pack, once for an image (pytest-bottle image convert --pack)",
}


class EndedEarly(KeyboardInterrupt):
    """The time is up, or somebody ends the program: what is there is to be removed."""


class Microbench:
    """The bottles of one run, and how long each step of their lives took, in milliseconds."""

    def __init__(self, lifecycle, manifest, images, options):
        self.lifecycle = lifecycle
        self.manifest = manifest
        self.images = images
        self.options = options
        self.times = {}
        self.failures = {}
        self.gave_up = False
        self.pack = None

    def measure(self):
        parts, repeats = self.options.parts, range(self.options.repeats)
        if "cold" in parts:
            self.each(self.cold)
        for _ in repeats if "life" in parts else ():
            self.each(self.life)
        if "golden" in parts:
            self.each(self.branch_of_a_golden_one)
            for _ in repeats:
                self.each(self.branch_of_a_golden_one)
        if "pack" in parts:
            packed = [backend for backend in self.images if backend == "smolmachines"]
            self.each(self.make_pack, packed)
            for _ in repeats if self.pack else ():
                self.each(self.launch_from_a_pack, packed)

    def each(self, step, backends=None):
        """Take a step on each backend in turn, again where it fails; a failure is no time."""
        for backend in self.images if backends is None else backends:
            for _ in range(ATTEMPTS):
                began = time.perf_counter()
                try:
                    step(backend)
                except (BottleError, OSError) as problem:
                    self.failures.setdefault(backend, []).append(f"{step.__name__}: {problem}")
                    say(f"{backend}: failed at {self.failures[backend][-1]}")
                else:
                    say(f"{backend}: {step.__name__}, {time.perf_counter() - began:.1f} s")
                    time.sleep(PAUSE)
                    break
            else:
                self.gave_up = True

    def note(self, measure, backend, call):
        start = time.perf_counter()
        result = call()
        taken = (time.perf_counter() - start) * 1000
        self.times.setdefault((measure, backend), []).append(taken)
        return result

    def open(self, measure, backend, *, golden=False, image=None):
        asked = {"agent": "usual", "backend": backend, "image": image or self.images[backend]}
        spec = spec_from_arguments(**asked, golden=golden)
        return self.note(measure, backend, lambda: self.lifecycle.open(spec, self.manifest))

    def end(self, bottle):
        bottle.close()
        self.lifecycle.extensions.backend(bottle.backend).settle(PATIENCE)

    def cold(self, backend):
        self.end(self.open("cold", backend))

    def life(self, backend):
        contents = os.urandom(MIB)
        with self.open("launch", backend) as bottle:
            for _ in range(self.options.execs):
                self.note("exec", backend, lambda: bottle.exec(["true"]).check())
            self.note("in", backend, lambda: bottle.write_file("mebibyte", contents))
            found = self.note("out", backend, lambda: bottle.read_file("mebibyte", text=False))
            if found != contents:
                sys.exit(f"{backend}: the file that came back is another one")
            self.end(self.note("branched", backend, bottle.branch))
            self.note("teardown", backend, lambda: self.end(bottle))

    def branch_of_a_golden_one(self, backend):
        measure = "branch" if ("golden", backend) in self.times else "golden"
        self.end(self.open(measure, backend, golden=True))

    def make_pack(self, backend):
        # Only where there is an engine is there anything to import.
        from pytest_bottle.backends.smolmachines.backend import engine_with_state  # noqa: PLC0415
        from pytest_bottle.backends.smolmachines.engine import current_engine  # noqa: PLC0415
        from pytest_bottle.backends.smolmachines.images import pack_of  # noqa: PLC0415
        from pytest_bottle.backends.smolmachines.images import provide_image  # noqa: PLC0415

        smolvm = engine_with_state(current_engine())
        image = provide_image(smolvm, None, say)
        self.pack = self.note("packing", backend, lambda: pack_of(smolvm, image, say)).pack

    def launch_from_a_pack(self, backend):
        self.end(self.open("pack", backend, image=self.pack))

    def report(self, *, whole):
        complete = "" if whole else "; PARTIAL: it ended before all was measured"
        head = f"a bottle's life, ms, {self.options.repeats} repeats, in turn{complete}"
        print(f"\n{head}{'; EMULATED' if EMULATED else ''}")
        if EMULATED:
            print("The processor is software: no figure says anything absolute, least of all those")
            print("of smolmachines, whose guests have a virtual processor on top of that.")
        head = "".join(f"{f'to {base}':>15}" for base in BASES)
        print(f"  {'':<30}{'n':>4}{'median':>11}{'p95':>11}{head}")
        for measure, title in MEASURES.items():
            found = {name: self.times.get((measure, name)) for name in self.images}
            if any(found.values()):
                print(title)
                for backend, values in found.items():
                    self.row(backend, values, found)
        for backend, failures in self.failures.items():
            print(f"{backend} failed {len(failures)} times, and was tried again: {failures[-1]}")

    @staticmethod
    def row(backend, values, found):
        name = f"{backend} (emulated)" if EMULATED and backend == "smolmachines" else backend
        if not values:
            return
        median = statistics.median(values)
        p95 = sorted(values)[math.ceil(0.95 * len(values)) - 1]
        ratios = ""
        for base in BASES:
            beside = backend != base and found.get(base)
            ratios += f"{median / statistics.median(beside):15.2f}" if beside else " " * 15
        print(f"  {name:<30}{len(values):4}{median:11.1f}{p95:11.1f}{ratios}".rstrip())


def say(line):
    """Tell a person who waits how far it is; the table goes to the standard output."""
    print(line, file=sys.stderr, flush=True)


def make_project(directory: Path) -> None:
    (directory / "bottle.toml").write_text(MANIFEST)
    for name in SKILLS:
        skill = directory / "skills" / name
        skill.mkdir(parents=True)
        (skill / "SKILL.md").write_text(f"---\nname: {name}\n---\n" + "Do it well.\n" * 100)


def new_run() -> Run:
    return Run.join(os.urandom(8).hex(), "main", Owner.current())


def opened_backends(wanted) -> list[str]:
    """Return the backends that open here; asked in the usual state directory, which remembers."""
    lifecycle, found = Lifecycle(new_run(), Settings()), []
    try:
        for backend in wanted:
            probe = lifecycle.probe(backend)
            if probe.ok:
                found.append(backend)
            else:
                print(f"{backend} is left out: {probe.detail}")
    finally:
        lifecycle.close()
        lifecycle.end_run()
    return found


@contextlib.contextmanager
def state_directory():
    """Have a fresh state directory, of a path that is short enough for sockets."""
    usual = os.environ.get(STATE_VARIABLE)
    directory = Path(tempfile.mkdtemp(prefix="bb-", dir=Path(usual).parent if usual else "/tmp"))
    os.environ[STATE_VARIABLE] = str(directory)
    try:
        yield
    finally:
        if usual is None:
            del os.environ[STATE_VARIABLE]
        else:
            os.environ[STATE_VARIABLE] = usual
        remove_tree(directory)


def docker(*words, text=None) -> str:
    argv = ["docker", *words]
    return subprocess.run(argv, input=text, capture_output=True, check=True, text=True).stdout


@contextlib.contextmanager
def new_docker_image():
    """Have an image that this engine never ran a bottle of: its files, but not its identity."""
    name = f"pytest-bottle-benchmark:{os.urandom(6).hex()}"
    recipe = f"FROM {DOCKER_IMAGE}\nLABEL pytest-bottle.benchmark={name}\n"
    docker("build", "-q", "-t", name, "-", text=recipe)
    try:
        yield name
    finally:
        made = docker("image", "ls", "-q", "--filter", f"label=pytest-bottle.base={name}")
        docker("image", "rm", "-f", *made.split(), name)


@contextlib.contextmanager
def whole_run():
    """Have a lifecycle, and leave nothing of its run."""
    run = new_run()
    # Paid for once in a run, whichever backend is first.
    ensure_watchdog(run)
    lifecycle = Lifecycle(run, Settings(timeout=PATIENCE, report=say))
    try:
        yield lifecycle
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        watchdog = read_watchdog(run.directory)
        try:
            lifecycle.close()
        finally:
            lifecycle.end_run()
            if watchdog is not None and not watchdog.wait(PATIENCE):
                say(f"the watchdog of {run.directory} is still at work")
        for backend in lifecycle.extensions.loaded_backends:
            for resource, owner in backend.orphans():
                if owner == Owner.current().encode():
                    say(f"left behind: {resource}")


def end_early(number, _frame):
    # Who asks twice does not want to wait for teardown.
    signal.signal(number, signal.SIG_DFL)
    raise EndedEarly


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=10, help="of each (default: 10)")
    parser.add_argument("--execs", type=int, default=20, help="in each bottle (default: 20)")
    parser.add_argument(
        "--limit", type=float, default=1800, help="seconds until it stops (default: 1800)"
    )
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="(default: all)")
    options = parser.parse_args()
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_early)
    signal.setitimer(signal.ITIMER_REAL, options.limit)
    found, bench, whole = opened_backends(options.backends), None, False
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(EndedEarly))
        stack.enter_context(state_directory())
        project = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_project(project)
        images = dict.fromkeys(found)
        if "docker" in images:
            images["docker"] = stack.enter_context(new_docker_image())
        lifecycle = stack.enter_context(whole_run())
        bench = Microbench(lifecycle, load_manifest(project / "bottle.toml"), images, options)
        bench.measure()
        whole = not bench.gave_up
    if bench is not None:
        bench.report(whole=whole)
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()
