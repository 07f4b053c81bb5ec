"""Old and new code side by side on the migrated database: what each migration adds, older code can do without."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Inspector, MetaData, Table, inspect
from sqlalchemy.ext.asyncio import create_async_engine

from backend.db import alembic_config, upgrade_database
from tests.databases import PostgresServer

FIRST = "0001"
# Indexes of an older version that a newer one drops. Each needs a reason why older code goes on without it.
DROPPED = {
    "ix_carts_due": "older workers' claim of idle carts reads the table instead, for as long as both versions run",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Any) -> tuple[str, str]:
    """Return the URLs of a database at the first revision and of one at the newest."""
    if request.param == "sqlite":
        urls = f"sqlite+aiosqlite:///{tmp_path / 'old.db'}", f"sqlite+aiosqlite:///{tmp_path / 'new.db'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        urls = server.url(server.create()), server.url(server.create())
    command.upgrade(alembic_config(urls[0]), FIRST)
    upgrade_database(urls[1])
    return urls


def looked_at(url: str, look: Any) -> Any:
    """Return what `look(connection)` finds in a database."""

    async def looking() -> Any:
        engine = create_async_engine(url)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(look)
        finally:
            await engine.dispose()

    return asyncio.run(looking())


def columns(connection: Connection) -> dict[tuple[str, str], dict[str, Any]]:
    """Return (table, column) -> what the database says of it."""
    seen: Inspector = inspect(connection)
    return {
        (table, str(column["name"])): dict(column)
        for table in seen.get_table_names()
        for column in seen.get_columns(table)
    }


def rules(connection: Connection) -> set[tuple[str, str]]:
    """Return every unique rule and foreign key: what may refuse a row, by table."""
    seen: Inspector = inspect(connection)
    return set(_rules(seen))


def _rules(seen: Inspector) -> Iterator[tuple[str, str]]:
    for table in seen.get_table_names():
        for unique in seen.get_unique_constraints(table):
            yield table, f"unique {sorted(unique['column_names'])}"
        for index in seen.get_indexes(table):
            if index["unique"]:
                yield table, f"unique {sorted(str(name) for name in index['column_names'])}"
        for key in seen.get_foreign_keys(table):
            yield table, f"foreign key {sorted(key['constrained_columns'])}"
        for check in seen.get_check_constraints(table):
            yield table, f"check {check['sqltext']}"


def indexes(connection: Connection) -> set[str]:
    seen: Inspector = inspect(connection)
    return {str(index["name"]) for table in seen.get_table_names() for index in seen.get_indexes(table)}


def test_what_older_code_reads_is_there_and_is_what_it_was(both: tuple[str, str]) -> None:
    old, new = (looked_at(url, columns) for url in both)
    changed = [
        place
        for place, column in old.items()
        if place not in new or str(new[place]["type"]) != str(column["type"])
    ]  # fmt: skip
    assert changed == []


def test_older_code_need_not_fill_what_was_added(both: tuple[str, str]) -> None:
    old, new = (looked_at(url, columns) for url in both)
    tables = {table for table, _ in old}
    demanding = [
        place
        for place, column in new.items()
        if place not in old and place[0] in tables and not column["nullable"] and column["default"] is None
    ]
    assert demanding == []


def test_nothing_that_older_code_leaves_empty_became_required(both: tuple[str, str]) -> None:
    old, new = (looked_at(url, columns) for url in both)
    stricter = [place for place, column in old.items() if column["nullable"] and not new[place]["nullable"]]
    assert stricter == []


def test_no_new_rule_refuses_a_row_of_older_code(both: tuple[str, str]) -> None:
    old, new = (looked_at(url, rules) for url in both)
    tables = {table for table, _ in looked_at(both[0], columns)}
    assert {rule for rule in new - old if rule[0] in tables} == set()


def test_the_indexes_that_older_code_claims_by_are_there_or_their_loss_has_a_reason(both: tuple[str, str]) -> None:
    old, new = (looked_at(url, indexes) for url in both)
    assert old - new <= set(DROPPED)


def test_every_table_takes_a_row_of_the_first_version(both: tuple[str, str]) -> None:
    def old_tables(connection: Connection) -> MetaData:
        found = MetaData()
        found.reflect(connection)
        return found

    old = looked_at(both[0], old_tables)

    def insert_all(connection: Connection) -> set[str]:
        taken = set()
        for table in old.sorted_tables:
            if table.name != "alembic_version":
                connection.execute(table.insert().values(**_row(table)))
                taken.add(table.name)
        return taken

    # As the owner of a superuser's right: Row-Level Security is no matter of the schema's age.
    assert looked_at(_unwalled(both[1]), insert_all) == {*old.tables} - {"alembic_version"}


def _unwalled(url: str) -> str:
    return url.replace("cart_owner@", "postgres@")


def _row(table: Table) -> dict[str, Any]:
    """Return a row with a value in each column; all keys are alike, so that each row belongs to the one before."""
    values = {str: "a", int: 1, bool: True, bytes: b"a", object: {}, datetime: datetime(2026, 1, 5, tzinfo=UTC)}
    return {column.name: values[column.type.python_type] for column in table.columns}


def test_the_migrations_count_up(both: tuple[str, str]) -> None:
    # The number tells an older process that the database is newer, not of another product.
    revisions = [each.revision for each in ScriptDirectory.from_config(alembic_config(both[0])).walk_revisions()]
    assert sorted(revisions, reverse=True) == revisions
    assert all(len(revision) == 4 and revision.isdigit() for revision in revisions)
