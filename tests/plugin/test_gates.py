"""Gates: a test is skipped where the host lacks what it needs, unless that was required."""

from __future__ import annotations

import pytest

CAPABILITIES = """
    from pytest_bottle.backends.base import Probe

    def probe_gpu():
        with open("probes", "a") as file:
            file.write("gpu ")
        return Probe(ok=False, detail="/dev/gpu0 does not open", fix="load the driver")

    def pytest_bottle_capabilities(config):
        return {
            "gpu": probe_gpu,
            "lamp": lambda: Probe(ok=True, detail="it shines"),
            "bug": lambda: 1 / 0,
        }
"""

REASON = "bottle capability gpu is missing: /dev/gpu0 does not open. Fix: load the driver"


@pytest.fixture
def capabilities(pytester):
    """Give the suite a capability that is missing, one that is there, and one that is broken."""
    pytester.makeconftest(CAPABILITIES)


@pytest.fixture
def gated(pytester, capabilities):  # noqa: ARG001 - which it needs
    """A suite of two tests that need a GPU, and one that needs a lamp."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle_requires("gpu")
        class TestGPU:
            def test_one(self, bottle):
                assert False

            def test_two(self):
                assert False

        @pytest.mark.bottle_requires("lamp", "linux")
        def test_lamp():
            pass
        """
    )


@pytest.mark.usefixtures("gated")
def test_skip_says_what_was_probed_and_how_to_fix_it(run):
    """At the place of the test, as pytest's own skips are."""
    result = run("-rs")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines([f"SKIPPED [[]1[]] test_*.py:5: {REASON}"])


@pytest.mark.usefixtures("gated")
def test_reasons_are_counted_without_being_asked_for(run):
    """A suite that is green because it was skipped must not look like one that ran."""
    run("-q").stdout.fnmatch_lines([f"skipped 2: {REASON}"])


def test_builtin_capability_is_really_probed(pytester, run):
    """This is no Mac, or it is."""
    pytester.makepyfile(
        """
        import platform
        import pytest

        @pytest.mark.bottle_requires("darwin")
        def test_mac():
            assert platform.system() == "Darwin"

        @pytest.mark.bottle_requires("linux")
        def test_linux():
            assert platform.system() == "Linux"
        """
    )
    result = run()
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["skipped 1: * is missing: this host runs *. Fix: run it on *"])


@pytest.mark.parametrize("source", ["command line", "environment variable BOTTLE_REQUIRE"])
@pytest.mark.usefixtures("gated")
def test_required_capability_fails_its_tests(run, monkeypatch, source):
    """CI that is to have a capability notices when it has not."""
    arguments = ["--bottle-require=gpu,lamp"]
    if source != "command line":
        monkeypatch.setenv("BOTTLE_REQUIRE", "lamp gpu")
        arguments = []
    result = run(*arguments)
    result.assert_outcomes(passed=1, errors=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"{REASON} (--bottle-require, from {source})",
            "bottle: required and missing: gpu: /dev/gpu0 does not open. Fix: load the driver",
        ]
    )


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
@pytest.mark.usefixtures("capabilities")
def test_required_capability_that_no_test_needs_fails_the_run(pytester, run, workers):
    """Else a suite that lost its gated tests would stay green."""
    pytester.makepyfile("def test_it(): pass")
    result = run("--bottle-require=gpu", workers)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["bottle: required and missing: gpu: *"])


@pytest.mark.usefixtures("capabilities")
def test_required_capability_that_is_there_changes_nothing(pytester, run):
    """The requirement is met."""
    pytester.makepyfile("def test_it(): pass")
    assert run("--bottle-require=lamp").ret == pytest.ExitCode.OK


@pytest.mark.usefixtures("capabilities")
def test_unknown_capability_is_a_collection_error(pytester, run):
    """A misspelt gate would skip its tests for ever."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle_requires("dokcer")
        def test_it():
            pass
        """
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["test_*.py::test_it: there is no capability 'dokcer'. Did you mean 'docker'?"]
    )


