"""What becomes of work whose lease is gone when it is to be renewed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from backend.errors import LeaseLost
from backend.models import integrations
from backend.services.leases import LeaseKeeper
from tests.services.line import Line
from tests.store.rows import change

LEASE = 0.2  # seconds; it is renewed every 0.3 of that
TOKEN = "mine"


@pytest.fixture
async def keeper(line: Line) -> AsyncIterator[LeaseKeeper]:
    keeper = LeaseKeeper(line.world.database, line.clock, LEASE, "w")
    await change(line.world, integrations, line.integration, lease_token=TOKEN, lease_expires_at=line.clock.now())
    yield keeper
    await keeper.aclose()


async def lease(line: Line) -> Any:
    (row,) = await line.rows(integrations)
    return row.lease_expires_at


async def renewed(line: Line) -> None:
    """Wait until the lease was renewed at the clock's present time."""
    before = await lease(line)
    async with asyncio.timeout(30):
        while await lease(line) == before:  # noqa: ASYNC110  the keeper sets no event of ours
            await asyncio.sleep(0.01)


async def work(line: Line, keeper: LeaseKeeper, gate: asyncio.Event) -> str:
    with keeper.holding("polls", TOKEN):
        await gate.wait()
    return "done"


async def test_a_lease_is_renewed_while_its_work_goes_on(line: Line, keeper: LeaseKeeper) -> None:
    gate = asyncio.Event()
    working = asyncio.create_task(work(line, keeper, gate))
    await renewed(line)
    line.clock.move(seconds=5)
    await renewed(line)
    gate.set()
    assert await working == "done"


async def test_work_that_has_given_its_lease_back_is_left_to_end(line: Line, keeper: LeaseKeeper) -> None:
    gate = asyncio.Event()
    with structlog.testing.capture_logs() as lines:
        working = asyncio.create_task(work(line, keeper, gate))
        await renewed(line)
        await change(line.world, integrations, line.integration, lease_token=None)
        await asyncio.sleep(3 * LEASE)  # ten renewals
        gate.set()
        assert (await working, lines) == ("done", [])


async def test_work_whose_lease_ran_out_and_is_gone_is_cut_off(line: Line, keeper: LeaseKeeper) -> None:
    with structlog.testing.capture_logs() as lines:
        working = asyncio.create_task(work(line, keeper, asyncio.Event()))
        await renewed(line)
        await change(line.world, integrations, line.integration, lease_token="another's")
        line.clock.move(seconds=LEASE)
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(working, 30)
    assert [(each["event"], each["why"]) for each in lines] == [("lease.ended", "lost")]
