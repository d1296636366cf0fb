"""The fixtures: what a test gets, and how long it lives."""

from __future__ import annotations


def test_bottle_is_a_sandbox_that_is_gone_after_its_test(pytester, run):
    """Two tests never share what the default scope gives them."""
    pytester.makepyfile(
        """
        seen = []

        def test_first(bottle):
            assert bottle.sh("echo $HOME; touch mark").stdout == f"{bottle.home}\\n"
            seen.append(bottle)

        def test_second(bottle):
            (first,) = seen
            assert first.closed
            assert first.name != bottle.name
            assert not bottle.exists("mark")
        """
    )
    run("--bottle-backend=bubblewrap").assert_outcomes(passed=2)


def test_bottle_is_open_while_later_fixtures_are_torn_down(pytester, run):
    """A fixture that needs the bottle still has it at its own end."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def workspace(bottle):
            bottle.write_file("before", "")
            yield bottle
            assert bottle.listdir() == ["before", "during"]

        def test_both(workspace):
            workspace.write_file("during", "")
        """
    )
    run().assert_outcomes(passed=1)


def test_factory_makes_several_bottles_for_one_test(pytester, run):
    """They are different ones, and end with the test, the newest first."""
    pytester.makepyfile(
        """
        made = []

        def test_two(bottle_factory):
            made.extend([bottle_factory(), bottle_factory(env={"ROLE": "second"})])
            one, two = made
            assert one.name != two.name
            assert two.sh("echo $ROLE").stdout == "second\\n"

        def test_they_are_gone():
            assert [bottle.closed for bottle in made] == [True, True]
        """
    )
    run().assert_outcomes(passed=2)


def test_factory_bottle_can_be_closed_by_hand_or_by_with(pytester, run):
    """An early end is an end: nothing is torn down twice, and using it is an error that says so."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_bottle.errors import BottleClosedError

        def test_early(bottle_factory):
            with bottle_factory() as bottle:
                assert bottle.exec(["true"]).success
            assert bottle.closed
            with pytest.raises(BottleClosedError, match=f"{bottle.name} was torn down already"):
                bottle.exec(["true"])
            bottle.close()
        """
    )
    run().assert_outcomes(passed=1)


def test_factory_bottle_lives_as_long_as_the_fixture_that_asked(pytester, run):
    """In function, module and session fixtures alike."""
    pytester.makepyfile(
        test_a="""
        import pytest

        made = {}

        @pytest.fixture
        def of_function(bottle_factory):
            made["function"] = bottle_factory()
            return made["function"]

        @pytest.fixture(scope="module")
        def of_module(bottle_factory):
            made["module"] = bottle_factory()
            yield made["module"]
            assert made["module"].exec(["true"]).success

        def test_first(of_function, of_module, of_session):
            of_session.write_file("mark", "a")
            of_module.write_file("mark", "a")

        def test_second(of_module, of_session):
            assert made["function"].closed
            assert not of_module.closed
            assert of_module.read_file("mark") == "a"
        """,
        test_b="""
        import test_a

        def test_other_module(of_session):
            assert test_a.made["module"].closed
            assert of_session.read_file("mark") == "a"
        """,
        conftest="""
        import pytest

        @pytest.fixture(scope="session")
        def of_session(bottle_factory):
            with bottle_factory() as bottle:
                yield bottle
        """,
    )
    run().assert_outcomes(passed=3)


def test_factory_refuses_a_scope(pytester, run):
    """How long its bottles live is a matter of who asks."""
    pytester.makepyfile("def test_it(bottle_factory): bottle_factory(scope='module')")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*MarkerError: test_*::test_it: bottle_factory(...): scope= is not for bottle_factory. *"]
    )


def test_factory_refuses_a_fixture_that_is_ending(pytester, run):
    """Nothing would take down what is made then."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def late(bottle_factory):
            yield
            bottle_factory()

        def test_it(late):
            pass
        """
    )
    result = run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*MarkerError: *::test_it: bottle_factory(...) was called when *"])


