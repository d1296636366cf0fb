"""The matrix: every test that uses a bottle runs on each of several backends."""

from __future__ import annotations

import pytest


@pytest.fixture
def two(pytester, fake_backend):
    """A suite with a fake backend beside the built-in ones."""
    fake_backend()
    pytester.makepyfile(
        """
        import pytest

        def test_bottle(bottle, bottle_backend):
            assert bottle.backend == bottle_backend

        def test_factory(bottle_factory, request):
            assert bottle_factory().backend in request.node.name

        def test_without():
            pass
        """
    )


@pytest.mark.usefixtures("two")
def test_option_given_twice_runs_each_test_on_both(run):
    """Node ids say on which; a test without a bottle runs once."""
    result = run("-v", "--bottle-backend=bubblewrap", "--bottle-backend=fake")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines_random(
        [
            "*::test_bottle[[]bubblewrap[]] PASSED*",
            "*::test_bottle[[]fake[]] PASSED*",
            "*::test_factory[[]bubblewrap[]] PASSED*",
            "*::test_factory[[]fake[]] PASSED*",
            "*::test_without PASSED*",
        ]
    )


@pytest.mark.usefixtures("two")
def test_all_is_every_backend_that_there_is(run):
    """Those of other plugins as well; what is missing here is skipped, never left out."""
    result = run("--co", "-q", "--bottle-backend=all")
    result.stdout.fnmatch_lines_random(
        [f"*::test_bottle[[]{name}[]]" for name in ("bubblewrap", "docker", "fake", "smolmachines")]
    )


def test_missing_backend_is_skipped_with_the_reason(pytester, run, fake_backend):
    """The other half of the matrix still runs."""
    fake_backend(unavailable="no engine answers")
    pytester.makepyfile("def test_it(bottle): pass")
    result = run("--bottle-backend=bubblewrap,fake")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["skipped 1: bottle capability fake is missing: no engine *"])


def test_missing_backend_that_is_required_fails(pytester, run, fake_backend):
    """CI that is to have both notices when one is gone."""
    fake_backend(unavailable="no engine answers")
    pytester.makepyfile("def test_it(bottle): pass")
    result = run("--bottle-backend=bubblewrap,fake", "--bottle-require=fake")
    result.assert_outcomes(passed=1, errors=1)


def test_list_in_a_marker_is_a_matrix(pytester, run, fake_backend):
    """Of that test alone, whatever the option says; also a list of one."""
    fake_backend()
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(backend=["bubblewrap", "fake"])
        def test_both(bottle): pass

        @pytest.mark.bottle(backend=["fake"])
        def test_one(bottle): assert bottle.backend == "fake"

        @pytest.mark.bottle(backend="all")
        def test_all(bottle): pass

        def test_option(bottle): assert bottle.backend == "bubblewrap"
        """
    )
    result = run("--co", "-q", "--bottle-backend=bubblewrap")
    names = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert sorted(names) == [
        "test_all[bubblewrap]",
        "test_all[docker]",
        "test_all[fake]",
        "test_all[smolmachines]",
        "test_both[bubblewrap]",
        "test_both[fake]",
        "test_one[fake]",
        "test_option",
    ]
    run("--bottle-backend=bubblewrap", "-k", "bubblewrap or fake or option").assert_outcomes(
        passed=6, deselected=2
    )


def test_name_in_a_marker_leaves_the_matrix(pytester, run, fake_backend):
    """A test for one backend stays one test."""
    fake_backend()
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(backend="fake")
        def test_it(bottle): assert bottle.backend == "fake"
        """
    )
    run("--bottle-backend=bubblewrap,fake").assert_outcomes(passed=1)


@pytest.mark.parametrize("indirect", [True, False])
def test_author_may_parametrize_the_backend(pytester, run, fake_backend, indirect):
    """In pytest's own way; then it is the author's matrix that counts."""
    fake_backend()
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.parametrize("bottle_backend", ["fake", "bubblewrap"], indirect={indirect})
        def test_it(bottle, bottle_backend, request):
            assert bottle.backend == bottle_backend
            assert bottle_backend in request.node.name
        """
    )
    run("--bottle-backend=bubblewrap,fake").assert_outcomes(passed=2)


def test_matrix_multiplies_with_other_parameters(pytester, run, fake_backend):
    """As any two parametrizations do."""
    fake_backend()
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(bottle, number): pass
        """
    )
    result = run("-v", "--bottle-backend=bubblewrap,fake")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*::test_it[[]1-bubblewrap[]] PASSED*"])


def test_wide_fixture_is_made_anew_for_each_backend(pytester, run, fake_backend):
    """Else the tests of one backend would run in another's bottle."""
    fake_backend()
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def box(bottle_factory):
            return bottle_factory()

        def test_one(box, request):
            assert box.backend in request.node.name

        def test_two(box, request):
            assert box.backend in request.node.name
        """
    )
    run("--bottle-backend=bubblewrap,fake").assert_outcomes(passed=4)


@pytest.mark.parametrize("scope", ["module", "run"])
def test_shared_bottles_are_one_for_each_backend(pytester, run, fake_backend, scope):
    """Sharing goes on below the matrix."""
    fake_backend()
    pytester.makepyfile(
        """
        def test_one(bottle):
            bottle.write_file("mark", bottle.backend)

        def test_two(bottle):
            assert bottle.read_file("mark") == bottle.backend
        """
    )
    result = run("--bottle-backend=bubblewrap,fake", f"--bottle-scope={scope}")
    result.assert_outcomes(passed=4)
