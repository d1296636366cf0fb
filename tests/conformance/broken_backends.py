"""Backends that each break one promise, and the checks that have to notice.

A plugin that adds them, and a module of tests that runs the suite on each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_bottle.backends.base import ExecRequest
from pytest_bottle.backends.base import ExecResult
from pytest_bottle.errors import ExecTimeoutError
from pytest_bottle.testing import BottleConformance
from pytest_bottle.testing import FakeBackend

Exec = Callable[[ExecRequest], ExecResult]


def merges_the_streams(run: Exec, request: ExecRequest) -> ExecResult:
    result = run(request)
    both = result.stdout_bytes + result.stderr_bytes
    return dataclasses.replace(result, stdout_bytes=both, stderr_bytes=b"")


def translates_line_ends(run: Exec, request: ExecRequest) -> ExecResult:
    result = run(request)
    return dataclasses.replace(result, stdout_bytes=result.stdout_bytes.replace(b"\r\n", b"\n"))


def loses_the_end_of_output(run: Exec, request: ExecRequest) -> ExecResult:
    result = run(request)
    return dataclasses.replace(result, stdout_bytes=result.stdout_bytes[:65536])


def loses_a_bit_of_the_exit_code(run: Exec, request: ExecRequest) -> ExecResult:
    result = run(request)
    return dataclasses.replace(result, returncode=result.returncode & 0x7F)


def drops_input(run: Exec, request: ExecRequest) -> ExecResult:
    if request.argv[0] == "sh":  # Provisioning, without which there is no bottle to check.
        return run(request)
    return run(dataclasses.replace(request, input=None))


def has_a_shell_read_the_arguments(run: Exec, request: ExecRequest) -> ExecResult:
    return run(dataclasses.replace(request, argv=("sh", "-c", " ".join(request.argv))))


def passes_the_hosts_environment_on(run: Exec, request: ExecRequest) -> ExecResult:
    return run(dataclasses.replace(request, env={**os.environ, **request.env}))


def ignores_the_user(run: Exec, request: ExecRequest) -> ExecResult:
    return run(dataclasses.replace(request, user=None))


def ignores_a_missing_directory(run: Exec, request: ExecRequest) -> ExecResult:
    try:
        return run(request)
    except OSError:
        return run(dataclasses.replace(request, cwd=None))


def has_no_output_limit(run: Exec, request: ExecRequest) -> ExecResult:
    return run(dataclasses.replace(request, output_limit=request.output_limit * 3))


def hides_that_it_truncates(run: Exec, request: ExecRequest) -> ExecResult:
    result = run(request)
    return dataclasses.replace(result, stdout_truncated=False)


def is_late(run: Exec, request: ExecRequest) -> ExecResult:
    try:
        return run(request)
    except ExecTimeoutError:
        time.sleep(2)
        raise


def only_says_that_it_kills(run: Exec, request: ExecRequest) -> ExecResult:
    done: list[ExecResult] = []

    def wait() -> None:
        with contextlib.suppress(Exception):
            done.append(run(dataclasses.replace(request, timeout=20)))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(request.timeout)
    if not done:
        raise ExecTimeoutError(request.argv, timeout=request.timeout)
    return done[0]


def loses_what_was_written_before_a_timeout(run: Exec, request: ExecRequest) -> ExecResult:
    try:
        return run(request)
    except ExecTimeoutError as problem:
        raise ExecTimeoutError(problem.argv, timeout=problem.timeout) from None


one_at_a_time = threading.Lock()


def takes_one_command_at_a_time(run: Exec, request: ExecRequest) -> ExecResult:
    with one_at_a_time:
        return run(dataclasses.replace(request, timeout=min(request.timeout, 0.5)))


def waits_for_background_processes(run: Exec, request: ExecRequest) -> ExecResult:
    """As whatever reads a command's output to its end does."""
    argv = ("sh", "-c", '"$@" | cat', "sh", *request.argv)
    return run(dataclasses.replace(request, argv=argv, timeout=min(request.timeout, 6)))


def as_promised(run: Exec, request: ExecRequest) -> ExecResult:
    return run(request)


def shares_files_among_branches(branch: Path, source: Path) -> None:
    """As where all of them write to the one copy that was made of their source."""
    common = source / "of-all-branches"
    if not common.exists():
        shutil.copytree(branch / "workspace", common, symlinks=True)
    shutil.rmtree(branch / "workspace")
    (branch / "workspace").symlink_to(common)


