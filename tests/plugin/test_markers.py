"""The marker `bottle`: how several add up, and what is said of a wrong one before any test runs."""

from __future__ import annotations

import pytest


def test_nearer_marker_wins_argument_by_argument(pytester, run):
    """Module, class and function each say what they care about."""
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.bottle(workdir="/module", env={"LEVEL": "module"})

        @pytest.mark.bottle(env={"LEVEL": "class"})
        class TestIt:
            @pytest.mark.bottle(env={"LEVEL": "function"})
            def test_function(self, bottle):
                assert bottle.sh("pwd; echo $LEVEL").stdout == "/module\\nfunction\\n"

            def test_class(self, bottle):
                assert bottle.sh("pwd; echo $LEVEL").stdout == "/module\\nclass\\n"

        def test_module(bottle):
            assert bottle.sh("pwd; echo $LEVEL").stdout == "/module\\nmodule\\n"
        """
    )
    run().assert_outcomes(passed=3)


def test_marker_of_one_parameter_is_that_parameters(pytester, run):
    """`pytest.param(..., marks=...)` works as for other markers."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize(
            "name", ["bottle", pytest.param("tester", marks=pytest.mark.bottle(user="tester"))]
        )
        def test_user(bottle, name):
            assert bottle.user == name
        """
    )
    run("--bottle-backend=bubblewrap").assert_outcomes(passed=2)


def test_marker_overrides_the_manifest(pytester, run):
    """The manifest has what most tests want; the marker what this one wants."""
    pytester.makefile(
        ".toml",
        bottle="""
        [bottles.dev]
        timeout = 7
        env = { ONE = "manifest", TWO = "manifest" }
        """,
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(bottle="dev", env={"TWO": "marker"})
        def test_it(bottle):
            assert bottle.plan.timeout == 7
            assert bottle.sh("echo $ONE $TWO").stdout == "manifest marker\\n"
        """
    )
    run().assert_outcomes(passed=1)


WRONG = {
    "misspelt": ('imgae="x"', "unknown argument 'imgae'. Did you mean 'image'?"),
    "scope": ('scope="modul"', "scope= must be one of *. Did you mean 'module'?"),
    "timeout": ("timeout=[]", "timeout= *"),
    "env": ("env=1", "env= must map names to strings."),
    "pids": ("pids=True", "pids= must be a whole number above zero."),
    "skills": ('skills="one"', "skills= must be a list of strings. Write skills=[[]...] *"),
    "positional": ('"reviewer"', "@pytest.mark.bottle takes keywords only, not ('reviewer',). *"),
    "agent": ('agent="revewer"', "there is no agent 'revewer' in *bottle.toml. *'reviewer'?"),
    "bottle": ('bottle="dvelop"', "there is no bottle 'dvelop' in *bottle.toml. *'develop'?"),
    "backend": ('backend="dokcer"', "there is no backend 'dokcer'. Did you mean 'docker'?"),
    "backends": ('backend=["docker", "fkae"]', "there is no backend 'fkae'. *"),
    "none": ("backend=[]", "backend= must be a name or a list of names, not [[][]]. *"),
    "number": ("backend=[1]", "backend= must be a name or a list of names, not [[]1[]]. *"),
}
"""Arguments of a marker, and what is said of them."""


def test_wrong_argument_is_a_collection_error_that_names_test_and_remedy(pytester, run):
    """No test of the suite runs, and no one has to read a traceback."""
    pytester.makefile(".toml", bottle='[agents.reviewer]\nkind = "command"\n[bottles.develop]\n')
    test = "import pytest\n@pytest.mark.bottle({})\ndef test_it(bottle): pass\n"
    pytester.makepyfile(
        **{f"test_{name}": test.format(arguments) for name, (arguments, _) in WRONG.items()}
    )
    result = run()
    result.assert_outcomes(errors=len(WRONG))
    assert result.ret == pytest.ExitCode.INTERRUPTED
    for name, (_, message) in WRONG.items():
        result.stdout.fnmatch_lines([f"test_{name}.py::test_it: {message}"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_wrong_backend_in_the_manifest_is_a_collection_error(pytester, run):
    """The marker names the bottle, and the bottle names what there is not."""
    pytester.makefile(".toml", bottle='[bottles.dev]\nbackend = "dokcer"\n')
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(bottle="dev")
        def test_it(bottle):
            pass
        """
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*there is no backend 'dokcer'. Did you mean 'docker'?"])


def test_wrong_marker_of_one_parameter_fails_that_parameter(pytester, run):
    """Pytest shows markers of parameters only when the test is about to run."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize(
            "mark",
            [
                pytest.param("argument", marks=pytest.mark.bottle(imgae="x")),
                pytest.param("list", marks=pytest.mark.bottle(backend=["bubblewrap"])),
                "right",
            ],
        )
        def test_it(bottle, mark):
            pass
        """
    )
    result = run()
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "test_*.py::test_it[[]argument[]]: unknown argument 'imgae'. *",
            "test_*.py::test_it[[]list[]]: backend= *",
        ]
    )


def test_marker_of_a_test_without_bottle_is_checked_too(pytester, run):
    """A bottle may come by way of another fixture, or be forgotten: both want the check."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(agnet="x")
        def test_it():
            pass
        """
    )
    run().assert_outcomes(errors=1)


def test_markers_are_registered(run):
    """So that `--strict-markers` knows them, and `pytest --markers` explains them."""
    result = run("--markers")
    result.stdout.fnmatch_lines(
        [
            "@pytest.mark.bottle(agent=None, *): the bottle that this test's `bottle` fixture is",
            "@pytest.mark.bottle_requires([*]capabilities): skip this test, *",
        ]
    )


def test_collect_only_checks_and_starts_nothing(pytester, run, state):
    """A look at the suite is free."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(scope="module")
        @pytest.mark.bottle_requires("docker")
        def test_it(bottle):
            pass
        """
    )
    result = run("--collect-only", "-q", "--bottle-require=docker")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*::test_it", "1 test collected in *"])
    state.assert_empty()
    assert not (state.root / "bin").exists()
