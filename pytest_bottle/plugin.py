"""Pytest's hooks, each a line or two; what they do is elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_bottle import doctor
from pytest_bottle import gates
from pytest_bottle import hookspecs
from pytest_bottle import reporting
from pytest_bottle.errors import AuthorError
from pytest_bottle.errors import OptionError
from pytest_bottle.fixtures import bottle
from pytest_bottle.fixtures import bottle_backend
from pytest_bottle.fixtures import bottle_factory
from pytest_bottle.fixtures import bottle_manifest
from pytest_bottle.fixtures import bottle_shelf_class
from pytest_bottle.fixtures import bottle_shelf_module
from pytest_bottle.fixtures import bottle_shelf_run
from pytest_bottle.fixtures import bottle_shelf_session
from pytest_bottle.fixtures import parametrized_backend
from pytest_bottle.options import add_options
from pytest_bottle.retries import run_with_retries
from pytest_bottle.session import MARKER
from pytest_bottle.session import SESSION_KEY
from pytest_bottle.session import BottleSession
from pytest_bottle.session import ItemState

if TYPE_CHECKING:
    from collections.abc import Generator

    from _pytest.terminal import TerminalReporter

__all__ = [
    "bottle",
    "bottle_backend",
    "bottle_factory",
    "bottle_manifest",
    "bottle_shelf_class",
    "bottle_shelf_module",
    "bottle_shelf_run",
    "bottle_shelf_session",
]

_MARKERS = (
    f"{MARKER}(agent=None, bottle=None, backend=None, image=None, scope=None, **overrides): the "
    "bottle that this test's `bottle` fixture is",
    f"{gates.MARKER}(*capabilities): skip this test, with the reason, where the host lacks one of "
    "them; fail it where --bottle-require names it",
)
_BOTTLE_FIXTURES = frozenset({"bottle", "bottle_backend", "bottle_factory"})


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the plugin's own hooks."""
    pluginmanager.add_hookspecs(hookspecs)


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
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    try:
        config.stash[SESSION_KEY] = BottleSession(config)
    except OptionError as problem:
        raise pytest.UsageError(str(problem)) from None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - xdist may be absent
    """Tell an xdist worker which run it belongs to."""
    # Only with xdist, so that other runs do not pay for it.
    from pytest_bottle.state.owner import Owner

    session = node.config.stash[SESSION_KEY]
    node.workerinput["bottle_run"] = session.identity.run_id
    node.workerinput["bottle_controller"] = Owner.current().encode()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ANN401, ARG001
    """Collect what a worker could not remove."""
    problems = getattr(node, "workeroutput", {}).get("bottle_problems", [])
    node.config.stash[SESSION_KEY].problems += problems


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Name the backend."""
    return reporting.header(config.stash[SESSION_KEY])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Check a test's markers, and run it on each backend of the matrix."""
    session = metafunc.config.stash[SESSION_KEY]
    node: Any = metafunc.definition
    try:
        if any(True for _ in node.iter_markers(MARKER)):
            session.check(node)
        gates.check(session, node)
        if _BOTTLE_FIXTURES.isdisjoint(metafunc.fixturenames):
            return
        backends = session.backends_for(node)
    except AuthorError as problem:
        raise pytest.Collector.CollectError(str(problem)) from problem
    if len(backends) > 1:
        if "bottle_backend" not in metafunc.fixturenames:
            metafunc.fixturenames.append("bottle_backend")
        metafunc.parametrize("bottle_backend", backends, indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Remember the running test."""
    session = item.config.stash[SESSION_KEY]
    session.current = ItemState(item)
    try:
        return (yield)
    finally:
        session.current = None


@pytest.hookimpl(specname="pytest_runtest_protocol")
def run_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test again where its sandbox failed under it, if that was asked for."""
    session = item.config.stash[SESSION_KEY]
    if not session.options["infra-retries"]:
        return None
    run_with_retries(session, item, nextitem)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Enforce the gates before any fixture is set up."""
    session = item.config.stash[SESSION_KEY]
    gates.enforce(session, item, parametrized_backend(item))


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
    finally:
        session.requests.pop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Describe a failed test's bottles while they still stand."""
    report = yield
    session = item.config.stash[SESSION_KEY]
    if report.failed and session.current is not None:
        session.current.failed = True
        if call.excinfo is not None and reporting.is_infra(call.excinfo.value):
            report.bottle_infra = True
            report.user_properties.append(("bottle.outcome", reporting.INFRA))
        if call.when != "teardown":
            reporting.describe_failure(session, report)
    return report


def pytest_report_teststatus(
    report: pytest.TestReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Give infra errors an outcome of their own."""
    return reporting.status(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tear down what is left; fail a run that lacks what it requires."""
    state = session.config.stash[SESSION_KEY]
    workeroutput = getattr(session.config, "workeroutput", None)
    if workeroutput is None and not session.config.option.collectonly:
        state.missing = gates.missing_requirements(state)
        if state.missing and exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    state.finish()
    if workeroutput is not None:
        workeroutput["bottle_problems"] = state.problems
    elif state.problems and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Write what pytest's own summary does not."""
    reporting.summarize(terminalreporter.config.stash[SESSION_KEY], terminalreporter)
