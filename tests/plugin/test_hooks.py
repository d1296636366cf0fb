"""The plugin's own hooks: backends, agents, provisioners and capabilities of third parties."""

from __future__ import annotations


def test_backend_of_a_conftest(pytester, run):
    """It is chosen by name, like a built-in one, and told its plan."""
    pytester.makeconftest(
        """
        from pytest_bottle.testing.fake import FakeBackend

        class Mine(FakeBackend):
            name = "mine"
            wall = "paper"

        def pytest_bottle_backends(config):
            return [Mine()]
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(backend="mine", env={"ROLE": "guest"})
        def test_it(bottle):
            assert (bottle.backend, bottle.wall) == ("mine", "paper")
            assert bottle.sh("echo $ROLE").stdout == "guest\\n"
        """
    )
    run().assert_outcomes(passed=1)


def test_agent_of_a_conftest(pytester, run):
    """A manifest can name its kind, and `run_agent` runs what it says."""
    pytester.makeconftest(
        """
        from pytest_bottle.agents.command import CommandAgent

        class Parrot(CommandAgent):
            kind = "parrot"

            def argv(self, agent, prompt, *, prompt_path, max_turns, resume):
                return ["echo", agent.name, "says", prompt]

        def pytest_bottle_agents(config):
            return [Parrot()]
        """
    )
    pytester.makefile(".toml", bottle='[agents.polly]\nkind = "parrot"\n')
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(agent="polly")
        def test_it(bottle):
            assert bottle.run_agent("hello").stdout == "polly says hello\\n"
        """
    )
    run().assert_outcomes(passed=1)


def test_unknown_agent_kind_names_the_known_ones(pytester, run):
    """Those of plugins among them."""
    pytester.makefile(".toml", bottle='[agents.polly]\nkind = "comand"\n')
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(agent="polly")
        def test_it(bottle): pass
        """
    )
    run().stdout.fnmatch_lines(
        ["*bottle.toml: agents.polly.kind: there is no agent kind 'comand'. *'command'?"]
    )


def test_provisioner_of_a_conftest(pytester, run):
    """Its steps come after the built-in ones, and see what those have done."""
    pytester.makeconftest(
        """
        from pytest_bottle.provision.steps import PutFile
        from pytest_bottle.provision.steps import Run

        def greet(plan, paths):
            greeting = f"Welcome to {plan.name}".encode()
            return [
                PutFile(path=f"{paths.workdir}/greeting", content=greeting),
                Run(argv=("cp", "/workspace/given", "/workspace/copied")),
            ]

        def pytest_bottle_provisioners(config):
            return [greet]
        """
    )
    pytester.makefile(
        ".toml", bottle='[bottles.default.files]\n"/workspace/given" = { text = "x" }\n'
    )
    pytester.makepyfile(
        """
        def test_it(bottle):
            assert bottle.read_file("greeting") == f"Welcome to {bottle.name}"
            assert bottle.read_file("copied") == "x"
            assert not bottle.diff()
        """
    )
    run("--bottle-backend=bubblewrap").assert_outcomes(passed=1)


def test_capability_of_a_conftest(pytester, run):
    """A gate can name it, and `--markers` need not know."""
    pytester.makeconftest(
        """
        from pytest_bottle.backends.base import Probe

        def pytest_bottle_capabilities(config):
            return {"lamp": lambda: Probe(ok=True, detail="it shines")}
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle_requires("lamp")
        def test_it(): pass
        """
    )
    run("--bottle-require=lamp").assert_outcomes(passed=1)


def test_hooks_of_several_plugins_add_up(pytester, run):
    """Each may give several."""
    pytester.makeconftest(
        """
        from pytest_bottle.backends.base import Probe

        pytest_plugins = ["other"]
        YES = Probe(ok=True, detail="yes")

        def pytest_bottle_capabilities(config):
            return {"one": lambda: YES, "two": lambda: YES}
        """
    )
    pytester.makepyfile(
        other="""
        from pytest_bottle.backends.base import Probe

        def pytest_bottle_capabilities(config):
            return {"three": lambda: Probe(ok=True, detail="yes")}
        """,
        test_it="""
        import pytest

        @pytest.mark.bottle_requires("one", "two", "three")
        def test_it(): pass
        """,
    )
    run().assert_outcomes(passed=1)


def test_conftest_of_a_subdirectory_is_heard(pytester, run):
    """Of a directory that pytest comes to know while it collects."""
    directory = pytester.mkpydir("deep").joinpath("deeper")
    directory.mkdir()
    (directory / "conftest.py").write_text(
        "from pytest_bottle.testing.fake import FakeBackend\n"
        "def pytest_bottle_backends(config): return [FakeBackend()]\n"
    )
    (directory / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.bottle(backend='fake')\n"
        "def test_it(bottle): assert bottle.backend == 'fake'\n"
    )
    pytester.makepyfile(test_a="def test_first(bottle): pass")
    run("--bottle-require=linux").assert_outcomes(passed=2)
