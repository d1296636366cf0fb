"""A suite without bottles pays for none."""

from __future__ import annotations

HEAVY = ("pydantic", "docker", "filelock", "asyncio", "pytest_bottle.lifecycle.lifecycle")


def test_heavy_modules_are_not_imported(pytester, run, state):
    """Nor is anything written to the state directory."""
    pytester.makepyfile(
        f"""
        import sys

        def test_it():
            assert "pytest_bottle.plugin" in sys.modules
            assert not set({HEAVY!r}) & set(sys.modules)
        """
    )
    run("-p", "no:xdist").assert_outcomes(passed=1)
    assert not list(state.root.iterdir())


def test_nor_by_a_worker(pytester, run, state):
    """Of xdist, which itself needs a few of them."""
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert not {"pydantic", "docker"} & set(sys.modules)
            assert "pytest_bottle.lifecycle.lifecycle" not in sys.modules
        """
    )
    run("-n1").assert_outcomes(passed=1)
    assert not list(state.root.iterdir())


def test_docker_is_not_imported_for_another_backend(pytester, run):
    """Its client alone takes longer than a bubblewrap bottle."""
    pytester.makepyfile(
        """
        import sys

        def test_it(bottle):
            assert bottle.backend == "bubblewrap"
            assert "docker" not in sys.modules
        """
    )
    run("--bottle-backend=bubblewrap").assert_outcomes(passed=1)
