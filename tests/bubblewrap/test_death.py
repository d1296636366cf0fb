"""Whatever of a sandbox's processes is killed, nothing of the guest lives on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_bottle.errors import LaunchError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.state.owner import Owner
from tests.bubblewrap.conftest import Box
from tests.bubblewrap.conftest import eventually

pytestmark = pytest.mark.bottle_requires("bubblewrap")


def parent(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def broker(box: Box) -> int:
    return parent(box.keeper)


def keeper(box: Box) -> int:
    return box.keeper


def init(box: Box) -> int:
    return box.init


def bwrap(box: Box) -> int:
    return parent(box.init)


class Remains:
    """All processes of a sandbox, by their identity."""

    def __init__(self, box: Box) -> None:
        namespace = Path(f"/proc/{box.init}/ns/pid").readlink()
        self._owners = [Owner.of(pid) for pid in (box.keeper, bwrap(box), box.init)]
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (path / "ns/pid").readlink() == namespace:
                    self._owners.append(Owner.of(int(path.name)))

    def __len__(self) -> int:
        return sum(owner.alive() for owner in self._owners)


@pytest.fixture
def busy(box):
    """A sandbox with a background process that has left its session."""
    box.sh("setsid sleep 60 > /dev/null 2>&1 &").check()
    return box


@pytest.mark.parametrize("victim", [broker, keeper, bwrap, init])
def test_a_kill_takes_everything_along(busy, victim):
    remains = Remains(busy)
    assert len(remains) >= 5
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(busy.sh, "touch up; sleep 30")
        assert eventually(lambda: busy.exec("test", "-e", "up").success)
        os.kill(victim(busy), signal.SIGKILL)
        with pytest.raises(SandboxLostError, match="bubblewrap sandbox ended"):
            waiting.result(5)
    assert eventually(lambda: len(remains) == 0)
    with pytest.raises(SandboxLostError, match="bubblewrap sandbox ended"):
        busy.exec("true")
    assert busy.sandbox.stop()
    assert not any(path.exists() for path in busy.groups)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_is_meant_for_the_tests_harms_nobody(busy, number):
    """Ctrl-C reaches every process of a terminal."""
    for process in (broker(busy), busy.keeper):
        os.kill(process, number)
    assert busy.exec("true").success


def test_stopping_ends_every_process(busy):
    remains = Remains(busy)
    assert busy.sandbox.stop()
    assert eventually(lambda: len(remains) == 0)
    assert busy.sandbox.stop()


def test_the_backends_end_is_its_sandboxes_end(busy, backend):
    remains = Remains(busy)
    backend.shutdown()
    assert eventually(lambda: len(remains) == 0)


def test_a_broker_that_died_is_replaced(launch):
    first = launch()
    os.kill(broker(first), signal.SIGKILL)
    assert eventually(lambda: not Owner.decode(first.sandbox.resources[0].id).alive())

    def second() -> bool:
        with contextlib.suppress(LaunchError):
            launch().exec("true").check()
            return True
        return False

    assert eventually(second)


class TestDetached:
    def test_it_outlives_its_broker(self, launch, backend):
        box = launch(shared=True)
        remains = Remains(box)
        reference = box.sandbox.reference()
        box.sandbox.detach()
        box.sandbox.close()
        os.kill(broker(box), signal.SIGKILL)
        with socket.socket(socket.AF_UNIX) as probe:
            assert eventually(lambda: probe.connect_ex(reference["keeper"]["socket"]) == 0)
        other = backend.attach(box.plan, reference)
        attached = Box(box.plan, other)
        assert attached.sh("echo still here").stdout == "still here\n"
        other.stop()
        assert eventually(lambda: len(remains) == 0)

    def test_attaching_to_what_is_gone_is_a_lost_sandbox(self, launch, backend):
        box = launch(shared=True)
        reference = box.sandbox.reference()
        box.sandbox.stop()
        with pytest.raises(SandboxLostError):
            backend.attach(box.plan, reference)

    def test_one_that_did_not_detach_ends_with_its_channel(self, launch):
        """However many others are attached: whoever launched it holds it."""
        box = launch()
        remains = Remains(box)
        box.sandbox.close()
        assert eventually(lambda: len(remains) == 0)
