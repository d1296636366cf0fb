"""Whatever ends a run or a test, its bottles end too."""

from __future__ import annotations

import signal
import time

import pytest

# That nothing stays is proven after every test of this directory, by the fixture `state`.


@pytest.mark.parametrize(
    ("workers", "where"),
    [("-n0", "test"), ("-n0", "fixture"), ("-n0", "run-scoped bottle"), ("-n2", "test")],
)
def test_interrupt_tears_down(pytester, start, state, workers, where):
    """Ctrl-C, in the middle of a command in the guest."""
    # Under xdist, the controller waits for workers that are busy.
    command = "sleep 60" if workers == "-n0" else "sleep 2"
    pytester.makepyfile(
        f"""
        import pathlib
        import pytest

        @pytest.fixture
        def slow(bottle):
            if {where!r} == "fixture":
                pathlib.Path("arrived").touch()
                bottle.sh({command!r})
            return bottle

        @pytest.mark.bottle(scope={"run" if where.startswith("run") else "function"!r})
        def test_it(slow):
            pathlib.Path("arrived").touch()
            slow.sh({command!r})
        """
    )
    process = start(workers)
    arrived = pytester.path / "arrived"
    while not arrived.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    assert state.remains()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=40)
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


def test_crash_of_any_kind_tears_down(pytester, run):
    """In a test, in a fixture that has a bottle, at its end: the next test finds it closed."""
    pytester.makepyfile(
        """
        import pytest

        PROBLEMS = [RuntimeError("crash"), pytest.skip.Exception("not today")]
        made = []

        @pytest.fixture
        def box(bottle_factory, request):
            made.append(bottle_factory())
            if getattr(request, "param", None):
                raise request.param

        @pytest.fixture
        def late(bottle, request):
            made.append(bottle)
            yield
            raise request.param

        @pytest.mark.parametrize("problem", [*PROBLEMS, SystemExit(3)])
        def test_in_test(bottle, problem):
            made.append(bottle)
            raise problem

        @pytest.mark.parametrize("box", PROBLEMS, indirect=True)
        def test_in_fixture(box): pass

        @pytest.mark.parametrize("late", PROBLEMS, indirect=True)
        def test_at_its_end(late): pass

        def test_all_are_closed():
            assert [bottle.closed for bottle in made] == [True] * 7
        """
    )
    result = run()
    result.assert_outcomes(failed=2, errors=2, passed=3, skipped=3)


@pytest.mark.parametrize("place", ["test", "session fixture"])
@pytest.mark.parametrize(
    "body",
    [
        "pytest.exit('enough')",
        "raise KeyboardInterrupt",
        "raise SystemExit",
        "os._exit(7)",
        "os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)",
    ],
)
def test_violent_end_tears_down(pytester, run, body, place):
    """Where pytest skips finalizers, or nobody has a chance to run them."""
    pytester.makepyfile(
        f"""
        import os
        import signal
        import time
        import pytest

        def end(here):
            if here == {place!r}:
                {body}

        @pytest.fixture(scope="session")
        def box(bottle_factory):
            bottle_factory()
            end("session fixture")

        def test_it(bottle, box): end("test")
        """
    )
    result = run()
    assert result.ret != pytest.ExitCode.OK
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_failing_provisioner_leaves_nothing(pytester, run):
    """The sandbox stood already when it failed."""
    pytester.makefile(".toml", bottle='[bottles.default.files]\n"/proc/no" = { text = "x" }\n')
    pytester.makepyfile("def test_it(bottle): pass")
    run().stdout.fnmatch_lines(
        ["provisioning bottle-* failed with return code *", "*= 1 infra error in *"]
    )


def test_skill_that_vanished_leaves_nothing(pytester, run, fake_backend):
    """Between the check and the copy."""
    pytester.makefile(
        ".toml", bottle='[agents.a]\nkind = "command"\nargs = ["true"]\nskills = ["audit"]\n'
    )
    pytester.mkdir("skills").joinpath("audit").mkdir()
    fake_backend(
        more="""
    import shutil

    class Vanishing(Fake):
        def launch(self, plan):
            shutil.rmtree(plan.agent.skills[0].source)
            return super().launch(plan)

    Fake = Vanishing
"""
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(agent="a")
        def test_it(bottle): pass
        """
    )
    result = run("--bottle-backend=fake")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*audit*"])


def test_what_resists_fails_the_run_and_is_named(pytester, run, fake_backend):
    """A leak must not be green."""
    fake_backend(fail_stop=3)
    pytester.makepyfile("def test_it(bottle): pass")
    result = run("--bottle-backend=fake", "--bottle-scope=session")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*TeardownError: something of * remains: *"])
