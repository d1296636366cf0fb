"""The watchdog: nothing of a run is left, whoever is killed, and when."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.errors import RunEndedError
from pytest_bottle.reaper import sweep
from pytest_bottle.state.journal import read_journals
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.resource import Resource
from pytest_bottle.state.run import Run
from pytest_bottle.state.run import read_watchdog
from pytest_bottle.watchdog import ensure_watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

RUN_ID = "abad1deafeed"

pytestmark = pytest.mark.usefixtures("root")

LAUNCH = """
import subprocess, sys
from pytest_bottle import process
from pytest_bottle.state.owner import Owner
from pytest_bottle.state.resource import Resource
from pytest_bottle.state.run import Run
from pytest_bottle.watchdog import ensure_watchdog

run_id, worker, scope, controller = sys.argv[1:5]
run = Run.join(run_id, worker, Owner.decode(controller) if controller else Owner.current())
ensure_watchdog(run)
name = run.next_name()
directory = run.bottle_directory(name)
(directory / "prompt.txt").touch()
def add(kind, id):
    run.journal.add(name, [Resource(kind=kind, id=id)], scope_owner=scope)
add("directory", str(directory))
sandbox = process.start(["sleep", "600"])
add("process", Owner.of(sandbox.pid).encode())
if "keep" in sys.argv: run.journal.keep(name)
print(Owner.of(sandbox.pid).encode(), directory, flush=True)
for line in sys.stdin:
    if line == "teardown\\n":
        sandbox.kill(); sandbox.wait()
        run.journal.settled(name)
        print("done", flush=True)
"""

WATCH = """
import os, pathlib, sys
from pytest_bottle import watchdog
def remove(resource):
    pathlib.Path(resource.id).unlink(missing_ok=True)
sys.exit(watchdog.main([sys.argv[1], str(os.dup(1))], remove))
"""


def eventually(true: Callable[[], bool], seconds: float = 8.0) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.01)
    return true()


class Bottle:
    """A process that launched a bottle, and the bottle."""

    def __init__(self, process) -> None:
        self.process = process
        owner, directory = process.stdout.readline().split()
        self.sandbox = Owner.decode(owner)
        self.directory = Path(directory)
        assert self.running

    @property
    def running(self) -> bool:
        return self.sandbox.alive() or self.directory.exists()

    def kill_its_worker(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def tell(self, word: str) -> None:
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()


@pytest.fixture
def runs(root):
    """The directory of all runs."""
    return root / "runs"


@pytest.fixture
def watchdog_of(runs):
    """Find a run's watchdog; it is killed at the end where the test leaves it alive."""
    seen = []

    def find(run_id=RUN_ID):
        watchdog = read_watchdog(runs / run_id)
        seen.append(watchdog)
        return watchdog

    yield find
    for watchdog in seen:
        if watchdog is not None:
            watchdog.kill()


@pytest.fixture
def launch(start_python, watchdog_of):
    """Launch a bottle in a process of its own."""
    started = []

    def start(worker="main", *, controller=None, scope="worker", extra=()):
        identity = Owner.of(controller.pid).encode() if controller else ""
        bottle = Bottle(start_python(LAUNCH, RUN_ID, worker, scope, identity, *extra))
        watchdog_of()
        started.append(bottle)
        return bottle

    yield start
    for bottle in started:
        bottle.sandbox.kill()


@pytest.fixture
def controller(start_python):
    """A controller that launches nothing, as xdist's."""
    return start_python("import sys; sys.stdin.read()")


class TestDeathOfTheController:
    def test_everything_of_the_run_goes(self, launch, runs, watchdog_of):
        bottle = launch()
        watchdog = watchdog_of()
        bottle.kill_its_worker()
        assert eventually(lambda: not bottle.running)
        assert eventually(lambda: not list(runs.iterdir()))
        assert watchdog.wait(5)

    def test_its_workers_and_their_bottles_go_too(self, launch, controller, runs):
        bottles = [launch(f"gw{number}", controller=controller) for number in range(2)]
        shared = launch("gw2", controller=controller, scope="run")
        controller.kill()
        controller.wait()
        assert [one.process.wait(8) for one in (*bottles, shared)] == [-signal.SIGKILL] * 3
        assert eventually(lambda: not any(one.running for one in (*bottles, shared)))
        assert eventually(lambda: not list(runs.iterdir()))

    def test_a_bottle_kept_for_a_person_stays(self, launch, runs, watchdog_of):
        bottle = launch(extra=["keep"])
        watchdog = watchdog_of()
        bottle.kill_its_worker()
        assert watchdog.wait(8)
        assert bottle.sandbox.alive()
        assert [entry.kept for entry in read_journals(runs / RUN_ID)] == [True]

    def test_a_hangup_of_the_terminal_does_not_end_the_watch(self, launch, watchdog_of):
        bottle = launch()
        watchdog = watchdog_of()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            os.kill(watchdog.pid, number)
        bottle.kill_its_worker()
        assert eventually(lambda: not bottle.running)


