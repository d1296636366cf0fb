"""Golden bottles, provisioned once for the run, and branches that a test asks for."""

from __future__ import annotations

import json

import pytest

BACKENDS = ("bubblewrap", pytest.param("docker", marks=pytest.mark.bottle_requires("docker")))

COUNTING = """
    def pytest_bottle_provisioners(config):
        def count(plan, paths):
            with open("provisioned", "a") as file:
                file.write("x")
            return ()

        return [count]
"""

SUITE = """
    import os
    import time
    import pytest

    @pytest.mark.parametrize("number", range({tests}))
    def test_it(bottle, number, worker_id):
        assert bottle.listdir() == ["given"]
        assert not bottle.exists(f"{{bottle.home}}/trace")
        bottle.sh("rm given; touch own ~/trace").check()
        open(f"used-by-{{worker_id}}", "w").close()
        if number < 2 and worker_id != "master":
            deadline = time.monotonic() + 20  # Both workers have one at the same time.
            while len([name for name in os.listdir() if name.startswith("used-by")]) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        assert bottle.listdir() == ["own"]
"""

MANIFEST = """
[bottles.default]
golden = {golden}
files.given = {{ text = "given" }}
"""


def write(pytester, *, golden: bool, tests: int = 6) -> None:
    """Write a suite whose provisioning is counted."""
    pytester.makefile(".toml", bottle=MANIFEST.format(golden=str(golden).lower()))
    pytester.makeconftest(COUNTING)
    pytester.makepyfile(SUITE.format(tests=tests))


def provisionings(pytester) -> int:
    """Return how often something was provisioned."""
    return len((pytester.path / "provisioned").read_text())


@pytest.mark.parametrize("backend", BACKENDS)
def test_golden_bottle_is_provisioned_once_for_all_workers(pytester, run, backend):
    """Each test has it as it was provisioned, and nothing of the others."""
    write(pytester, golden=True)
    run("-n2", f"--bottle-backend={backend}").assert_outcomes(passed=6)
    assert provisionings(pytester) == 1


def test_without_it_each_is_provisioned_anew(pytester, run):
    """As the manifest says."""
    write(pytester, golden=False, tests=3)
    run().assert_outcomes(passed=3)
    assert provisionings(pytester) == 3


def test_the_marker_goes_before_the_manifest(pytester, run):
    """Both ways."""
    write(pytester, golden=False)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(golden=True)
        @pytest.mark.parametrize("number", range(3))
        def test_it(bottle, number):
            assert bottle.plan.branch_of
        """
    )
    run().assert_outcomes(passed=3)
    assert provisionings(pytester) == 1


EAGER = """
    from pytest_bottle.testing.fake import FakeBackend

    class Eager(FakeBackend):
        name = "eager"
        golden = True

    def pytest_bottle_backends(config):
        return [Eager()]
"""
"""A backend on which bottles start from golden ones where nobody says otherwise."""


@pytest.mark.parametrize(
    ("manifest", "golden"),
    [("", [True] * 3), ("golden = true", [True] * 3), ("golden = false", [False] * 3)],
)
def test_where_the_backend_says_so_declared_bottles_are_golden(pytester, run, manifest, golden):
    pytester.makefile(".toml", bottle=f"[bottles.default]\n{manifest}")
    pytester.makeconftest(EAGER)
    pytester.makepyfile(
        f"""
        def test_it(bottle_factory):
            bottles = [bottle_factory() for _ in range(3)]
            assert [bottle.plan.branch_of is not None for bottle in bottles] == {golden}
        """
    )
    run("--bottle-backend=eager").assert_outcomes(passed=1)


def test_and_what_a_test_overrides_is_from_the_second_of_its_kind_on(pytester, run):
    """A golden bottle that nobody would start from a second time is not made."""
    pytester.makeconftest(EAGER)
    pytester.makepyfile(
        """
        def started_from(bottle):
            return bottle.plan.branch_of

        def test_it(bottle_factory):
            alone = [bottle_factory(env={"NUMBER": f"{number}"}) for number in range(3)]
            assert [started_from(bottle) for bottle in alone] == [None] * 3
            again = [bottle_factory(env={"NUMBER": "1"}) for _ in range(2)]
            assert started_from(again[0]) == started_from(again[1]) is not None
            assert started_from(bottle_factory(env={"NUMBER": "x"}, golden=True)) is not None
        """
    )
    run("--bottle-backend=eager").assert_outcomes(passed=1)


def test_different_bottles_have_different_golden_ones(pytester, run):
    """What tests ask for is the same, or it is not."""
    write(pytester, golden=True)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(2))
        @pytest.mark.parametrize("role", [
            pytest.param(role, marks=pytest.mark.bottle(env={"ROLE": role})) for role in ("a", "b")
        ])
        def test_it(bottle, role, number):
            assert bottle.sh("echo $ROLE").stdout == f"{role}\\n"
        """
    )
    run().assert_outcomes(passed=4)
    assert provisionings(pytester) == 2


