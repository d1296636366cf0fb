"""Whatever ends a run or a test, its bottles end too."""

from __future__ import annotations

import signal
import time

import pytest

# That nothing stays is proven after every test of this directory, by the fixture `state`.


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.parametrize("where", ["test", "fixture", "run-scoped bottle"])
def test_interrupt_tears_down(pytester, start, state, workers, where):
    """Ctrl-C, in the middle of a command in the guest."""
    pytester.makepyfile(
        f"""
        import pathlib
        import pytest

        @pytest.fixture
        def slow(bottle):
            if {where!r} == "fixture":
                pathlib.Path("arrived").touch()
                bottle.sh("sleep 60")
            return bottle

        @pytest.mark.bottle(scope={"run" if where.startswith("run") else "function"!r})
        def test_it(slow):
            pathlib.Path("arrived").touch()
            slow.sh("sleep 60")
        """
    )
    process = start(workers)
    arrived = pytester.path / "arrived"
    while not arrived.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    assert state.remains()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=15)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "KeyboardInterrupt" in output
    assert "INTERNALERROR" not in output


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_timeout_plugin_tears_down(pytester, run, method):
    """One method raises in the test, the other ends the process at once."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.timeout(1)
        def test_it(bottle): bottle.sh("sleep 60")
        """
    )
    result = run("-p", "timeout", f"--timeout-method={method}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "Timeout" in result.stdout.str() + result.stderr.str()
    assert result.duration < 15


@pytest.mark.parametrize(
    "body",
    [
        "raise RuntimeError('crash')",
        "raise SystemExit(3)",
        "import pytest; pytest.exit('enough')",
        "import pytest; pytest.skip('not today')",
        "raise KeyboardInterrupt",
        "import os; os._exit(7)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM); import time; time.sleep(9)",
    ],
)
@pytest.mark.parametrize("place", ["test", "fixture", "session fixture", "teardown"])
def test_crash_tears_down(pytester, run, body, place):
    """In a test, in a fixture that has a bottle, in its teardown: nothing may stay."""
    if body.startswith("import os") and place not in {"test", "session fixture"}:
        pytest.skip("where a process dies makes no difference to the watchdog")
    pytester.makepyfile(
        f"""
        import pytest

        def crash(here):
            if here == {place!r}:
                {body}

        @pytest.fixture(scope="session")
        def box(bottle_factory):
            box = bottle_factory()
            crash("session fixture")
            return box

        @pytest.fixture
        def both(bottle, box):
            crash("fixture")
            yield bottle
            crash("teardown")

        def test_it(both):
            crash("test")
        """
    )
    result = run()
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_failing_provisioner_leaves_nothing(pytester, run):
    """The sandbox stood already when it failed."""
    pytester.makefile(".toml", bottle='[bottles.default.files]\n"/proc/no" = { text = "x" }\n')
    pytester.makepyfile("def test_it(bottle): pass")
    run().stdout.fnmatch_lines(["*LaunchError: provisioning * failed *", "*= 1 infra error in *"])


def test_skill_that_vanished_leaves_nothing(pytester, run):
    """Between the check and the copy."""
    pytester.makefile(
        ".toml", bottle='[agents.a]\nkind = "command"\nargs = ["true"]\nskills = ["audit"]\n'
    )
    pytester.mkdir("skills").joinpath("audit").mkdir()
    pytester.makeconftest(
        """
        import shutil

        def vanish(plan, paths):
            shutil.rmtree(plan.agent.skills[0].source)
            return []

        from pytest_bottle.provision import order

        order.PROVISIONERS = (vanish, *order.PROVISIONERS)
        from pytest_bottle.lifecycle import extensions

        extensions.Extensions.__dataclass_fields__["provisioners"].default = order.PROVISIONERS
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(agent="a")
        def test_it(bottle): pass
        """
    )
    run().assert_outcomes(errors=1)


def test_what_resists_fails_the_run_and_is_named(pytester, run, fake_backend):
    """A leak must not be green."""
    fake_backend(fail_stop=3)
    pytester.makepyfile("def test_it(bottle): pass")
    result = run("--bottle-backend=fake", "--bottle-scope=session")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*TeardownError: something of * remains: *"])
