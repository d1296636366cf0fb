"""Checks of bottles that start from another one's state."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from typing import Final

import pytest

from pytest_bottle.errors import BottleClosedError
from pytest_bottle.errors import BranchUnsupportedError
from pytest_bottle.errors import SandboxLostError
from pytest_bottle.testing.conformance.door import ASK
from pytest_bottle.testing.conformance.door import PORT
from pytest_bottle.testing.conformance.door import answering
from pytest_bottle.testing.conformance.heartbeat import SILENCE
from pytest_bottle.testing.conformance.heartbeat import wait_until
from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.conformance.subject import Launch

_MAKE: Final = """
mkdir -p tree/empty tree/closed
printf 'a\\0b' > tree/bytes
ln tree/bytes tree/same
ln -s nowhere tree/link
mkfifo tree/fifo
echo tool > tree/tool; chmod 4751 tree/tool
echo secret > tree/closed/secret; chmod 0 tree/closed/secret tree/closed
touch -d '2001-02-03 04:05:06' tree/old
truncate -s 4M tree/sparse
"""

_LOOK: Final = """
cd tree
chmod 700 closed; chmod 600 closed/secret
stat -c '%a %F' empty tool fifo link
od -An -c bytes
[ bytes -ef same ] && echo 'one file'
readlink link
cat closed/secret
stat -c %Y old
stat -c %s sparse
"""


class BranchChecks(Subject):
    """`branch` and `golden`: everything is there, nothing is shared, and either may end first."""

    def test_a_backend_without_branches_says_so(self, launch: Launch) -> None:
        """Both ways of asking for one raise the error that says what to do."""
        bottle = launch(golden=False)
        if self.branches:
            with bottle.branch() as branch:
                assert branch.exec(["true"]).success
            return
        with pytest.raises(BranchUnsupportedError, match=self.backend):
            bottle.branch()
        with pytest.raises(BranchUnsupportedError, match=self.backend):
            launch(golden=True)

    def test_a_branch_has_what_its_source_has(self, launch: Launch) -> None:
        """Of every kind, with permissions; also what their own user may not read."""
        if not self.branches:
            return
        bottle = launch(env={"CONFORMANCE": "of the plan"})
        bottle.sh(_MAKE).check()
        bottle.sh("echo 'at home' > ~/file").check()
        branch = bottle.branch()
        seen = branch.sh(_LOOK).check().stdout
        assert seen == bottle.sh(_LOOK).check().stdout
        assert branch.sh('cat ~/file; echo "$CONFORMANCE"').stdout == "at home\nof the plan\n"
        assert branch.user == bottle.user
        assert branch.sh("pwd").stdout == f"{branch.workdir}\n"
        if self.private_files:
            assert (branch.workdir, branch.home) == (bottle.workdir, bottle.home)

    def test_a_branch_has_a_name_of_its_own(self, launch: Launch) -> None:
        """Which is its host's name too, where it is a host."""
        if not self.branches:
            return
        bottle = launch()
        branch = bottle.branch()
        assert branch.name != bottle.name
        assert branch.plan.branch_of == bottle.name
        if self.own_network:
            assert branch.sh("uname -n").stdout == f"{branch.name}\n"
            assert bottle.sh("uname -n").stdout == f"{bottle.name}\n"

    def test_what_one_changes_the_others_do_not_see(self, launch: Launch) -> None:
        """Source and branches: neither new files, nor new content, nor deletions."""
        if not self.branches:
            return
        bottle = launch(files={"kept": {"text": "kept\n"}, "gone": {"text": "gone\n"}})
        bottle.sh("rm gone").check()
        one, other = bottle.branch(), bottle.branch()
        for each in (bottle, one, other):
            assert each.listdir() == ["kept"]
            each.sh(f"echo {each.name} >> kept; echo {each.name} > own; rm -f ~/.*rc").check()
        for each in (bottle, one, other):
            assert each.read_file("kept") == f"kept\n{each.name}\n"
            assert each.read_file("own") == f"{each.name}\n"
        one.sh("rm kept own").check()
        assert one.listdir() == []
        assert other.listdir() == bottle.listdir() == ["kept", "own"]

    def test_changes_count_from_the_branch_on(self, launch: Launch) -> None:
        """What the source had changed before is the branch's beginning."""
        if not self.branches:
            return
        bottle = launch()
        bottle.write_file("before", "x")
        branch = bottle.branch()
        assert not branch.diff()
        branch.write_file("after", "x")
        assert branch.diff().added == ("after",)
        assert bottle.diff().added == ("before",)

    def test_branches_have_branches(self, launch: Launch) -> None:
        """And each may outlive what it started from."""
        if not self.branches:
            return
        bottle = launch()
        bottle.sh("echo 1 >> log").check()
        branch = bottle.branch()
        branch.sh("echo 2 >> log").check()
        last = branch.branch()
        bottle.close()
        assert branch.read_file("log") == "1\n2\n"
        branch.close()
        last.sh("echo 3 >> log").check()
        assert last.read_file("log") == "1\n2\n3\n"
        with last.branch() as further:
            assert further.read_file("log") == "1\n2\n3\n"

    def test_running_processes(self, launch: Launch) -> None:
        """They go on in the source; in the branch only where that is declared."""
        if not self.branches:
            return
        bottle = launch()
        beat = "while :; do echo >> beats; sleep 0.1; done"
        bottle.sh(f"touch beats; ({beat}) </dev/null >/dev/null 2>&1 &").check()
        assert wait_until(lambda: _size(bottle, "beats") > 0, timeout=10)
        branch = bottle.branch()
        before = _size(bottle, "beats"), _size(branch, "beats")
        assert wait_until(lambda: _size(bottle, "beats") > before[0], timeout=10)
        wait_until(lambda: False, timeout=SILENCE)
        assert (_size(branch, "beats") > before[1]) == self.branches_processes

    def test_commands_of_the_source_do_not_notice(self, launch: Launch) -> None:
        """One that runs meanwhile ends as it would have."""
        if not self.branches:
            return
        bottle = launch()
        with ThreadPoolExecutor(1) as pool:
            script = "touch begun; until [ -e over ]; do sleep 0.05; done; cat; echo $?"
            running = pool.submit(bottle.sh, script, input="input", timeout=60)
            assert wait_until(lambda: bottle.exists("begun"), timeout=10)
            branch = bottle.branch()
            bottle.exec(["touch", "over"]).check()
            assert running.result(30).stdout == "input0\n"
        assert branch.listdir() == ["begun"]

    def test_a_branch_is_of_one_moment(self, launch: Launch) -> None:
        """Also where a process goes on writing to files that are far apart."""
        if not self.branches:
            return
        bottle = launch()
        bottle.sh("mkdir many; cd many; for i in $(seq 2000); do echo $i > $i; done").check()
        write = "while :; do echo >> first; echo >> many/1000; echo >> zlast; done"
        bottle.sh(f"touch zlast; ({write}) </dev/null >/dev/null 2>&1 &").check()
        assert wait_until(lambda: _size(bottle, "zlast") > 0, timeout=20)
        branch = bottle.branch()
        if self.branches_processes:  # It goes on writing there as well.
            branch.sh("kill -9 -1")
        sizes = [_size(branch, name) for name in ("first", "many/1000", "zlast")]
        sizes[1] -= len("1000\n")
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) > 0

    def test_a_branch_has_a_door_of_its_own(self, launch: Launch) -> None:
        """On the port that its source's door is at."""
        if not self.branches:
            return
        bottle = launch()
        listener = bottle.sandbox.listen(PORT)
        branch = bottle.branch()
        with (
            answering(listener, lambda _: b"source") as port,
            answering(branch.sandbox.listen(PORT), lambda _: b"branch") as own_port,
        ):
            assert (own_port == port) == self.own_network
            for asking, number, answer in (
                (bottle, port, b"source"),
                (branch, own_port, b"branch"),
            ):
                told = asking.exec([self.python, "-c", ASK, str(number)], timeout=60).check()
                assert told.stdout_bytes == answer

    def test_a_source_that_is_gone(self, launch: Launch) -> None:
        """Is lost, or closed, as for a command."""
        if not self.branches:
            return
        bottle = launch()
        bottle.sandbox.stop()

        def is_lost() -> bool:  # Its engine may take a moment.
            try:
                bottle.branch().close()
            except SandboxLostError:
                return True
            return False

        assert wait_until(is_lost, timeout=20)
        bottle.close()
        with pytest.raises(BottleClosedError, match=bottle.name):
            bottle.branch()

    def test_golden_bottles_are_alike(self, launch: Launch, tmp_path: Path) -> None:
        """Provisioned as any other, with no trace of each other."""
        if not self.branches:
            return
        given = tmp_path / "given"
        given.mkdir()
        (given / "closed").write_text("x")
        (given / "closed").chmod(0o400)
        wanted = {"files": {"src": given, "file": {"text": "text"}}, "golden": True}
        one = launch(**wanted)
        one.sh("rm -f src/closed; echo changed > file; touch ~/trace").check()
        other = launch(**wanted)
        anew = launch(**{**wanted, "golden": False})
        look = "find . -exec stat -c '%A %U %G %n' {} + | sort; cat file src/closed; ls ~; id -un"
        assert other.sh(look).stdout == anew.sh(look).stdout
        assert not other.diff()
        assert one.diff().deleted == ("src/closed",)
        assert one.plan.branch_of == other.plan.branch_of
        assert other.plan.branch_of not in {None, one.name, other.name}
        assert anew.plan.branch_of is None


def _size(bottle: Bottle, path: str) -> int:
    return int(bottle.sh(f"wc -c < {path}").check().stdout)
