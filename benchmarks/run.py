"""Measure pytest-bottle beside its rivals, in one run, and print the ratios.

    python benchmarks/run.py [--rounds N]

Wants the packages of the dependency group `benchmark`. What needs Docker is left out, and said so,
where no engine answers; its image is BOTTLE_DOCKER_IMAGE, or the plugin's default.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from pathlib import Path

import pytest

from pytest_bottle.lifecycle.lifecycle import Lifecycle
from pytest_bottle.lifecycle.settings import Settings
from pytest_bottle.lifecycle.spec import spec_from_arguments
from pytest_bottle.manifest import EMPTY
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.run import Run

warnings.simplefilter("ignore")  # of other plugins that happen to be installed

HERE = Path(__file__).parent
PAUSE = 0.4
"""Seconds between two tests."""

IMAGE = os.environ.get("BOTTLE_DOCKER_IMAGE", "python:3.13-slim-bookworm")


class Durations:
    """Collects set-up, call and teardown of each test, by rival, in milliseconds."""

    def __init__(self) -> None:
        self.phases = defaultdict(lambda: defaultdict(list))
        self.failures = []

    def pytest_runtest_logfinish(self):
        # What a rival leaves to the background must not slow down the next one.
        time.sleep(PAUSE)

    def pytest_runtest_logreport(self, report):
        rival = report.nodeid.rpartition("[")[2].rstrip("]").split("-", 1)[1]
        self.phases[rival][report.when].append(report.duration * 1000)
        if report.failed:
            self.failures.append(report.nodeid)

    def totals(self, rival):
        phases = self.phases[rival]
        return [sum(parts) for parts in zip(*phases.values(), strict=True)]


def docker_answers() -> bool:
    try:
        inspect = ["docker", "image", "inspect", IMAGE]
        done = subprocess.run(inspect, capture_output=True, timeout=20, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def row(name, values, against=None, limit=""):
    median = statistics.median(values)
    spread = f"{min(values):8.1f} {max(values):8.1f}"
    ratio = f"{median / against:8.3f}" if against else " " * 8
    print(f"  {name:<34}{median:9.1f} {spread} {ratio}  {limit}")
    return median


def measure_cycle(rounds: int, *, docker: bool) -> None:
    rivals = ["plain_subprocess", "bottle_bubblewrap"]
    if docker:
        rivals += ["bottle_docker", "docker_cli"]
        if importlib.util.find_spec("testcontainers"):
            rivals.append("testcontainers")
    # One more round than counted: the first pays for imports, probes and the watchdog.
    os.environ |= {"BENCHMARK_RIVALS": ",".join(rivals), "BENCHMARK_ROUNDS": str(rounds + 1)}
    durations = Durations()
    quiet = ["-p", "no:terminal", "-p", "no:randomly"]
    arguments = [str(HERE / "suite_cycle.py"), *quiet, "-p", "no:cacheprovider", "-c", os.devnull]
    pytest.main([*arguments, f"--rootdir={HERE}"], plugins=[durations])
    if durations.failures:
        sys.exit(f"failed: {durations.failures}")
    print(f"\nper test: set-up + one command + teardown, ms, {rounds} rounds, interleaved")
    print(f"  {'':<34}{'median':>9} {'min':>8} {'max':>8} {'ratio':>8}  to testcontainers; aim")
    totals = {rival: durations.totals(rival)[1:] for rival in rivals}
    base = statistics.median(totals["testcontainers"]) if "testcontainers" in totals else None
    aims = {"bottle_bubblewrap": "<= 0.10", "bottle_docker": "<= 0.60"}
    for rival in rivals:
        row(rival, totals[rival], base, aims.get(rival, ""))


def measure_back_to_back(count: int, *, docker: bool) -> None:
    """Whole pytest runs, so that what is left to the background is paid for as well."""
    rivals = ["bottle_bubblewrap"]
    if docker:
        rivals += ["bottle_docker", "docker_cli"]
        if importlib.util.find_spec("testcontainers"):
            rivals.append("testcontainers")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command += ["-c", os.devnull, f"--rootdir={HERE}", str(HERE / "suite_cycle.py")]
    times = {}
    for rival in rivals:
        env = os.environ | {"BENCHMARK_RIVALS": rival, "BENCHMARK_ROUNDS": str(count)}
        start = time.perf_counter()
        subprocess.run(command, env=env, capture_output=True, check=True)
        times[rival] = (time.perf_counter() - start) * 1000 / count
    print(f"\nthe same {count} times back to back, start and end of pytest included, ms per test")
    base = times.get("testcontainers")
    for rival, value in times.items():
        print(f"  {rival:<34}{value:9.1f}" + (f"{value / base:27.3f}" if base else ""))


def timed(call) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def measure_exec(rounds: int, *, docker: bool) -> None:
    lifecycle = Lifecycle(Run.join(os.urandom(8).hex(), "main", Owner.current()), Settings())
    try:
        box = lifecycle.open(spec_from_arguments(backend="bubblewrap"), EMPTY)
        calls = {
            "subprocess.run": lambda: subprocess.run(["true"], capture_output=True, check=True),
            "bubblewrap bottle.exec": lambda: box.exec(["true"]),
        }
        if docker:
            container = lifecycle.open(spec_from_arguments(backend="docker", image=IMAGE), EMPTY)
            cli = ["docker", "exec", container.name, "true"]
            calls["docker bottle.exec"] = lambda: container.exec(["true"])
            calls["docker exec"] = lambda: subprocess.run(cli, capture_output=True, check=True)
        times = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                times[name].append(timed(call))
    finally:
        lifecycle.close()
        lifecycle.end_run()
    print(f"\none command in a running bottle, ms, {rounds} rounds, interleaved")
    print(f"  {'':<34}{'median':>9} {'min':>8} {'max':>8} {'ratio':>8}  aim")
    plain = row("subprocess.run", times["subprocess.run"])
    median = row("bubblewrap bottle.exec", times["bubblewrap bottle.exec"])
    print(f"  {'  more than subprocess.run':<34}{median - plain:9.1f} {'':26}  <= 4 ms")
    if docker:
        engine = row("docker exec (the client's command)", times["docker exec"])
        row("docker bottle.exec", times["docker bottle.exec"], engine, "<= 0.25")


def measure_import(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "test_nothing.py").write_text("def test_nothing(): pass\n")
        pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", directory]
        calls = {
            "with the plugin": pytest_command,
            "without": [*pytest_command, "-p", "no:bottle"],
        }
        times = {name: [] for name in calls}
        for _ in range(rounds):
            for name, command in calls.items():
                run = lambda c=command: subprocess.run(c, capture_output=True, check=True)  # noqa: E731
                times[name].append(timed(run))
    print(f"\na suite that uses no bottle, ms for the whole process, {rounds} rounds, interleaved")
    print(f"  {'':<34}{'median':>9} {'min':>8} {'max':>8} {'ratio':>8}  aim")
    without = row("without", times["without"])
    median = row("with the plugin", times["with the plugin"], without)
    print(f"  {'  the plugin adds':<34}{median - without:9.1f} {'':26}  <= 40 ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="per rival (default: 15)")
    rounds = parser.parse_args().rounds
    # Its reaper is one more image to pull; without it, testcontainers is the faster rival.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    docker = docker_answers()
    if not docker:
        print(f"no Docker engine with the image {IMAGE} answers: its rows are left out")
    measure_cycle(rounds, docker=docker)
    measure_back_to_back(rounds * 2, docker=docker)
    measure_exec(rounds * 4, docker=docker)
    measure_import(rounds)


if __name__ == "__main__":
    main()