@pytest.mark.parametrize("arguments", ["", "gpu=True", "1"])
def test_malformed_gate_is_a_collection_error(pytester, run, arguments):
    """It shows how one is written."""
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.bottle_requires({arguments})
        def test_it():
            pass
        """
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ['test_*::test_it: * Write @pytest.mark.bottle_requires("docker").']
    )


@pytest.mark.usefixtures("gated")
def test_unittest_classes_are_gated_too(pytester, run):
    """Whatever pytest runs."""
    pytester.makepyfile(
        test_unit="""
        import unittest
        import pytest

        @pytest.mark.bottle_requires("gpu")
        class TestGPU(unittest.TestCase):
            def test_it(self):
                assert False

        @pytest.mark.bottle_requires("gup")
        class TestMisspelt(unittest.TestCase):
            def test_it(self):
                assert False
        """
    )
    result = run("test_unit.py")
    result.assert_outcomes(skipped=1, errors=1)
    result.stdout.fnmatch_lines(["*there is no capability 'gup'. Did you mean 'gpu'?"])


@pytest.mark.usefixtures("capabilities")
def test_nothing_is_set_up_for_a_test_that_is_skipped(pytester, run):
    """The gate comes before all fixtures, those of wider scopes too."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def expensive():
            raise RuntimeError("this was to be spared")

        @pytest.mark.bottle_requires("gpu")
        def test_it(expensive):
            pass
        """
    )
    run().assert_outcomes(skipped=1)


@pytest.mark.parametrize("workers", ["-n0", "-n4"])
@pytest.mark.usefixtures("gated")
def test_capability_is_probed_once_per_run(pytester, run, workers):
    """A probe may take seconds; workers share its answer."""
    result = run(workers)
    result.assert_outcomes(passed=1, skipped=2)
    assert (pytester.path / "probes").read_text() == "gpu "
    result.stdout.fnmatch_lines([f"skipped 2: {REASON}"])


@pytest.mark.usefixtures("capabilities")
def test_probe_that_raises_is_a_missing_capability(pytester, run):
    """The bug of one plugin is neither the end of the run nor a reason to run the test."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle_requires("bug")
        def test_it():
            pass
        """
    )
    result = run("--bottle-require=bug")
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["bottle: required and missing: bug: its probe failed with ZeroDivisionError: *"]
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_backend_named_by_a_marker_is_a_gate(pytester, run, fake_backend):
    """A test for one backend only is skipped where there is none."""
    fake_backend(unavailable="no engine answers")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(backend="fake")
        def test_it(bottle):
            pass
        """
    )
    result = run()
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["skipped 1: *fake is missing: no engine answers. *"])


def test_backend_of_the_whole_run_is_no_gate(pytester, run, fake_backend):
    """Who asks for one backend wants it, and no skipped run."""
    fake_backend(unavailable="no engine answers")
    pytester.makepyfile("def test_it(bottle): pass")
    result = run("--bottle-backend=fake")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*CapabilityError: fake: no engine answers"])


@pytest.mark.bottle_requires("docker", "agent-image")
class TestAgentsInContainers:
    """On docker an agent's program is looked for in the image, not on the host."""

    @pytest.fixture(autouse=True)
    def host_without_agents(self, monkeypatch):
        monkeypatch.setenv("PATH", "/usr/sbin:/sbin")
        monkeypatch.delenv("BOTTLE_DOCKER_IMAGE", raising=False)

    def test_the_agent_image_has_them(self, pytester, run):
        pytester.makepyfile(
            """
            import pytest

            @pytest.mark.bottle_requires("claude")
            @pytest.mark.bottle(backend="docker")
            def test_it(bottle):
                assert bottle.exec(["claude", "--version"]).success
            """
        )
        run().assert_outcomes(passed=1)

    def test_an_image_of_the_authors_own_is_taken_as_it_is(self, pytester, run):
        pytester.makepyfile(
            """
            import pytest

            @pytest.mark.bottle_requires("claude")
            @pytest.mark.bottle(backend="docker", image="localhost:1/nobody:has-it")
            def test_it(bottle):
                pass
            """
        )
        result = run()
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*localhost:1/nobody:has-it*"])

    def test_a_test_without_a_bottle_needs_the_hosts(self, pytester, run):
        pytester.makepyfile(
            """
            import pytest

            @pytest.mark.bottle_requires("claude")
            def test_it():
                pass
            """
        )
        run().assert_outcomes(skipped=1)
