"""A worker that was stopped for longer than its lease changes nothing, and then works on like any other."""

from __future__ import annotations

import pytest

from tests.e2e.processes import victims
from tests.e2e.scene import set_up
from tests.e2e.stalling import MOMENTS, stall_at
from tests.worlds import World


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_worker_stopped_past_its_lease_changes_nothing(world: World, moment: str) -> None:
    async with set_up(world, 10) as scene, victims() as started:
        account = await stall_at(scene, started, moment, nth=2)
    assert (account.lost, account.doubled, account.faults) == ([], [], [])
