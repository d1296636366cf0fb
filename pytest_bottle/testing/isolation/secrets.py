"""Attempts to find what the host, its environment or another bottle knows."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bottle.testing.conformance.subject import HOST_CANARY
from pytest_bottle.testing.isolation.walled import WalledSubject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_bottle.bottle import Bottle
    from pytest_bottle.testing.conformance.subject import Launch

ENVIRONMENTS = """\
for file in /proc/self/environ /proc/[0-9]*/environ; do
    tr '\\000' '\\n' < "$file" 2> /dev/null
done | grep -F -f patterns
"""


def host_places(subject: Bottle, tmp_path: Path) -> dict[str, Path]:
    """Return directories of the host that a test can write to, and no guest may see."""
    return {
        "home": Path.home(),
        "temporary": tmp_path,
        "state": subject.plan.state_dir,
        "memory": Path("/dev/shm"),  # noqa: S108 -- a place to hide a canary in
        "current": Path.cwd(),
    }


class SecretChecks(WalledSubject):
    """Neither files nor variables of the host are to be found, nor another bottle's."""

    @pytest.fixture(params=["home", "temporary", "state", "memory", "current"])
    def planted(
        self, request: pytest.FixtureRequest, subject: Bottle, tmp_path: Path, canary: str
    ) -> Iterator[Path]:
        """Make a file on the host that all may read, so that only the wall hides it."""
        path = host_places(subject, tmp_path)[request.param] / canary
        path.write_text(canary)
        path.chmod(0o644)
        yield path
        path.unlink()

    def test_a_file_of_the_host_is_not_found(self, subject: Bottle, planted: Path) -> None:
        """Not by its path, not by its name; one of the guest's own is, wherever it shows."""
        own = f"{subject.home}/{planted.name}"
        subject.write_file(own, "own")
        assert planted.read_text() == planted.name
        found = subject.exec(
            ["find", "/", "-name", planted.name], timeout=60 * self.patience
        ).stdout.split()
        assert own in found
        assert {subject.read_file(path) for path in found} == {"own"}
        if str(planted) != own:
            assert not subject.exists(str(planted))
        subject.exec(["rm", own]).check()

    def test_the_hosts_environment_is_not_found(
        self, subject: Bottle, place: str, canary: str
    ) -> None:
        """In no process that the guest can look at; a variable of its own is."""
        subject.write_file(f"{place}/patterns", f"{HOST_CANARY}=\nPYTEST_CURRENT_TEST=\nOWN=\n")
        os.environ["BOTTLE_ISOLATION_NOW"] = canary
        try:
            found = subject.sh(ENVIRONMENTS, cwd=place, env={"OWN": "x"}).stdout.split()
        finally:
            del os.environ["BOTTLE_ISOLATION_NOW"]
        assert set(found) == {"OWN=x"}

    def test_another_bottles_files_are_not_found(self, launch: Launch, canary: str) -> None:
        """In no place that both can write to."""
        one, other = launch(), launch()
        for directory in (one.workdir, one.home, "/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108
            one.sh(f"echo x > {directory}/{canary}")
        assert one.sh(f"find / -name {canary} 2> /dev/null").stdout.count(canary) > 1
        assert canary not in other.sh(f"find / -name {canary} 2> /dev/null").stdout

    def test_nothing_of_the_run_is_told_by_the_first_process(self, subject: Bottle) -> None:
        """Its command line names no directory of the host's."""
        shown = subject.sh("tr '\\000' ' ' < /proc/1/cmdline").stdout
        assert shown.strip()
        for path in (Path.home(), subject.plan.state_dir, Path(__file__).parent):
            if path != Path("/"):
                assert str(path) not in shown