def writes_through_to_the_source(branch: Path, source: Path) -> None:
    shutil.rmtree(branch / "workspace")
    (branch / "workspace").symlink_to(source / "workspace")


@dataclass(frozen=True)
class Breakage:
    wrong: Callable[[Exec, ExecRequest], ExecResult]
    checks: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.wrong.__name__

    def spoil(self, branch: Path, source: Path) -> None:
        """Do nothing to branches."""


@dataclass(frozen=True)
class BranchBreakage(Breakage):
    spoiled: Callable[[Path, Path], None]

    @property
    def name(self) -> str:
        return self.spoiled.__name__

    def spoil(self, branch: Path, source: Path) -> None:
        """Do what is wrong to a branch's directory."""
        self.spoiled(branch, source)


BREAKAGES = {
    breakage.name: breakage
    for breakage in (
        Breakage(merges_the_streams, ("test_stdout_and_stderr_come_apart",)),
        Breakage(
            translates_line_ends,
            (
                "test_text_comes_back_as_it_was_written[carriage-returns]",
                "test_text_arrives[unicode]",
            ),
        ),
        Breakage(
            loses_the_end_of_output,
            (
                "test_much_output_on_both_streams",
                "test_a_mebibyte_of_arguments_arrives",
                "test_fifty_mebibytes_come_back",
                "test_a_large_input_arrives_and_comes_back",
                "test_the_last_output_of_a_child_is_not_lost",
            ),
        ),
        Breakage(
            loses_a_bit_of_the_exit_code,
            ("test_every_exit_code_arrives", "test_death_by_a_signal_is_a_result"),
        ),
        Breakage(drops_input, ("test_text_arrives", "test_every_byte_arrives")),
        Breakage(has_a_shell_read_the_arguments, ("test_no_shell_reads_the_arguments",)),
        Breakage(
            passes_the_hosts_environment_on,
            ("test_the_hosts_variables_are_not_there", "test_the_usual_variables_are_there"),
        ),
        Breakage(ignores_the_user, ("test_another_user", "test_a_user_that_is_not_there")),
        Breakage(ignores_a_missing_directory, ("test_a_directory_that_is_not_there",)),
        Breakage(has_no_output_limit, ("test_the_default_limit", "test_reading_up_to_the_limit")),
        Breakage(hides_that_it_truncates, ("test_truncated_output_is_told",)),
        Breakage(is_late, ("test_it_is_raised_on_time", "test_unread_input_does_not_delay_it")),
        Breakage(
            only_says_that_it_kills,
            (
                "test_the_command_is_killed",
                "test_what_it_started_is_killed",
                "test_many_children_are_killed_on_time",
            ),
        ),
        Breakage(
            loses_what_was_written_before_a_timeout, ("test_what_it_wrote_until_then_is_kept",)
        ),
        Breakage(takes_one_command_at_a_time, ("test_commands_run_at_the_same_time",)),
        Breakage(
            waits_for_background_processes,
            ("test_a_background_process_does_not_hold_its_command",),
        ),
        BranchBreakage(
            as_promised,
            ("test_what_one_changes_the_others_do_not_see", "test_golden_bottles_are_alike"),
            shares_files_among_branches,
        ),
        BranchBreakage(
            as_promised,
            ("test_what_one_changes_the_others_do_not_see", "test_branches_have_branches"),
            writes_through_to_the_source,
        ),
    )
}


class BrokenBackend(FakeBackend):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def launch(self, plan):
        sandbox = super().launch(plan)
        run = sandbox.exec
        wrong = BREAKAGES[self.name].wrong
        sandbox.exec = lambda request: wrong(run, request)  # type: ignore[method-assign]
        return sandbox

    def branch(self, plan, reference):
        sandbox = super().branch(plan, reference)
        directories = (sandbox.reference()["directory"], reference["directory"])
        BREAKAGES[self.name].spoil(*map(Path, directories))
        return sandbox


def pytest_bottle_backends():
    return [BrokenBackend(name) for name in BREAKAGES]


def suite(name: str) -> type[BottleConformance]:
    flags = {
        "backend": name,
        "private_files": False,
        "private_processes": False,
        "own_network": False,
        "permissions_apply": os.geteuid() != 0,
    }
    return type(f"Test_{name}", (BottleConformance,), flags)


globals().update({f"Test_{name}": suite(name) for name in BREAKAGES})
