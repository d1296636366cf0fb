"""Records: in order, whole, without what is to be hidden, and never lost for want of room."""

from __future__ import annotations

import base64
import json
import resource
import signal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pytest_bottle.gateway.records import PAGE
from pytest_bottle.gateway.records import RecordLog

SECRET = 'k9/Vq7+"Lw2\\ümlaut'


def lines(path: Path) -> list[Any]:
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evidence" / "bottle-1.egress.jsonl"


@pytest.fixture
def open_log(path):
    """Open a log, on the same file each time, that is closed at the end."""
    opened: list[RecordLog] = []

    def open_log(hidden=None, at=path):
        opened.append(RecordLog(at, hidden or {}))
        return opened[-1]

    yield open_log
    for log in opened:
        log.close()


@pytest.fixture
def bounded():
    """Let files of this process have no more than so many bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def bound(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield bound
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


class TestPages:
    def test_records_are_numbered_and_read_from_a_number_on(self):
        log = RecordLog(None, {})
        assert [log.add({"n": number}) for number in range(3)] == [0, 1, 2]
        assert len(log) == 3
        assert log.page(0) == ([{"n": 0}, {"n": 1}, {"n": 2}], False)
        assert log.page(2) == ([{"n": 2}], False)
        assert log.page(3) == ([], False)

    def test_many_come_in_pages(self):
        log = RecordLog(None, {})
        for number in range(2 * PAGE + 1):
            log.add({"n": number})
        sizes, since = [], 0
        while True:
            page, more = log.page(since)
            assert page[0] == {"n": since}
            sizes.append(len(page))
            since += len(page)
            if not more:
                break
        assert sizes == [PAGE, PAGE, 1]

    def test_what_was_added_is_not_what_its_author_changes_later(self):
        log, record = RecordLog(None, {}), {"hosts": ["a"]}
        log.add(record)
        record["hosts"].append("b")
        assert log.page(0)[0] == [{"hosts": ["a"]}]

    def test_they_stay_when_it_is_closed(self, path):
        log = RecordLog(path, {})
        log.add({"n": 0})
        log.close()
        log.close()
        assert log.page(0) == ([{"n": 0}], False)


class TestFiles:
    def test_each_is_a_line_at_once(self, path, open_log):
        log = open_log()
        log.add({"text": "two\nlines"})
        assert lines(path) == [{"text": "two\nlines"}]
        log.add({"text": "ü"})
        assert lines(path)[1:] == [{"text": "ü"}]
        assert log.problems == []

    def test_a_full_disk_is_told_and_loses_nothing_that_a_test_could_see(self, open_log):
        log = open_log(at=Path("/dev/full"))
        log.add({"n": 0})
        log.add({"n": 1})
        assert log.page(0)[0] == [{"n": 0}, {"n": 1}]
        (problem,) = log.problems
        assert "records could not be written down" in problem
        assert "No space left on device" in problem
        log.close()

    def test_so_is_a_directory_that_cannot_be_made(self, tmp_path, open_log):
        (tmp_path / "file").touch()
        log = open_log(at=tmp_path / "file" / "bottle-1.git.jsonl")
        log.add({"n": 0})
        assert log.page(0) == ([{"n": 0}], False)
        assert "File exists" in log.problems[0]

    def test_no_line_is_cut_and_what_did_not_fit_follows_when_there_is_room(
        self, path, open_log, bounded
    ):
        log = open_log()
        log.add({"n": 0})
        bounded(path.stat().st_size + 5)
        log.add({"n": 1})
        log.add({"n": 2})
        assert log.problems
        assert lines(path) == [{"n": 0}]
        bounded(10_000)
        log.add({"n": 3})
        assert lines(path) == [{"n": number} for number in range(4)]
        assert log.problems == []

    def test_what_did_not_fit_is_tried_again_at_the_end(self, path, open_log, bounded):
        log = open_log()
        bounded(0)
        log.add({"n": 0})
        assert log.problems
        bounded(10_000)
        log.close()
        assert lines(path) == [{"n": 0}]
        assert log.problems == []

    def test_a_bottle_of_the_same_name_adds_to_the_file(self, path, open_log):
        """A door that was replaced finds the records of the one before it."""
        for number in range(2):
            log = open_log()
            log.add({"n": number})
            log.close()
        assert lines(path) == [{"n": 0}, {"n": 1}]


class TestHiddenValues:
    @pytest.mark.parametrize(
        "form",
        [
            pytest.param(lambda value: value, id="plain"),
            pytest.param(lambda value: base64.b64encode(value.encode()).decode(), id="base64"),
            pytest.param(lambda value: value.encode().hex(), id="hex"),
            pytest.param(lambda value: quote(value, safe=""), id="in a URL"),
            pytest.param(lambda value: json.dumps(value)[1:-1], id="in JSON"),
        ],
    )
    def test_they_are_blotted_out_in_memory_and_in_the_file(self, path, open_log, form):
        log = open_log({"API_KEY": SECRET})
        shown = form(SECRET)
        log.add({"path": f"/?key={shown}", "headers": [{shown: "x"}]})
        (record,), _ = log.page(0)
        for text in (json.dumps(record, ensure_ascii=False), path.read_text()):
            assert shown not in text
            assert json.dumps(shown)[1:-1] not in text
        assert record["path"].startswith("/?key=")

    def test_nothing_else_is(self, path, open_log):
        log = open_log({"API_KEY": SECRET, "EMPTY": ""})
        log.add({"path": "/v1/models"})
        assert log.page(0)[0] == lines(path) == [{"path": "/v1/models"}]

    def test_nor_do_they_come_back_when_a_record_is_written_later(self, path, open_log, bounded):
        log = open_log({"API_KEY": SECRET})
        bounded(0)
        log.add({"text": SECRET})
        bounded(10_000)
        log.add({"text": "next"})
        assert len(lines(path)) == 2
        assert SECRET not in json.dumps(lines(path), ensure_ascii=False)
