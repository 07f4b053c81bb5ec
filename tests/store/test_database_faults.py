"""Dead connections: found at the start they are replaced unseen, later they are told as a fault that passes."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from backend.config import Settings
from backend.db import Database, upgrade_database
from backend.errors import Unavailable
from tests.databases import PostgresServer, running_postgres

OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()"
COMPANIES = "SELECT count(*) FROM companies"
NEW = "INSERT INTO companies (id, name, status, created_at, updated_at) VALUES (:id, :id, 'active', now(), now())"


@pytest.fixture
async def database(postgresql_url: str) -> AsyncIterator[Database]:
    database = Database(Settings(_env_file=None, database_url=postgresql_url))
    yield database
    await database.close()


def end_sessions(server: PostgresServer, database: Database) -> None:
    """End every session of a database, as an operator or a failover does."""
    server.execute(OTHERS.format(database.engine.url.database))


async def count(database: Database) -> int:
    async with database.overview() as tx:
        found: int = (await tx.execute(text(COMPANIES))).scalar_one()
        return found


async def fill_pool(database: Database) -> None:
    """Leave several idle connections in the pool."""
    await asyncio.gather(*(count(database) for _ in range(5)))


async def test_a_connection_that_died_while_idle_is_replaced_unseen(
    postgres_server: PostgresServer, database: Database
) -> None:
    await fill_pool(database)
    end_sessions(postgres_server, database)
    assert await asyncio.gather(*(count(database) for _ in range(5))) == [0] * 5


async def test_a_session_ended_in_mid_transaction_is_told_as_unavailable(
    postgres_server: PostgresServer, database: Database
) -> None:
    async def insert() -> None:
        async with database.transaction("acme") as tx:
            await tx.execute(text(NEW), {"id": "acme"})
            end_sessions(postgres_server, database)
            await tx.execute(text(COMPANIES))

    with pytest.raises(Unavailable):
        await insert()
    assert await count(database) == 0


async def test_a_session_ended_before_its_commit_is_told_as_unavailable(
    postgres_server: PostgresServer, database: Database
) -> None:
    async def insert() -> None:
        async with database.transaction("acme") as tx:
            await tx.execute(text(NEW), {"id": "acme"})
            end_sessions(postgres_server, database)

    with pytest.raises(Unavailable):
        await insert()
    assert await count(database) == 0


async def test_the_one_that_a_deadlock_costs_its_transaction_is_told_as_unavailable(database: Database) -> None:
    async with database.work() as tx:
        for name in ("a", "b"):
            await tx.execute(text(NEW), {"id": name})

    met = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        async with database.work() as tx:
            await tx.execute(text("SELECT id FROM companies WHERE id = :id FOR UPDATE"), {"id": first})
            await met.wait()
            await tx.execute(text("SELECT id FROM companies WHERE id = :id FOR UPDATE"), {"id": second})

    ended = await asyncio.gather(lock("a", "b"), lock("b", "a"), return_exceptions=True)
    assert sorted(type(each).__name__ for each in ended) == ["NoneType", "Unavailable"]


async def test_a_transaction_that_cannot_be_serialized_is_told_as_unavailable(database: Database) -> None:
    async with database.work() as tx:
        await tx.execute(text(NEW), {"id": "a"})

    async def rename() -> None:
        async with database.work() as tx:
            await tx.execute(text("COMMIT"))
            await tx.execute(text("BEGIN ISOLATION LEVEL REPEATABLE READ"))
            await tx.execute(text("SET LOCAL ROLE cart_worker"))
            await tx.execute(text(COMPANIES))
            async with database.work() as other:
                await other.execute(text("UPDATE companies SET name = 'other'"))
            await tx.execute(text("UPDATE companies SET name = 'late'"))

    with pytest.raises(Unavailable):
        await rename()


async def test_a_fault_of_a_statement_stays_what_it_is(database: Database) -> None:
    with pytest.raises(DBAPIError, match="no_such_table"):
        async with database.overview() as tx:
            await tx.execute(text("SELECT * FROM no_such_table"))


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """Return a server that the test may stop."""
    with running_postgres() as server:
        yield server


async def test_the_pool_recovers_after_the_server_was_stopped_at_once_and_started(own_server: PostgresServer) -> None:
    name = own_server.create()
    await asyncio.to_thread(upgrade_database, own_server.url(name))
    database = Database(Settings(_env_file=None, database_url=own_server.url(name)))

    async def lose_the_server() -> None:
        async with database.overview() as tx:
            own_server.stop()
            await tx.execute(text(COMPANIES))

    try:
        await fill_pool(database)
        with pytest.raises(Unavailable):
            await lose_the_server()
        with pytest.raises(Unavailable):
            await count(database)
        own_server.start()
        assert await asyncio.gather(*(count(database) for _ in range(5))) == [0] * 5
    finally:
        await database.close()


async def test_sqlite_that_stays_busy_in_mid_transaction_is_told_as_unavailable(sqlite_url: str) -> None:
    database = Database(Settings(_env_file=None, database_url=sqlite_url))
    with contextlib.closing(sqlite3.connect(str(database.engine.url.database), isolation_level=None)) as other:

        async def update() -> None:
            async with database.reading("acme") as tx:
                await tx.execute(text("PRAGMA busy_timeout = 10"))
                await tx.execute(text(COMPANIES))
                other.execute("BEGIN IMMEDIATE")
                await tx.execute(text("UPDATE companies SET name = 'x'"))

        try:
            with pytest.raises(Unavailable):
                await update()
        finally:
            await database.close()
