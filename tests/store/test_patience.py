"""PostgreSQL waits for nothing without end, and holds no locks for a process that is frozen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text

from backend.clock import Clock
from backend.db import CONNECTIONS, Database
from backend.errors import LeaseLost, Unavailable
from backend.services.leases import LeaseKeeper
from tests.worlds import opened_world


@pytest.fixture
async def database(postgresql_url: str) -> AsyncIterator[Database]:
    async with opened_world(postgresql_url) as world:
        yield world.database


async def work_without_end(keeper: LeaseKeeper) -> None:
    with keeper.holding("polls", "nobody's"):
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("setting", "limit"),
    [("statement_timeout", "30s"), ("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "30s")],
)
async def test_a_session_has_limits(database: Database, setting: str, limit: str) -> None:
    async with database.overview() as tx:
        assert (await tx.execute(text(f"SHOW {setting}"))).scalar_one() == limit


async def test_leases_are_looked_after_while_work_has_taken_every_connection(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else a worker that is alive and merely busy would lose what it has in hand to another.
    keeper = LeaseKeeper(database, Clock(), 0.2, "w")
    monkeypatch.setattr(database.engine.sync_engine.pool, "_timeout", 0.2)
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            await stack.enter_async_context(database.work())
        with pytest.raises(Unavailable, match="no connection"):
            async with database.work():
                pass
        with pytest.raises(LeaseLost):  # only the database can have told the keeper that no row has this lease
            await asyncio.wait_for(work_without_end(keeper), 30)
    await keeper.aclose()
