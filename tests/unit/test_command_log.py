"""The record of commands: one line each in the artifact, the last ones in memory, no secrets."""

from __future__ import annotations

import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pytest_bottle.backends.base import ExecResult
from pytest_bottle.command_log import KEPT
from pytest_bottle.command_log import TAIL
from pytest_bottle.command_log import CommandLog
from pytest_bottle.errors import ExecTimeoutError
from pytest_bottle.redaction import redactor

SECRET = "s3cret" * 20


def result(*argv: str, **fields) -> ExecResult:
    values = {"returncode": 0, "stdout_bytes": b"", "stderr_bytes": b"", "duration": 0.5}
    return ExecResult(argv=argv, **{**values, **fields})


@pytest.fixture
def file(tmp_path):
    return tmp_path / "commands.jsonl"


@pytest.fixture
def log(file):
    return CommandLog(redactor(["TOKEN"], {"TOKEN": SECRET}), file)


def lines(file) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_result_is_recorded_in_memory_and_as_a_line(log, file):
    log.result(result("ls", "-l", returncode=2, stdout_bytes=b"out", stderr_bytes=b"err\xff"))
    (record,) = log.records
    assert (record.argv, record.outcome) == (("ls", "-l"), "2")
    assert (record.stdout, record.stderr) == ("out", "err\ufffd")
    assert record.duration == 0.5
    assert record.started == pytest.approx(time.time() - 0.5, abs=5)
    (line,) = lines(file)
    assert line["argv"] == ["ls", "-l"]
    assert (line["outcome"], line["stdout"]) == ("2", "out")


def test_a_problem_is_recorded_with_what_was_written_until_then(log):
    log.problem(["sleep"], 1.0, ExecTimeoutError(["sleep"], timeout=1, stdout=b"begun"))
    (record,) = log.records
    assert record.outcome.startswith("ExecTimeoutError: timed out after 1 s")
    assert record.stdout == "begun"


def test_a_problem_without_output_is_recorded(log):
    log.problem(["ls"], 0.0, FileNotFoundError(2, "No such file or directory", "/missing"))
    assert log.records[0].outcome.endswith("'/missing'")
    assert log.records[0].stdout == ""


def test_each_line_is_there_at_once(log, file):
    """So that it survives the death of this process."""
    for number in range(3):
        log.result(result(str(number)))
        assert [line["argv"] for line in lines(file)] == [[str(n)] for n in range(number + 1)]


def test_the_artifact_is_for_its_owner_and_kept_by_the_next_log(log, file):
    log.result(result("one"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    CommandLog(str, file).result(result("two"))
    assert [line["argv"] for line in lines(file)] == [["one"], ["two"]]


def test_memory_holds_the_last_commands_and_the_artifact_all(log, file):
    for number in range(KEPT + 5):
        log.result(result(str(number)))
    assert log.count == KEPT + 5
    assert len(log.records) == KEPT
    assert log.records[0].argv == ("5",)
    assert len(lines(file)) == KEPT + 5


def test_only_the_end_of_long_output_is_kept(log):
    log.result(result("x", stdout_bytes=b"a" + b"b" * TAIL, stderr_bytes=b"c" * 3))
    assert log.records[0].stdout == "b" * TAIL
    assert log.records[0].stderr == "ccc"


def test_secrets_are_out_of_everything(log, file):
    log.result(result(f"--token={SECRET}", stdout_bytes=SECRET.encode()))
    log.problem([SECRET], 0, ExecTimeoutError([SECRET], timeout=1, stderr=SECRET.encode()))
    assert SECRET not in repr(log.records) + file.read_text()
    assert log.records[0].argv == ("--token=[secret TOKEN]",)
    assert log.records[1].stderr == "[secret TOKEN]"


def test_no_half_of_a_secret_is_left_where_output_is_cut(log):
    """Nor where output shrinks so far by its secrets that more of it is shown."""
    log.result(result("x", stdout_bytes=SECRET.encode() * 140))
    shown = log.records[0].stdout
    assert len(SECRET) * 140 > 4 * TAIL > TAIL > len(shown)
    assert shown == "[secret TOKEN]" * 140


def test_threads_do_not_mix_their_lines(log, file):
    with ThreadPoolExecutor(8) as pool:
        for number in range(100):
            pool.submit(log.result, result(str(number), stdout_bytes=b"x" * 3000))
    assert {line["argv"][0] for line in lines(file)} == {str(number) for number in range(100)}


def test_without_a_file_there_is_only_memory(tmp_path):
    log = CommandLog(str)
    log.result(result("one"))
    assert log.count == 1
    assert list(tmp_path.iterdir()) == []
