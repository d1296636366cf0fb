"""The settings: a command-line option, else an environment variable, else an ini key."""

from __future__ import annotations

import pytest

SHOW = """
    def test_show(bottle, request):
        for line in request.config.getoption("--show").split(","):
            assert eval(line) is True, line
"""

SHOW_OPTION = """
    def pytest_addoption(parser):
        parser.addoption("--show", default="True")
"""


@pytest.fixture
def suite(pytester, fake_backend):
    """A suite of one test, in which `--show=EXPRESSION` has to be true."""
    fake_backend(more=SHOW_OPTION)
    pytester.makepyfile(SHOW)


@pytest.mark.usefixtures("suite")
def test_ini_key_is_heard(pytester, run):
    """Every option is an ini key as well."""
    pytester.makeini("[pytest]\nbottle_backend = fake\nbottle_timeout = 11\n")
    run("--show=bottle.backend == 'fake',bottle.plan.timeout == 11").assert_outcomes(passed=1)


@pytest.mark.usefixtures("suite")
def test_environment_goes_before_ini_key(pytester, run, monkeypatch):
    """A machine may differ from what the project says."""
    pytester.makeini("[pytest]\nbottle_backend = fake\nbottle_timeout = 11\n")
    monkeypatch.setenv("BOTTLE_TIMEOUT", "12")
    run("--show=bottle.backend == 'fake',bottle.plan.timeout == 12").assert_outcomes(passed=1)


@pytest.mark.usefixtures("suite")
def test_option_goes_before_environment(pytester, run, monkeypatch):
    """One run may differ from what the machine says."""
    pytester.makeini("[pytest]\nbottle_timeout = 11\n")
    monkeypatch.setenv("BOTTLE_TIMEOUT", "12")
    run("--bottle-timeout=13", "--show=bottle.plan.timeout == 13").assert_outcomes(passed=1)


@pytest.mark.usefixtures("suite")
def test_native_toml_takes_lists(pytester, run):
    """What is a list is written as one where pytest's configuration is TOML."""
    pytester.makefile(".toml", pytest='[pytest]\nbottle_backend = ["fake"]\nbottle_slots = "3"\n')
    run("--show=bottle.backend == 'fake'").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--bottle-backend=", "it names nothing."),
        ("--bottle-scope=modul", "'modul' is not one of function, class, module, session, run."),
        ("--bottle-scope=", "'' is not one of function, class, module, session, run."),
        ("--bottle-keep=sometimes", "'sometimes' is not one of never, failed, always."),
        ("--bottle-artifacts=", "an empty path names no directory."),
        ("--bottle-slots=-1", "'-1' is not a whole number, 0 or above."),
        ("--bottle-timeout=soon", "'soon' is not a number of seconds above 0."),
        ("--bottle-infra-retries=1.5", "'1.5' is not a whole number, 0 or above."),
        ("--bottle-manifest=nowhere.toml", "there is no file */nowhere.toml."),
        ("--bottle-backend=dokcer", "there is no backend 'dokcer'. Did you mean 'docker'?"),
        ("--bottle-require=doker", "there is no capability 'doker'. Did you mean 'docker'?"),
    ],
)
def test_wrong_value_is_a_usage_error_that_names_the_option(pytester, run, option, message):
    """Nothing is collected, and nothing is started."""
    pytester.makepyfile("def test_it(): pass")
    result = run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    name = option.partition("=")[0]
    result.stderr.fnmatch_lines([f"ERROR: {name} (from command line): {message}"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_wrong_value_of_a_variable_names_the_variable(run, monkeypatch):
    """The reader of a CI log has to know where to look."""
    monkeypatch.setenv("BOTTLE_KEEP", "yes")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --bottle-keep (from environment variable BOTTLE_KEEP): 'yes' is not one of *"]
    )


def test_wrong_value_of_an_ini_key_names_the_key(pytester, run):
    """The option's name is what the documentation is sorted by."""
    pytester.makeini("[pytest]\nbottle_scope = global\n")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --bottle-scope (from ini key bottle_scope): 'global' is not one of *"]
    )