def test_bottle_of_the_run_is_no_branch(pytester, run):
    """It is provisioned once in any case."""
    write(pytester, golden=True)
    pytester.makepyfile("def test_it(bottle): assert bottle.plan.branch_of is None")
    run("--bottle-scope=run").assert_outcomes(passed=1)


def test_a_golden_bottle_needs_no_slot(pytester, run):
    """Those who wait for one need it to start from."""
    write(pytester, golden=True, tests=3)
    run("--bottle-slots=1").assert_outcomes(passed=3)


def test_a_golden_bottle_that_was_lost_is_replaced(pytester, run):
    """No test notices."""
    write(pytester, golden=True)
    pytester.makepyfile(
        """
        import json
        import os
        import signal
        import pytest

        @pytest.mark.parametrize("number", range(3))
        def test_it(bottle, number):
            golden = bottle.plan.state_dir.parent / bottle.plan.branch_of / "reference.json"
            keeper = json.loads(golden.read_text())["reference"]["keeper"]["owner"]
            if number == 1:
                os.kill(int(keeper.partition(":")[0]), signal.SIGKILL)
            assert bottle.listdir() == ["given"]
        """
    )
    run("--bottle-backend=bubblewrap").assert_outcomes(passed=3)
    assert provisionings(pytester) == 2


def test_provisioning_that_fails_is_as_clear(pytester, run):
    """The words are those without a golden bottle, and each test has them."""
    pytester.makeconftest(
        """
        from pytest_bottle.provision.steps import Run

        def pytest_bottle_provisioners(config):
            return [lambda plan, paths: [Run(argv=("sh", "-c", "echo no such luck >&2; exit 3"))]]
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(golden=True)
        @pytest.mark.parametrize("number", range(2))
        def test_it(bottle, number):
            pass
        """
    )
    result = run()
    result.stdout.fnmatch_lines(["*provisioning bottle-*-main-* failed*no such luck*"])
    result.stdout.fnmatch_lines(["*2 infra error in *"])


def test_backend_that_cannot_branch_says_what_to_do(pytester, run):
    """To whoever asks for it."""
    pytester.makeconftest(
        """
        from pytest_bottle.testing import FakeBackend

        class Plain:
            name = "plain"

            def __init__(self):
                self._fake = FakeBackend()

            def __getattr__(self, name):
                if name in ("branch", "golden", "branches_processes"):
                    raise AttributeError(name)
                return getattr(self._fake, name)

        def pytest_bottle_backends(config):
            return [Plain()]
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(golden=True)
        def test_golden(bottle):
            pass

        def test_branch(bottle):
            bottle.branch()

        def test_neither(bottle):
            assert bottle.plan.branch_of is None
        """
    )
    result = run("--bottle-backend=plain")
    result.assert_outcomes(passed=1, failed=1, errors=1)
    assert result.stdout.str().count("plain cannot branch this bottle: the backend has no way") >= 2


