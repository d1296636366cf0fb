"""Checks of many commands at once in one bottle."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pytest_bottle.testing.conformance.subject import Subject

if TYPE_CHECKING:
    from pytest_bottle.bottle import Bottle

THREADS = 16


class ConcurrencyChecks(Subject):
    """The handle's methods may be called from several threads."""

    def test_commands_run_at_the_same_time(self, subject: Bottle, place: str) -> None:
        """Each waits until all others have started."""
        script = f"touch $0; while [ $(ls | wc -l) -lt {THREADS} ]; do sleep 0.1; done; echo met"
        with ThreadPoolExecutor(THREADS) as pool:
            results = pool.map(
                lambda number: subject.exec(
                    ["sh", "-c", script, f"arrived-{number}"], cwd=place, timeout=45
                ),
                range(THREADS),
            )
            assert [result.stdout for result in results] == ["met\n"] * THREADS

    def test_outputs_do_not_mix(self, subject: Bottle) -> None:
        """Nor inputs, nor exit codes."""

        def echo(number: int) -> tuple[bytes, str, int]:
            script = f"cat; echo err-{number} >&2; exit {number}"
            result = subject.sh(script, input=f"{number} ".encode() * 50_000)
            return result.stdout_bytes, result.stderr, result.returncode

        with ThreadPoolExecutor(THREADS) as pool:
            for number, outcome in enumerate(pool.map(echo, range(THREADS))):
                expected = f"{number} ".encode() * 50_000
                assert outcome == (expected, f"err-{number}\n", number)

    def test_files_do_not_mix(self, subject: Bottle, place: str) -> None:
        """Each thread writes and reads its own."""

        def write_and_read(number: int) -> bytes:
            subject.write_file(f"{place}/{number}/file", bytes([number]) * 200_000)
            return subject.read_file(f"{place}/{number}/file", text=False)

        with ThreadPoolExecutor(THREADS) as pool:
            for number, data in enumerate(pool.map(write_and_read, range(THREADS))):
                assert data == bytes([number]) * 200_000

    def test_long_scripts_do_not_mix(self, subject: Bottle) -> None:
        """However they reach the shell."""
        padding = "# padding\n" * 30_000

        def run(number: int) -> str:
            return subject.sh(f"{padding}echo {number}").stdout

        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(run, range(THREADS))) == [f"{n}\n" for n in range(THREADS)]
