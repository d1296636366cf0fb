"""Beside other plugins: a bottle is a fixture like any other."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET

import pytest

TWO = """
    def test_one(bottle): assert bottle.exec(["true"]).success

    def test_two(bottle): assert bottle.listdir() == []
"""

FAILS_ONCE = """
    import os

    def test_it(bottle):
        with open("names", "a") as file:
            file.write(f"{bottle.name}\\n")
        assert bottle.listdir() == []
        bottle.write_file("mark", "")
        if not os.path.exists("failed"):
            open("failed", "w").close()
            bottle.sh("echo of-the-first-attempt")
            assert False
"""


@pytest.mark.parametrize("scope", ["function", "session"])
def test_randomly(pytester, run, scope):
    """The order does not matter."""
    pytester.makepyfile(TWO)
    run("-p", "randomly", f"--bottle-scope={scope}").assert_outcomes(passed=2)


def test_rerunfailures_gets_a_fresh_bottle(pytester, run):
    """Each attempt is a testcase of its own in JUnit; the good one's has nothing of the other's."""
    pytester.makepyfile(FAILS_ONCE)
    result = run("-p", "rerunfailures", "--reruns=1", "--junit-xml=junit.xml")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*= 1 passed, 1 rerun in *"])
    assert len(set((pytester.path / "names").read_text().split())) == 2
    failed, passed = ET.parse(pytester.path / "junit.xml").iter("testcase")
    assert b"of-the-first-attempt" in ET.tostring(failed)
    assert list(passed) == []


def test_rerunfailures_under_xdist(pytester, run):
    """In a worker too."""
    pytester.makepyfile(FAILS_ONCE)
    result = run("-p", "rerunfailures", "--reruns=1", "-n2")
    result.stdout.fnmatch_lines(["*= 1 passed, 1 rerun in *"])


def test_rerun_that_passes_keeps_no_bottle(pytester, run):
    """Only the failed attempt's is kept."""
    pytester.makepyfile(FAILS_ONCE)
    result = run("-p", "rerunfailures", "--reruns=1", "--bottle-keep=failed")
    kept = [line for line in result.outlines if line.startswith("bottle: kept: bottle-")]
    first, _ = (pytester.path / "names").read_text().split()
    assert [first in line for line in kept] == [True]
    pytester.run(sys.executable, "-m", "pytest_bottle", "reap", "--kept")


def test_repeat(pytester, run):
    """Every repetition has its own bottle."""
    pytester.makepyfile(TWO)
    run("-p", "repeat", "--count=2").assert_outcomes(passed=4)


def test_repeat_of_a_matrix(pytester, run, fake_backend):
    """Both parametrize."""
    fake_backend()
    pytester.makepyfile(TWO)
    result = run("-p", "repeat", "--count=2", "--bottle-backend=bubblewrap,fake")
    result.assert_outcomes(passed=8)


def test_cov(pytester, run):
    """What a test runs on the host is measured; what runs in the bottle is not disturbed."""
    pytester.makepyfile(
        code="def used():\n    return 1\n",
        test_it="""
        import code_under_test

        def test_it(bottle):
            assert code_under_test.used() == 1
            assert "COV" not in bottle.sh("env").stdout
        """,
    )
    (pytester.path / "code.py").rename(pytester.path / "code_under_test.py")
    result = run("-p", "pytest_cov", "--cov=code_under_test", "--cov-report=term")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["code_under_test.py * 100%"])


def test_asyncio(pytester, run):
    """An async test and an async fixture use bottles, several at once if they like."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def box(bottle_factory):
            box = bottle_factory()
            yield box
            assert not box.closed

        @pytest.mark.asyncio
        async def test_it(bottle, box):
            results = await asyncio.gather(
                *(asyncio.to_thread(one.sh, "sleep 0.1; echo $$") for one in (bottle, box, bottle))
            )
            assert all(result.success for result in results)
        """
    )
    run("-p", "asyncio").assert_outcomes(passed=1)


def test_html(pytester, run):
    """A failed test's bottle is in the report of pytest-html as well."""
    pytester.makepyfile("def test_it(bottle): assert bottle.sh('echo in-html').stdout == ''")
    result = run(
        *("-p", "metadata", "-p", "html", "-p", "html_fixtures"),
        *("--html=report.html", "--self-contained-html"),
    )
    result.assert_outcomes(failed=1)
    assert "in-html" in (pytester.path / "report.html").read_text()


def test_timeout(pytester, run):
    """A limit that is not reached is not felt."""
    pytester.makepyfile(TWO)
    run("-p", "timeout", "--timeout=30").assert_outcomes(passed=2)


def test_all_together(pytester, run):
    """As in a project that has them all."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(TWO)
    names = ("randomly", "rerunfailures", "timeout", "repeat", "pytest_cov", "asyncio")
    others = ("metadata", "html", "html_fixtures")
    result = run(
        *(word for name in (*names, *others) for word in ("-p", name)),
        *("-n2", "--reruns=1", "--count=2", "--timeout=60", "--html=report.html", "--cov"),
    )
    result.assert_outcomes(passed=4)
