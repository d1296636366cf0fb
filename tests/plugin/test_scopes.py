"""Scopes: how widely a bottle is shared, and when it is replaced."""

from __future__ import annotations

import pytest

NAMES = """
    import pytest

    def note(bottle):
        with open("names", "a") as file:
            file.write(bottle.name + " ")

    class TestOne:
        def test_a(self, bottle):
            note(bottle)

        def test_b(self, bottle):
            note(bottle)

    class TestTwo:
        def test_c(self, bottle):
            note(bottle)
"""


@pytest.mark.parametrize(
    ("scope", "pattern"),
    [
        ("function", "012345"),
        ("class", "001223"),
        ("module", "000111"),
        ("session", "000000"),
        ("run", "000000"),
    ],
)
def test_option_says_which_tests_share_a_bottle(pytester, run, scope, pattern):
    """Two modules of three tests in two classes each, all of which note their bottle's name."""
    pytester.makepyfile(test_one=NAMES, test_two=NAMES)
    run(f"--bottle-scope={scope}").assert_outcomes(passed=6)
    names = (pytester.path / "names").read_text().split()
    numbers = {name: str(number) for number, name in enumerate(dict.fromkeys(names))}
    assert "".join(numbers[name] for name in names) == pattern


def test_marker_goes_before_the_option(pytester, run):
    """A test that needs a bottle to itself gets one in a suite that shares."""
    pytester.makepyfile(
        """
        import pytest

        def test_shared(bottle):
            bottle.write_file("mark", "")

        @pytest.mark.bottle(scope="function")
        def test_own(bottle):
            assert bottle.listdir() == []

        def test_shared_again(bottle):
            assert bottle.listdir() == ["mark"]
        """
    )
    run("--bottle-scope=module").assert_outcomes(passed=3)


@pytest.mark.parametrize("scope", ["class", "module", "session", "run"])
def test_tests_that_ask_for_different_things_do_not_share(pytester, run, scope):
    """There is one bottle for each different set of arguments."""
    pytester.makepyfile(
        f"""
        import pytest

        pytestmark = pytest.mark.bottle(scope={scope!r})

        class TestIt:
            def test_plain(self, bottle):
                bottle.write_file("mark", "plain")

            @pytest.mark.bottle(env={{"ROLE": "other"}})
            def test_other(self, bottle):
                assert bottle.sh("echo $ROLE; ls").stdout == "other\\n"

            def test_plain_again(self, bottle):
                assert bottle.read_file("mark") == "plain"
        """
    )
    run().assert_outcomes(passed=3)


@pytest.mark.parametrize("scope", ["module", "session", "run"])
def test_lost_bottle_is_replaced_for_the_next_test(pytester, run, scope):
    """One test's broken sandbox does not take the others with it."""
    pytester.makepyfile(
        """
        import os
        import signal

        from pytest_bottle.state.owner import Owner

        def test_breaks_it(bottle):
            os.kill(Owner.decode(bottle.sandbox.reference()["keeper"]["owner"]).pid, signal.SIGKILL)
            bottle.exec(["true"])

        def test_next(bottle):
            assert bottle.exec(["true"]).success
        """
    )
    result = run(f"--bottle-scope={scope}", "--bottle-backend=bubblewrap")
    result.stdout.fnmatch_lines(["*1 passed, 1 infra error*"])


def test_shared_bottle_that_a_test_closed_is_replaced(pytester, run):
    """Whoever closes what is shared harms nobody."""
    pytester.makepyfile(
        """
        def test_closes_it(bottle):
            bottle.close()

        def test_next(bottle):
            assert bottle.exec(["true"]).success
        """
    )
    run("--bottle-scope=session").assert_outcomes(passed=2)


def test_report_of_a_shared_bottle_has_the_tests_own_commands(pytester, run):
    """What other tests did in it is not this one's story."""
    pytester.makepyfile(
        """
        def test_one(bottle):
            bottle.sh("echo of-one")

        def test_two(bottle):
            bottle.sh("echo of-two")
            assert False
        """
    )
    result = run("--bottle-scope=module")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["commands: the last 1 of 1, *", "  [[]0] /bin/sh -c 'echo of-two' *"]
    )
    result.stdout.no_fnmatch_line("*of-one*")
