"""Pytest's hooks, each a few lines; what they do is elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle import doctor
from pytest_bottle import fixtures
from pytest_bottle import gates
from pytest_bottle import hookspecs
from pytest_bottle import markers
from pytest_bottle import outcomes
from pytest_bottle import reporting
from pytest_bottle.errors import BottleError
from pytest_bottle.errors import OptionError
from pytest_bottle.fixtures import MATRIX
from pytest_bottle.fixtures import parametrized_backend
from pytest_bottle.options import add_options
from pytest_bottle.retries import run_with_retries
from pytest_bottle.session import SESSION_KEY
from pytest_bottle.session import BottleSession

if TYPE_CHECKING:
    from collections.abc import Generator

    from _pytest.terminal import TerminalReporter


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the plugin's own hooks."""
    pluginmanager.add_hookspecs(hookspecs)
    pluginmanager.register(fixtures, fixtures.__name__)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the settings."""
    add_options(parser)
    doctor.add_option(parser)


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Examine the host instead of running tests, where that is asked for."""
    if not config.getoption(doctor.FLAG):
        return None
    # As pytest's own --version and --fixtures do: nothing else has configured it by then.
    config._do_configure()  # noqa: SLF001
    try:
        return doctor.examine(config.stash[SESSION_KEY])
    finally:
        config._ensure_unconfigure()  # noqa: SLF001


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings and register the markers."""
    for line in markers.DECLARATIONS:
        config.addinivalue_line("markers", line)
    try:
        session = BottleSession(config)
    except OptionError as problem:
        raise pytest.UsageError(str(problem)) from None
    config.stash[SESSION_KEY] = session
    # For runs that end before they have a session to finish.
    config.add_cleanup(session.finish)


def pytest_plugin_registered(plugin: object, manager: pytest.PytestPluginManager) -> None:
    """Hear a conftest file of which pytest only learns while it collects."""
    config: pytest.Config | None = manager.getplugin("pytestconfig")
    session = None if config is None else config.stash.get(SESSION_KEY, None)
    if session is not None:
        session.hear(plugin)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse settings that name what there is not."""
    state = session.config.stash[SESSION_KEY]
    if state.identity.controller is None and state.options.has_references:
        try:
            state.engine.check_options()
        except BottleError as problem:
            raise pytest.UsageError(str(problem)) from None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - xdist may be absent
    """Tell an xdist worker which run it belongs to."""
    from pytest_bottle.state.owner import Owner  # Others need not pay.

    session = node.config.stash[SESSION_KEY]
    node.workerinput["bottle_run"] = session.identity.run_id
    node.workerinput["bottle_controller"] = Owner.current().encode()
    node.workerinput["bottle_answers"] = session.answers


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ANN401, ARG001
    """Collect whether a worker used bottles, what it kept, and what it could not remove."""
    output = getattr(node, "workeroutput", {})
    session = node.config.stash[SESSION_KEY]
    session.workers_started |= output.get("bottle_started", False)
    session.kept += output.get("bottle_kept", [])
    session.problems += output.get("bottle_problems", [])


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Name the backend."""
    try:
        return reporting.header(config.stash[SESSION_KEY])
    except BottleError as problem:
        raise pytest.UsageError(str(problem)) from None


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Check a test's markers, and run it on each backend of the matrix."""
    session = metafunc.config.stash[SESSION_KEY]
    node: Any = metafunc.definition
    try:
        if any(True for _ in node.iter_markers(markers.BOTTLE)):
            session.engine.check(node)
        gates.check(session, node)
        if MATRIX not in metafunc.fixturenames or markers.parametrizes(node, "bottle_backend"):
            return
        backends = session.engine.matrix_for(node)
    except BottleError as problem:
        raise pytest.Collector.CollectError(str(problem)) from problem
    if backends:
        metafunc.parametrize(MATRIX, backends, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test again where its sandbox failed under it, if that was asked for."""
    session = item.config.stash[SESSION_KEY]
    if not session.options["infra-retries"]:
        return None
    run_with_retries(session, item, nextitem)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember the test, and enforce its gates before any fixture is set up."""
    session = item.config.stash[SESSION_KEY]
    session.begin(item)
    gates.enforce(session, item, parametrized_backend(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test whose agents asked what nobody had an answer to, if it has not noticed."""
    yield
    state = item.config.stash[SESSION_KEY].current
    for use in () if state is None else state.uses:
        use.bottle.check_door()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Remember that the test's fixtures are ending."""
    state = item.config.stash[SESSION_KEY].current
    if state is not None:
        state.ending = True


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any],  # noqa: ARG001
    request: pytest.FixtureRequest,
) -> Generator[None, object, object]:
    """Remember the fixture that is being set up, whose end ends what it asks for."""
    session = request.config.stash[SESSION_KEY]
    session.requests.append(request)
    try:
        return (yield)
    except Exception as problem:
        if request.scope != "function" and outcomes.is_infra(problem):
            session.broken.append(request)
        raise
    finally:
        session.requests.pop()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Describe a failed test's bottles while they still stand."""
    session = item.config.stash[SESSION_KEY]
    state = session.current
    if call.excinfo is None and (state is None or not state.uses):
        return (yield)
    from pytest_bottle import failures  # Tests without bottles need not pay.

    only_words = failures.trim_traceback(item, call)
    report = yield
    if call.excinfo is not None and only_words:
        report.longrepr = call.excinfo.getrepr(style="value", chain=False)
    outcome = None if call.excinfo is None else outcomes.outcome_of(call.excinfo.value)
    if outcome is not None:
        outcomes.mark_outcome(item, report, outcome)
    if report.failed and state is not None:
        state.failed = True
        if call.when != "teardown":
            failures.describe_failure(session, report)
    if call.when == "call" or (report.failed and call.when == "setup"):
        failures.report_costs(session, item, report)
        failures.write_transcript(session, report)
    return report


def pytest_report_teststatus(
    report: pytest.TestReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Give infra errors an outcome of their own."""
    return outcomes.status(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tear down what is left; fail a run that lacks what it requires."""
    state = session.config.stash[SESSION_KEY]
    workeroutput = getattr(session.config, "workeroutput", None)
    if workeroutput is None and not session.config.option.collectonly:
        try:
            state.missing = gates.missing_requirements(state)
        except BottleError as problem:
            state.problems.append(str(problem))
    started = state.started
    state.finish()
    if workeroutput is not None:
        workeroutput["bottle_started"] = started
        workeroutput["bottle_kept"] = state.kept
        workeroutput["bottle_problems"] = state.problems
    unnoticed = {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
    if (state.missing or state.problems) and exitstatus in unnoticed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Write what pytest's own summary does not."""
    reporting.summarize(terminalreporter.config.stash[SESSION_KEY], terminalreporter)