@pytest.mark.usefixtures("calling_agent")
def test_each_branch_has_a_model_of_its_own(pytester, run):
    """Its door, its token and its script, whether it starts from a golden bottle or a test's."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_bottle import say

        tokens = set()

        @pytest.mark.bottle(agent="caller", golden=True)
        @pytest.mark.parametrize("word", ["one", "two"])
        def test_it(bottle, word):
            bottle.model.script(say(word))
            assert bottle.run_agent("Say it.").check().text.strip() == word
            branch = bottle.branch()
            branch.model.script(say(f"branch of {word}"))
            assert branch.run_agent("Again.").check().text.strip() == f"branch of {word}"
            for each, task in ((bottle, "Say it."), (branch, "Again.")):
                (request,) = each.model.requests
                assert task in str(request.messages)
            assert bottle.read_file("heard") != branch.read_file("heard")
            for each in (bottle, branch):
                assert each.model.token not in tokens
                tokens.add(each.model.token)
                found = each.sh("grep -rlF -- $TOKEN . ~", env={"TOKEN": each.model.token})
                assert found.stdout == ""
        """
    )
    run("--bottle-backend=bubblewrap").assert_outcomes(passed=2)


def test_branch_of_a_test_ends_with_it(pytester, run):
    """Or before, where the test says so."""
    pytester.makepyfile(
        """
        kept = []

        def test_branches(bottle):
            bottle.write_file("file", "of the source")
            kept.append(bottle.branch())
            with bottle.branch() as branch:
                branch.write_file("file", "of the branch")
                assert branch.diff().modified == ("file",)
            assert branch.closed
            assert not kept[0].closed
            assert kept[0].read_file("file") == bottle.read_file("file") == "of the source"

        def test_they_are_gone():
            assert kept[0].closed
        """
    )
    run().assert_outcomes(passed=2)


def test_branch_of_a_wider_bottle_ends_with_the_test(pytester, run):
    """Also of one that all workers share."""
    pytester.makepyfile(
        """
        import pytest

        kept = []

        @pytest.mark.parametrize("scope", [
            pytest.param("module", marks=pytest.mark.bottle(scope="module")),
            pytest.param("run", marks=pytest.mark.bottle(scope="run")),
        ])
        def test_branches(bottle, scope):
            assert all(branch.closed for branch in kept)
            kept.append(bottle.branch())
            kept[-1].write_file("mark", "")
            assert bottle.listdir() == []

        def test_they_are_gone():
            assert all(branch.closed for branch in kept)
        """
    )
    run().assert_outcomes(passed=3)


def test_branch_that_a_fixture_made_ends_with_the_fixture(pytester, run):
    """As a bottle of the factory does."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def ready(bottle_factory):
            bottle = bottle_factory()
            bottle.write_file("ready", "")
            return bottle.branch()

        def test_one(ready):
            ready.write_file("mark", "")

        def test_two(ready):
            assert ready.listdir() == ["mark", "ready"]
        """
    )
    run().assert_outcomes(passed=2)


def test_the_report_shows_branches_as_other_bottles(pytester, run):
    """What each did, and changed since it was branched."""
    pytester.makepyfile(
        """
        def test_it(bottle):
            bottle.write_file("before", "x")
            branch = bottle.branch()
            branch.sh("echo in-the-branch; touch after")
            assert False
        """
    )
    result = run("--bottle-artifacts=artifacts", "--bottle-backend=bubblewrap")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- bottle bottle-*-main-1 -*",
            "*before*",
            "*- bottle bottle-*-main-2 -*",
            "backend: bubblewrap (process sandbox)",
            "    out: in-the-branch",
            "workspace: 1 changes since it was branched",
            "*after*",
        ]
    )
    (record,) = (pytester.path / "artifacts").glob("*/bottle-*-main-2.commands.jsonl")
    assert json.loads(record.read_text())["stdout"] == "in-the-branch\n"
