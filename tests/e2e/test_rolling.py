"""A rolling restart under work: workers are replaced one by one, and nobody can tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from tests.e2e.processes import victims
from tests.e2e.scene import Scene, set_up, until
from tests.worlds import World, opened_world


@pytest.fixture
async def large(postgresql_url: str) -> AsyncIterator[World]:
    """Return a world on PostgreSQL, on which several workers may run."""
    async with opened_world(postgresql_url) as world:
        yield world


async def test_workers_replaced_one_by_one_under_work_lose_and_double_nothing(large: World) -> None:
    async with set_up(large, 60) as scene, victims() as started:
        first, second = await started.start(scene.orders()), await started.start(scene.orders())
        await go_on(scene, "before")
        codes = [await first.end()]
        await go_on(scene, "alone")
        third = await started.start(scene.orders())
        await go_on(scene, "beside")
        codes.append(await second.end())
        await scene.finished()
        codes.append(await third.end())
        account = await scene.close_account()
    assert (codes, account.lost, account.doubled, account.faults) == ([0, 0, 0], [], [], [])
    assert account.repeated == 0  # in order is not killed: nothing is even sent twice


async def go_on(scene: Scene, name: str) -> None:
    """Let more carts come, and wait until some of what waits was handed off, but not all."""
    before = len(scene.arrived())
    for number in range(20):
        scene.abandon("s0", f"s0-{name}{number}", datetime.now().astimezone() - timedelta(minutes=2))
    await until(lambda: len(scene.arrived()) >= min(before + 10, len(scene.expected)))