def test_factory_names_the_call_whose_argument_is_wrong(pytester, run):
    """The marker's checks are the factory's too."""
    pytester.makepyfile("def test_it(bottle_factory): bottle_factory(imag='x')")
    result = run()
    result.stdout.fnmatch_lines(
        ["*MarkerError: *::test_it: bottle_factory(...): unknown argument 'imag'. *'image'?"]
    )


def test_manifest_is_the_nearest_one_above_the_test(pytester, run):
    """Each test file has the agents and bottles of its own directory."""
    pytester.makefile(".toml", bottle="[bottles.outer]\n")
    pytester.mkdir("near").joinpath("bottle.toml").write_text("[bottles.inner]\n")
    test = "def test_it(bottle_manifest): assert set(bottle_manifest.bottles) == {%r}"
    pytester.makepyfile(**{"test_far": test % "outer", "near/test_near": test % "inner"})
    run().assert_outcomes(passed=2)


def test_manifest_can_be_a_table_of_pyproject(pytester, run):
    """A project that has a pyproject.toml needs no further file."""
    pytester.makepyprojecttoml('[tool.bottle.bottles.default.env]\nROLE = "project"\n')
    pytester.makepyfile(
        "def test_it(bottle): assert bottle.sh('echo $ROLE').stdout == 'project\\n'"
    )
    run().assert_outcomes(passed=1)


def test_manifest_is_empty_where_there_is_none(pytester, run):
    """Bottles need no manifest."""
    pytester.makepyfile(
        """
        def test_it(bottle_manifest):
            assert bottle_manifest.path is None
            assert not bottle_manifest.agents
        """
    )
    run().assert_outcomes(passed=1)


def test_wrong_manifest_names_file_and_key(pytester, run):
    """Whoever wrote it can correct it from the message."""
    pytester.makefile(".toml", bottle="[bottles.default]\nmemroy = '1g'\n")
    pytester.makepyfile("def test_it(bottle): pass")
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*bottle.toml: bottles.default.memroy: unknown key. *'memory'?"])


def test_backend_is_the_name_of_what_the_bottle_runs_on(pytester, run, fake_backend):
    """Also where it was chosen by an option."""
    fake_backend()
    pytester.makepyfile(
        "def test_it(bottle, bottle_backend): assert bottle_backend == bottle.backend == 'fake'"
    )
    run("--bottle-backend=fake").assert_outcomes(passed=1)


def test_agent_of_the_manifest_is_provisioned_with_prompt_and_skills(pytester, run):
    """`run_agent` runs what the manifest says, told where its prompt is."""
    pytester.makefile(
        ".toml",
        bottle="""
        [agents.reviewer]
        kind = "command"
        args = ["/bin/cat"]
        prompt = "You review."
        skills = ["audit"]
        """,
    )
    pytester.mkdir("skills").joinpath("audit").mkdir()
    pytester.path.joinpath("skills/audit/SKILL.md").write_text("Look twice.")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(agent="reviewer")
        def test_it(bottle):
            assert bottle.agent.name == "reviewer"
            skill = f"{bottle.home}/.claude/skills/audit/SKILL.md"
            assert bottle.read_file(skill) == "Look twice."
            assert bottle.read_file(f"{bottle.home}/.claude-bottle-prompt.txt") == "You review."
        """
    )
    run().assert_outcomes(passed=1)


def test_only_the_public_fixtures_are_listed(run):
    """`pytest --fixtures` shows what a test may ask for, with what it is."""
    result = run("--fixtures")
    result.stdout.fnmatch_lines(
        [
            "bottle_backend -- *",
            "    The name of the backend that this test's bottle runs on.",
            "bottle_manifest -- *",
            "bottle -- *",
            "    An isolated sandbox, *",
            "bottle_factory [[]session scope[]] -- *",
        ]
    )
    result.stdout.no_fnmatch_line("*shelf*")


def test_setup_show_works(pytester, run):
    """`--setup-show` shows the plugin's fixtures as it shows others."""
    pytester.makepyfile("def test_it(bottle): pass")
    result = run("--setup-show", "--bottle-scope=module")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*SETUP    M _bottle_shelf_module", "*TEARDOWN M *"])
