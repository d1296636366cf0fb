"""Infra errors: the sandbox or its engine failed, which says nothing about the test."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

LOST = """
    import os
    import signal

    import pytest
    from pytest_bottle.state.owner import Owner

    def lose(bottle):
        os.kill(Owner.decode(bottle.sandbox.reference()["keeper"]["owner"]).pid, signal.SIGKILL)
        bottle.exec(["true"])
"""

LOST_ONCE = """
        if not os.path.exists("lost"):
            open("lost", "w").close()
            lose(bottle)
"""


def test_lost_sandbox_is_an_outcome_of_its_own(pytester, run):
    """A letter, a count, a section, and exit status 1; the other tests are not touched."""
    pytester.makepyfile(
        LOST
        + """
    def test_lost(bottle):
        bottle.sh("echo before")
        lose(bottle)

    def test_good(bottle): pass

    def test_bad(bottle): assert False
    """
    )
    result = run("--bottle-backend=bubblewrap", "--junit-xml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "test_*.py I.F*",
            "*= FAILURES =*",
            "*_ test_bad _*",
            "*= INFRA ERRORS =*",
            "*_ test_*.py::test_lost (call) _*",
            "E *SandboxLostError: *bubblewrap sandbox ended: *",
            "*- bottle bottle-*-main-1 -*",
            "    out: before",
            "  [[]SandboxLostError: *[]] true (* s)",
            "workspace: gone with the bottle",
            "These tests say nothing about the agent: *",
            "*= 1 failed, 1 passed, 1 infra error in *",
        ]
    )
    marked = {
        case.get("name"): [entry.get("value") for entry in case.iter("property")]
        for case in ET.parse("junit.xml").iter("testcase")
        if case.find("*/property[@name='bottle.outcome']") is not None
    }
    assert list(marked) == ["test_lost"]
    assert "infra error" in marked["test_lost"]


def test_launch_that_fails_is_one_too(pytester, run, fake_backend):
    """Seen in verbose output and from a worker as well."""
    fake_backend(fail_launch=1)
    pytester.makepyfile("def test_it(bottle): pass")
    result = run("--bottle-backend=fake", "-v", "-n1")
    result.stdout.fnmatch_lines(
        ["*INFRA ERROR*test_it*", "*_ test_*.py::test_it (setup) _*", "*this launch was to fail*"]
    )
    result.stdout.fnmatch_lines(["*= 1 infra error in *"])


def test_teardown_that_fails_is_one_too(pytester, run, fake_backend):
    """The test itself has passed."""
    fake_backend(fail_stop=2)  # The first is the probe's.
    pytester.makepyfile("def test_it(bottle): pass")
    result = run("--bottle-backend=fake")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*_ test_*.py::test_it (teardown) _*", "*TeardownError: *", "*= 1 passed, 1 infra error *"]
    )


def test_own_exception_raised_from_an_infra_error_is_one_too(pytester, run):
    """Authors wrap errors; the reason stays what it was."""
    pytester.makepyfile(
        LOST
        + """
    def test_it(bottle):
        try:
            lose(bottle)
        except Exception as problem:
            raise RuntimeError("the agent did not answer") from problem
    """
    )
    run().stdout.fnmatch_lines(["*= 1 infra error in *"])


def test_failure_beside_an_infra_error_is_a_failure(pytester, run):
    """In a group of both, the failure must not be hidden."""
    pytester.makepyfile(
        """
        from pytest_bottle.errors import SandboxLostError

        def test_both():
            raise ExceptionGroup("two", [SandboxLostError("gone"), AssertionError("wrong")])

        def test_only():
            raise ExceptionGroup("two", [SandboxLostError("gone"), SandboxLostError("too")])
        """
    )
    run().stdout.fnmatch_lines(["*= 1 failed, 1 infra error in *"])


def test_expected_failure_is_not_an_excuse(pytester, run):
    """`xfail` expects the test to fail, not its sandbox."""
    pytester.makepyfile(
        LOST
        + """
    @pytest.mark.xfail
    def test_lost(bottle): lose(bottle)

    @pytest.mark.xfail
    def test_bad(bottle): assert False
    """
    )
    run().stdout.fnmatch_lines(["*= 1 xfailed, 1 infra error in *"])


def test_infra_error_that_the_test_expects_is_none(pytester, run):
    """A test of robustness may break its sandbox."""
    pytester.makepyfile(
        LOST
        + """
    def test_it(bottle):
        with pytest.raises(Exception, match="sandbox ended"):
            lose(bottle)
        assert bottle.lost
    """
    )
    run().assert_outcomes(passed=1)


def test_retry_runs_the_test_on_a_fresh_bottle(pytester, run):
    """The count says so, the run is green, and JUnit has one testcase, which passed."""
    pytester.makepyfile(LOST + "    def test_it(bottle):" + LOST_ONCE)
    result = run("--bottle-infra-retries=1", "--junit-xml=junit.xml")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "test_*.py i.*",
            "*= INFRA ERRORS =*",
            "run again: test_*.py::test_it (call): *SandboxLostError*",
            "*= 1 passed, 1 infra retry in *",
        ]
    )
    (case,) = ET.parse("junit.xml").iter("testcase")
    assert list(case) == []


def test_retry_under_xdist(pytester, run):
    """The outcome travels from the worker."""
    pytester.makepyfile(LOST + "    def test_it(bottle):" + LOST_ONCE)
    result = run("--bottle-infra-retries=1", "-n1")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["run again: *", "*= 1 passed, 1 infra retry in *"])


def test_retries_are_bounded(pytester, run, fake_backend):
    """After the last one, the infra error is the outcome."""
    fake_backend(fail_launch=9)
    pytester.makepyfile("def test_it(bottle): pass")
    result = run("--bottle-infra-retries=2", "--bottle-backend=fake")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["test_*.py iiI*", "*= 2 infra retry, 1 infra error in *"])


def test_failure_is_not_run_again(pytester, run):
    """Retries are for infra errors only."""
    pytester.makepyfile("def test_it(bottle): assert False")
    run("--bottle-infra-retries=3").assert_outcomes(failed=1)


@pytest.mark.parametrize("scope", ["module", "session", "run"])
def test_retry_replaces_a_shared_bottle(pytester, run, scope):
    """The next attempt does not get the lost one."""
    pytester.makepyfile(LOST + "    def test_it(bottle):" + LOST_ONCE)
    result = run("--bottle-infra-retries=1", f"--bottle-scope={scope}")
    result.stdout.fnmatch_lines(["*= 1 passed, 1 infra retry in *"])


def test_retry_renews_wide_fixtures_with_a_lost_bottle(pytester, run):
    """And those that depend on them; others stay as they are."""
    pytester.makepyfile(
        LOST
        + """
    made = []

    @pytest.fixture(scope="module")
    def other():
        made.append("other")

    @pytest.fixture(scope="session")
    def box(bottle_factory):
        made.append("box")
        return bottle_factory()

    @pytest.fixture(scope="module")
    def server(box):
        made.append("server")
        return box

    def test_it(server, other):
        if made.count("box") == 1:
            lose(server)
        assert sorted(made) == ["box", "box", "other", "server", "server"]

    def test_next(server): pass
    """
    )
    run("--bottle-infra-retries=1").stdout.fnmatch_lines(["*= 2 passed, 1 infra retry in *"])


def test_retry_renews_a_wide_fixture_that_failed(pytester, run, fake_backend):
    """Pytest would give the next attempt the same exception again."""
    fake_backend(fail_launch=1)
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def box(bottle_factory):
            return bottle_factory()

        def test_it(box):
            assert box.exec(["true"]).success
        """
    )
    result = run("--bottle-infra-retries=1", "--bottle-backend=fake")
    result.stdout.fnmatch_lines(["*= 1 passed, 1 infra retry in *"])