class TestDeathOfAWorker:
    def test_only_what_it_owned_goes(self, launch, controller, runs):
        doomed = launch("gw0", controller=controller)
        other = launch("gw1", controller=controller)
        shared = launch("gw2", controller=controller, scope="run")
        doomed.kill_its_worker()
        shared.kill_its_worker()
        assert eventually(lambda: not doomed.running)
        assert eventually(lambda: len(read_journals(runs / RUN_ID)) == 2)
        assert other.running
        assert shared.sandbox.alive()
        assert shared.directory.exists()


class TestDeathOfTheWatchdog:
    def test_the_next_launch_starts_another(self, launch, controller, watchdog_of):
        launch("gw0", controller=controller)
        first = watchdog_of()
        assert first.kill()
        assert first.wait(5)
        bottle = launch("gw1", controller=controller)
        second = watchdog_of()
        assert second != first
        assert second.alive()
        bottle.kill_its_worker()
        assert eventually(lambda: not bottle.running)

    def test_the_next_run_sweeps(self, launch, root, runs, watchdog_of):
        bottle = launch()
        watchdog = watchdog_of()
        watchdog.kill()
        watchdog.wait(5)
        bottle.kill_its_worker()
        assert bottle.running
        assert sweep(root, lambda _: pytest.fail("no backend has a part in it")).failed == ()
        assert not bottle.running
        assert not list(runs.iterdir())


class TestAnOrderlyEnd:
    def test_with_its_controller_the_watchdog_ends_within_a_second(self, launch, runs, watchdog_of):
        bottle = launch()
        watchdog = watchdog_of()
        bottle.tell("teardown")
        assert bottle.process.stdout.readline() == "done\n"
        bottle.process.stdin.close()
        assert bottle.process.wait(5) == 0
        assert watchdog.wait(1)
        assert not list(runs.iterdir())

    def test_a_run_may_end_before_its_process(self, runs, watchdog_of):
        """As many runs in one process do, which test a plugin."""
        run = Run.join(RUN_ID, "main", Owner.current())
        ensure_watchdog(run)
        watchdog = watchdog_of()
        directory = run.bottle_directory(run.next_name())
        run.journal.add("left", [Resource(kind="directory", id=str(directory))])
        run.end()
        assert watchdog.wait(5)
        assert not list(runs.iterdir())
        with pytest.raises(RunEndedError):
            run.journal.add("late", [])


