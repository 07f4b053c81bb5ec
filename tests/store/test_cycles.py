"""Counting up a cycle: many at once, and never in anybody's way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import select

from backend.db import Database
from backend.domain.work import Tally
from backend.models import poll_cycle_counts
from backend.store.cycles import CycleStore, add_counts
from tests.factories import make_company
from tests.worlds import World

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HERE = ("cycle", "worker")


@pytest.fixture
async def company(world: World) -> str:
    """Return a company, while one cycle runs."""
    async with world.database.work() as tx:
        await CycleStore(tx).begin("cycle", "beat", 30, NOON)
    return await make_company(world)


def tally(carts: int, currency: str = "USD") -> Tally:
    made = Tally(platforms={currency.lower()})
    made.counts["carts_new"] = carts
    made.add_value(currency, Decimal(carts))
    return made


async def add(database: Database, company: str, counted: Tally, *, pause: float = 0) -> None:
    async with database.transaction(company) as tx:
        await add_counts(tx, company, HERE, counted)
        await asyncio.sleep(pause)


async def test_counts_add_up(world: World, company: str) -> None:
    for counted in (tally(2), tally(3), tally(1, "EUR")):
        await add(world.database, company, counted)
    async with world.database.work() as tx:
        ((_, _, total),) = await CycleStore(tx).counts(["cycle"])
    assert (total.counts["carts_new"], total.value) == (6, {"USD": Decimal(5), "EUR": Decimal(1)})
    assert total.platforms == {"usd", "eur"}


async def test_the_first_two_to_count_at_once_both_count(world: World, company: str) -> None:
    # Two stores of one company, polled by a worker that did not begin the cycle.
    await asyncio.gather(*(add(world.database, company, tally(1), pause=0.05) for _ in range(4)))
    async with world.database.work() as tx:
        found = (await tx.execute(select(poll_cycle_counts.c.carts_new))).all()
    assert [row[0] for row in found] == [4]


async def test_a_cycle_that_is_no_longer_kept_is_not_counted(world: World, company: str) -> None:
    async with world.database.work() as tx:
        await CycleStore(tx).prune(NOON.replace(year=2027))
    await add(world.database, company, tally(1))
    async with world.database.work() as tx:
        assert await CycleStore(tx).counts(["cycle"]) == []


async def test_a_cycle_is_begun_by_one_of_two(world: World) -> None:
    other = Database(world.settings)

    async def begun(database: Database) -> bool:
        async with database.work() as tx:
            return await CycleStore(tx).begin("cycle", "beat", 30, NOON)

    try:
        assert sorted(await asyncio.gather(begun(world.database), begun(other))) == [False, True]
    finally:
        await other.close()
