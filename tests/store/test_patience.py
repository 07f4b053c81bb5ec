"""PostgreSQL waits for nothing without end, and holds no locks for a process that is frozen."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from backend.db import Database
from tests.worlds import opened_world


@pytest.fixture
async def database(postgresql_url: str) -> AsyncIterator[Database]:
    async with opened_world(postgresql_url) as world:
        yield world.database


@pytest.mark.parametrize(
    ("setting", "limit"),
    [("statement_timeout", "30s"), ("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "30s")],
)
async def test_a_session_has_limits(database: Database, setting: str, limit: str) -> None:
    async with database.overview() as tx:
        assert (await tx.execute(text(f"SHOW {setting}"))).scalar_one() == limit