class TestEnsure:
    def test_all_processes_of_a_run_share_one(self, watchdog_of, start_python):
        script = (
            "import sys\n"
            "from pytest_bottle.state.owner import Owner\n"
            "from pytest_bottle.state.run import Run, read_watchdog\n"
            "from pytest_bottle.watchdog import ensure_watchdog\n"
            "run = Run.join(sys.argv[1], sys.argv[2], Owner.decode(sys.argv[3]))\n"
            "sys.stdin.readline()\n"
            "ensure_watchdog(run)\n"
            "print(read_watchdog(run.directory).encode(), flush=True)\n"
            "sys.stdin.read()\n"
        )
        run = Run.join(RUN_ID, "main", Owner.current())
        workers = [
            start_python(script, RUN_ID, f"gw{number}", Owner.current().encode())
            for number in range(4)
        ]
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        named = {worker.stdout.readline().strip() for worker in workers}
        assert named == {watchdog_of().encode()}
        run.end()

    def test_it_comes_with_the_directory(self, runs, watchdog_of):
        run = Run.of(RUN_ID, "main", Owner.current())
        assert not list(runs.iterdir())
        ensure_watchdog(run)
        assert [path.name for path in runs.iterdir()] == [RUN_ID]
        assert watchdog_of().alive()
        run.end()

    def test_no_run_begins_after_its_controller(self, controller, runs):
        """A worker that survives a killed controller for a moment makes nothing."""
        run = Run.of(RUN_ID, "gw0", Owner.of(controller.pid))
        controller.kill()
        controller.wait()
        with pytest.raises(RunEndedError):
            ensure_watchdog(run)
        assert not list(runs.iterdir())

    def test_no_run_begins_again(self, runs, watchdog_of):
        run = Run.of(RUN_ID, "main", Owner.current())
        ensure_watchdog(run)
        watchdog = watchdog_of()
        run.end()
        assert watchdog.wait(5)
        with pytest.raises(RunEndedError):
            ensure_watchdog(run)
        assert not list(runs.iterdir())

    def test_it_watches_also_where_its_starter_was_killed(self, start_python, runs, watchdog_of):
        """Then nobody reads that it is ready."""
        starter = start_python(
            "import os, signal, sys\n"
            "from pytest_bottle import process\n"
            "from pytest_bottle.state.owner import Owner\n"
            "from pytest_bottle.state.run import Run\n"
            "from pytest_bottle.watchdog import ensure_watchdog\n"
            "process._read_line = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "ensure_watchdog(Run.of(sys.argv[1], 'gw0', Owner.decode(sys.argv[2])))\n",
            RUN_ID,
            Owner.current().encode(),
        )
        assert starter.wait(10) == -signal.SIGKILL
        assert eventually((runs / RUN_ID / "watchdog").exists)
        time.sleep(0.3)
        assert watchdog_of().alive()
        Run.join(RUN_ID, "main", Owner.current()).end()
        assert eventually(lambda: not list(runs.iterdir()))

    def test_it_holds_no_output_of_its_starter_open(self, launch):
        """Whoever reads pytest's output to its end is not kept waiting."""
        bottle = launch()
        bottle.process.stdin.close()
        assert bottle.process.wait(5) == 0
        began = time.monotonic()
        assert bottle.process.stdout.read() == ""
        assert time.monotonic() - began < 0.2

    def test_a_look_at_a_living_one_is_cheap(self, watchdog_of):
        run = Run.join(RUN_ID, "main", Owner.current())
        ensure_watchdog(run)
        watchdog_of()
        costs = []
        for _ in range(50):
            began = time.perf_counter()
            ensure_watchdog(run)
            costs.append(time.perf_counter() - began)
        assert min(costs) < 0.0005
        run.end()

    def test_a_module_in_the_working_directory_does_not_come_in_its_way(
        self, tmp_path, monkeypatch, watchdog_of
    ):
        (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
        monkeypatch.chdir(tmp_path)
        run = Run.join(RUN_ID, "main", Owner.current())
        ensure_watchdog(run)
        assert watchdog_of().alive()
        run.end()

    def test_a_run_that_was_taken_down_is_not_watched(self):
        run = Run.join(RUN_ID, "main", Owner.current())
        run.end()
        with pytest.raises(RunEndedError):
            ensure_watchdog(run)


class TestEngines:
    """Resources of backends, which go to their remover."""

    @pytest.fixture
    def watch(self, start_python):
        def start(run_directory):
            process = start_python(WATCH, run_directory, start_new_session=True)
            assert process.stdout.readline() == "ready\n"
            return process

        return start

    @pytest.fixture
    def worker(self, start_python, controller, tmp_path):
        """A worker that asked an engine for a container, and the file that stands for it."""
        process = start_python(
            "import sys\n"
            "from pytest_bottle.state.owner import Owner\n"
            "from pytest_bottle.state.resource import Resource\n"
            "from pytest_bottle.state.run import Run\n"
            "run = Run.join(sys.argv[1], 'gw0', Owner.decode(sys.argv[2]))\n"
            "run.journal.add('b1', [Resource(kind='fake:container', id=sys.argv[3])])\n"
            "print(run.directory, flush=True)\n"
            "sys.stdin.read()\n",
            RUN_ID,
            Owner.of(controller.pid).encode(),
            tmp_path / "container",
        )
        return process, Path(process.stdout.readline().strip())

    @pytest.mark.parametrize("victim", ["worker", "controller"])
    def test_what_an_engine_creates_after_its_clients_death_goes_too(
        self, watch, worker, controller, tmp_path, victim
    ):
        process, directory = worker
        watchdog = watch(directory)
        container = tmp_path / "container"
        dying = process if victim == "worker" else controller
        late = threading.Timer(1.5, container.touch)
        late.start()
        dying.kill()
        dying.wait()
        late.join()
        assert container.exists()
        assert eventually(lambda: not container.exists())
        if victim == "controller":
            assert watchdog.wait(8) == 0
            assert not directory.exists()
        else:
            assert eventually(lambda: read_journals(directory) == [])

    def test_what_resists_at_first_is_tried_again(self, watch, worker, controller, tmp_path):
        _, directory = worker
        container = tmp_path / "container"
        container.mkdir()
        watchdog = watch(directory)
        controller.kill()
        controller.wait()
        log = time.monotonic()
        while time.monotonic() < log + 5.5:
            assert directory.exists()
            time.sleep(0.1)
        container.rmdir()
        assert watchdog.wait(5) == 0
        assert not directory.exists()
