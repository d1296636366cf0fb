"""What is carried over into a branch, and what a hostile source cannot do by that."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest

from pytest_bottle.backends.bubblewrap.backend import BubblewrapBackend
from pytest_bottle.errors import BranchUnsupportedError
from pytest_bottle.errors import LaunchError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.plan import ImagePlan
from tests.bubblewrap.conftest import Box
from tests.bubblewrap.conftest import eventually
from tests.bubblewrap.test_image import place  # noqa: F401 - a fixture
from tests.bubblewrap.test_image import rootfs  # noqa: F401 - a fixture

pytestmark = pytest.mark.bottle_requires("bubblewrap")


@pytest.fixture
def branch(tmp_path):
    """Return a function that branches a box, with a broker of its own, as another process would."""
    backend = BubblewrapBackend()
    boxes: list[Box] = []

    def make(box, **fields):
        name = f"branch-{os.getpid()}-{len(boxes)}"
        plan = dataclasses.replace(box.plan, name=name, state_dir=tmp_path, **fields)
        boxes.append(Box(plan, backend.branch(plan, dict(box.sandbox.reference()))))
        return boxes[-1]

    yield make
    for box in boxes:
        box.sandbox.stop()
    backend.shutdown()


def state(pid: int) -> str:
    """Return a process's state, in a letter."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_changes_of_the_hosts_programs_are_carried_over(launch, branch):
    """New ones, and deletions, of which the overlay keeps marks."""
    box = launch()
    box.sh("echo new > /usr/bin/new && rm -r /usr/local/bin && mkdir /usr/local/bin").check()
    other = branch(box)
    assert other.exec("cat", "/usr/bin/new").stdout == "new\n"
    assert other.exec("ls", "-A", "/usr/local/bin").stdout == ""
    other.exec("rm", "/usr/bin/new").check()
    assert box.exec("cat", "/usr/bin/new").stdout == "new\n"


def test_changes_of_an_image_are_carried_over(launch, branch, rootfs):  # noqa: F811 - the fixture
    """Deleted and replaced directories, too."""
    box = launch(image=ImagePlan(reference=str(rootfs)))
    box.sh("rm /usr/link; echo of the guest > /data/file; mkdir /data/more").check()
    box.sh("rm /etc/passwd && mkdir /etc/passwd && touch /home/agent/.own && rm /bin/touch").check()
    other = branch(box)
    assert other.exec("ls", "-A", "/data", "/etc/passwd", "/home/agent", "/usr").stdout == (
        "/data:\nfile\nmore\n\n/etc/passwd:\n\n/home/agent:\n.own\n\n/usr:\n"
    )
    assert other.exec("cat", "/data/file").stdout == "of the guest\n"
    assert not other.exec("test", "-e", "/bin/touch").success
    assert (rootfs / "data/file").read_text() == "of the image"


def test_the_files_are_the_branchs_users(launch, branch):
    """Whoever that is on the host: both can go on with them."""
    box = launch()
    box.sh("mkdir d; echo x > d/file; chmod 600 d/file; chmod 700 d").check()
    other = branch(box)
    assert other.exec("stat", "-c", "%U %G %a", "d", "d/file").stdout == (
        "bottle bottle 700\nbottle bottle 600\n"
    )
    assert other.sh("echo y >> d/file && mv d e && cat e/file").stdout == "x\ny\n"


def test_it_names_itself(launch, branch):
    """Not its source."""
    box = launch()
    box.sh("echo 10.0.0.1 else >> /etc/hosts").check()
    other = branch(box)
    assert other.exec("cat", "/etc/hostname").stdout == f"{other.plan.name}\n"
    assert other.plan.name in other.exec("cat", "/etc/hosts").stdout
    assert other.exec("uname", "-n").stdout == f"{other.plan.name}\n"


def test_links_of_a_guest_lead_nowhere_else(launch, branch, place):  # noqa: F811 - the fixture
    """Not into the host, which bwrap still sees while it makes the branch."""
    victim = place / "victim"
    victim.mkdir()
    victim.chmod(0o777)
    (victim / "hostname").write_text("the host's")
    (victim / "hostname").chmod(0o666)
    box = launch()
    box.sh(
        f"""
        rm /etc/hostname /etc/hosts /etc/resolv.conf
        for name in hostname hosts resolv.conf; do
            ln -s /oldroot{victim}/hostname /etc/$name
        done
        rmdir /var/tmp && ln -s /oldroot{victim} /var/tmp
        rmdir /run && ln -s ../../../../oldroot{victim}/made /run
        """
    ).check()
    other = branch(box)
    assert other.exec("true").success
    assert (victim / "hostname").read_text() == "the host's"
    assert [path.name for path in victim.iterdir()] == ["hostname"]
    assert other.exec("readlink", "/var/tmp").stdout == f"/oldroot{victim}\n"


def test_a_tree_that_is_too_deep_is_refused(launch, branch):
    """In words, and nothing of the branch remains; the source goes on."""
    box = launch()
    box.python("import os\nfor _ in range(400): os.mkdir('d'); os.chdir('d')").check()
    with pytest.raises(LaunchError, match="directories below each other"):
        branch(box)
    assert box.exec("true").success


def test_what_had_stopped_stays_stopped(launch, branch):
    """What ran runs on."""
    box = launch()
    box.sh("sleep 987 & one=$!; sleep 986 & sleep 0.2; kill -STOP $one").check()
    pids = {
        seconds: int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        for seconds in ("987", "986")
        if path.read_bytes() == f"sleep\0{seconds}\0".encode()
    }
    branch(box)
    assert eventually(lambda: state(pids["986"]) == "S")
    assert state(pids["987"]) == "T"
    assert eventually(lambda: state(box.keeper) == "S")


def test_a_source_that_ended_is_lost(launch, branch):
    """Whoever asks."""
    box = launch()
    reference = dict(box.sandbox.reference())
    os.kill(box.keeper, signal.SIGKILL)
    assert eventually(lambda: not Path(f"/proc/{box.init}").exists())
    assert reference["keeper"]["init"] == box.init
    with pytest.raises(SandboxLostError):
        branch(box)


def test_without_overlays_there_are_no_branches(launch):
    """What a sandbox wrote is then nowhere to be found."""
    box = launch()
    reference = {**box.sandbox.reference()}
    reference["keeper"] = {**reference["keeper"], "trees": None}
    backend = BubblewrapBackend()
    with pytest.raises(BranchUnsupportedError, match="stages no overlays"):
        backend.branch(box.plan, reference)
