"""kill -9 at every named moment: no cart is lost, none takes effect twice."""

from __future__ import annotations

import pytest

from tests.e2e.killing import MOMENTS, kill_at
from tests.e2e.processes import victims
from tests.e2e.scene import set_up
from tests.worlds import World


@pytest.mark.parametrize("moment", MOMENTS)
async def test_every_cart_takes_effect_once_though_a_worker_is_killed(world: World, moment: str) -> None:
    async with set_up(world, 10) as scene, victims() as started:
        account = await kill_at(scene, started, moment, nth=2)
    assert (account.lost, account.doubled, account.faults) == ([], [], [])