def test_unknown_name_is_a_usage_error_under_xdist_too(pytester, run):
    """It is said once, by the process that the person started."""
    pytester.makepyfile("def test_it(): pass")
    result = run("-n2", "--bottle-backend=dokcer")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --bottle-backend (from command line): *"])


def test_unsafe_state_directory_is_a_usage_error(pytester, run, monkeypatch):
    """Where the run's state cannot be kept, nothing is started."""
    file = pytester.path / "file"
    file.touch()
    monkeypatch.setenv("BOTTLE_STATE_DIR", str(file))
    result = run("--bottle-scope=run")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: refused to keep state in {file}: *BOTTLE_STATE_DIR*"])


def test_manifest_option_replaces_the_nearest_one(pytester, run):
    """Also for a test that changes its directory."""
    pytester.makefile(".toml", bottle="[bottles.near]\n", other="[bottles.other]\n")
    pytester.makepyfile(
        """
        def test_it(monkeypatch, tmp_path, request):
            monkeypatch.chdir(tmp_path)
            manifest = request.getfixturevalue("bottle_manifest")
            assert set(manifest.bottles) == {"other"}
        """
    )
    run("--bottle-manifest=other.toml").assert_outcomes(passed=1)


def test_path_in_an_ini_file_is_below_that_file(pytester, run):
    """Wherever pytest was called."""
    pytester.makefile(".toml", other="[bottles.other]\n")
    pytester.makeini("[pytest]\nbottle_manifest = other.toml\n")
    directory = pytester.mkdir("tests")
    (directory / "test_it.py").write_text(
        "def test_it(bottle_manifest): assert set(bottle_manifest.bottles) == {'other'}"
    )
    pytester.chdir()
    run(f"--rootdir={pytester.path}", "-c", "tox.ini", "tests").assert_outcomes(passed=1)


def test_timeout_option_ends_a_command(pytester, run):
    """It is the limit of commands for which nobody else set one."""
    pytester.makepyfile(
        """
        import pytest

        def test_it(bottle):
            with pytest.raises(TimeoutError, match="timed out after 0.3 s"):
                bottle.exec(["sleep", "60"])
            assert bottle.exec(["sleep", "0.4"], timeout=5).success
        """
    )
    run("--bottle-timeout=0.3").assert_outcomes(passed=1)


def test_help_explains_every_option(run):
    """With its metavar and its default."""
    result = run("--help")
    result.stdout.fnmatch_lines(
        [
            "isolated sandboxes for coding agents:",
            "  --bottle-backend=NAME*",
            "  --bottle-scope=SCOPE*",
            "  --bottle-keep=WHEN*",
            "  --bottle-artifacts=DIR*",
            "  --bottle-require=NAMES*",
            "  --bottle-slots=N*",
            "  --bottle-timeout=SECONDS*",
            "  --bottle-infra-retries=N*",
            "  --bottle-manifest=FILE*",
        ]
    )


def test_header_names_the_backend_and_what_was_seen(pytester, run):
    """Where a suite shows that it uses bottles; other suites need not wait for a probe."""
    pytester.makefile(".toml", bottle="")
    pytester.makepyfile("def test_it(): pass")
    run("--bottle-require=linux").stdout.fnmatch_lines(
        ["bottle: bubblewrap (process sandbox): * [[]* s[]]", "bottle: requires linux"]
    )


def test_header_says_what_is_missing(pytester, run, fake_backend):
    """A person sees at once why half of a matrix will be skipped."""
    fake_backend(unavailable="it is broken")
    pytester.makepyfile("def test_it(): pass")
    run("--bottle-backend=fake").stdout.fnmatch_lines(
        ["bottle: fake (none): missing: it is broken [[]* s[]]"]
    )


def test_header_probes_nothing_where_nobody_asked(pytester, run, state):
    """A suite that has the plugin installed, and no bottles, stays as it was."""
    pytester.makepyfile("def test_it(): pass")
    run().stdout.fnmatch_lines(["bottle: backend auto (probed when a test asks for a bottle)"])
    assert not list(state.root.iterdir())
