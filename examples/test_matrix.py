"""Run one test on several backends.

Each backend becomes a leg of its own, `test_...[bubblewrap]` and `test_...[docker]`; a leg whose
backend this host lacks is skipped, with the reason. `--bottle-backend=all` does the same for every
test that does not name a backend itself.
"""

import pytest

pytestmark = pytest.mark.bottle(backend=["bubblewrap", "docker"])


def test_it_is_linux_on_each(bottle):
    assert bottle.exec(["uname", "-s"]).stdout == "Linux\n"


def test_there_is_no_network_on_either(bottle):
    interfaces = bottle.sh("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '").stdout.split()

    assert "eth0" not in interfaces


def test_a_leg_knows_its_backend(bottle, bottle_backend):
    assert bottle.backend == bottle_backend
