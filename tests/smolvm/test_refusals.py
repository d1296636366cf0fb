"""What cannot be a microVM is refused before anything starts."""

from __future__ import annotations

import pytest

from pytest_bottle.errors import CapabilityError


def test_too_little_memory(bottle_factory, smolvm):
    before = smolvm.machine_ls()
    with pytest.raises(CapabilityError, match="too little for a microVM"):
        bottle_factory(memory="16M", golden=False)
    assert smolvm.machine_ls() == before
