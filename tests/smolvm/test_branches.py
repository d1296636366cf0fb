"""Bottles that are branches of one golden machine."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_three_branches_do_not_see_each_other(bottle_factory, smolvm):
    """Nor do they share a name, or what tells one machine from another."""
    bottles = [bottle_factory(agent="reviewer") for _ in range(3)]
    sources = {machine.parent for machine in smolvm.machine_ls() if machine.parent}
    assert len(sources) == 1, "all come from one that was provisioned once"
    for bottle in bottles:
        assert bottle.listdir() == []
        bottle.write_file("own", bottle.name)
    assert [bottle.read_file("own") for bottle in bottles] == [one.name for one in bottles]
    assert [bottle.exec(["hostname"]).stdout.strip() for bottle in bottles] == [
        bottle.name for bottle in bottles
    ]
    identities = {bottle.read_file("/etc/machine-id") for bottle in bottles}
    assert len(identities) == len(bottles)


def test_a_process_goes_on_in_a_branch(bottle_factory):
    bottle = bottle_factory(agent="silent")
    bottle.sh("(while :; do echo x >> beats; sleep 0.2; done) >/dev/null 2>&1 &").check()
    with bottle.branch() as branch:
        before = branch.sh("wc -c < beats").stdout
        branch.sh("sleep 1").check()
        assert int(branch.sh("wc -c < beats").stdout) > int(before)
