"""What an engine lets a bottle reach past its proxy: refused where nobody would hold it to that."""

from __future__ import annotations

import pytest

ON_BUBBLEWRAP = pytest.mark.bottle_requires("bubblewrap")

ASKED = """
    import pytest

    @pytest.mark.bottle(bottle="dev")
    def test_it(bottle):
        raise AssertionError("it was started")
"""

GUARDED = """
    import types
    from datetime import UTC, datetime
    from pytest_bottle.backends.base import EgressDenial
    from pytest_bottle.testing.fake import FakeBackend

    class Guarded(FakeBackend):
        name = "guarded"
        enforces_egress = True

        def launch(self, plan):
            sandbox = super().launch(plan)
            sandbox.refused = []
            sandbox.denials = lambda: tuple(sandbox.refused)
            return sandbox

    def pytest_bottle_backends(config):
        return [Guarded()]
"""
"""A third party's backend that says that it holds bottles to their lists."""

DENIED = """
    import pytest
    from datetime import UTC, datetime
    from pytest_bottle.backends.base import EgressDenial

    pytestmark = pytest.mark.bottle(backend="guarded", network=["192.0.2.7"], scope="module")

    def refuse(bottle, host):
        now = datetime.now(UTC)
        bottle.sandbox.refused.append(EgressDenial(host=host, port=80, protocol="tcp", time=now))
"""


@ON_BUBBLEWRAP
def test_a_manifests_list_is_never_ignored(pytester, run):
    pytester.makefile(".toml", bottle="[bottles.dev]\negress.network = ['docs.python.org']")
    pytester.makepyfile(ASKED)
    result = run("--bottle-backend=bubblewrap")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*/bottle.toml: bottles.dev.egress.network: the backend 'bubblewrap' "
            'cannot enforce it, and gives no network. Use backend "smolmachines", or '
            "`egress.allow` for what HTTP(S) reaches.*"
        ]
    )


@ON_BUBBLEWRAP
def test_nor_is_a_markers(pytester, run):
    pytester.makepyfile(ASKED.replace('bottle="dev"', 'network=["192.0.2.7"]'))
    result = run("--bottle-backend=bubblewrap")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*test_nor_is_a_markers.py::test_it: network: the backend 'bubblewrap' "
            "cannot enforce it, and gives no network*"
        ]
    )


@ON_BUBBLEWRAP
def test_a_marker_can_take_the_manifests_list_away(pytester, run):
    pytester.makefile(".toml", bottle="[bottles.default]\negress.network = ['docs.python.org']")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.bottle(network=[])
        def test_it(bottle):
            assert bottle.plan.network == ()
            assert bottle.egress.denied == []
        """
    )
    run("--bottle-backend=bubblewrap").assert_outcomes(passed=1)


def test_a_backend_that_does_not_say_that_it_can_cannot(pytester, run):
    pytester.makeconftest(GUARDED.replace("enforces_egress", "enforces_nothing"))
    pytester.makepyfile(ASKED.replace('bottle="dev"', 'backend="guarded", network=["192.0.2.7"]'))
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*network: the backend 'guarded' cannot enforce it*"])


def test_what_was_refused_is_told_in_the_test_that_tried_it(pytester, run):
    """A bottle of several tests does not hold one to account for another."""
    pytester.makeconftest(GUARDED)
    pytester.makepyfile(
        DENIED
        + """
    def test_one(bottle):
        assert bottle.plan.network == ("192.0.2.7",)
        assert bottle.egress.denied == []
        refuse(bottle, "192.0.2.8")
        assert [denial.host for denial in bottle.egress.denied] == ["192.0.2.8"]

    def test_another(bottle):
        assert bottle.egress.denied == []
        refuse(bottle, "192.0.2.9")
        assert [denial.host for denial in bottle.egress.denied] == ["192.0.2.9"]
    """
    )
    run().assert_outcomes(passed=2)
