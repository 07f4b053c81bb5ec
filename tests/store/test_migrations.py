"""The migrations build what the models say, go back, and may be run twice at once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest
import structlog
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from backend.config import ROOT, Settings
from backend.db import alembic_config, prepare_database, upgrade_database
from backend.errors import SetupProblem
from backend.models import metadata
from tests.databases import PostgresServer


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


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, metadata))


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_the_migrations_build_what_the_models_say(empty_database_url: str) -> None:
    upgrade_database(empty_database_url)
    assert looked_at(empty_database_url, differences) == []


def test_the_migrations_go_back_to_nothing_and_up_again(empty_database_url: str) -> None:
    upgrade_database(empty_database_url)
    command.downgrade(alembic_config(empty_database_url), "base")
    assert looked_at(empty_database_url, tables) == set()
    upgrade_database(empty_database_url)
    assert looked_at(empty_database_url, tables) == set(metadata.tables)


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(empty_database_url: str) -> None:
    upgrade_database(empty_database_url)
    upgrade_database(empty_database_url)
    assert looked_at(empty_database_url, tables) == set(metadata.tables)


def upgrade_at_once(*urls: str) -> list[int]:
    """Upgrade databases, each in a process of its own (Alembic is global to one); return how they ended."""
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    running = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, stderr=subprocess.DEVNULL)
        for url in urls
    ]
    return [process.wait(timeout=60) for process in running]


def test_two_upgrades_at_once_build_it_once(empty_database_url: str) -> None:
    assert upgrade_at_once(empty_database_url, empty_database_url) == [0, 0]
    assert looked_at(empty_database_url, tables) == set(metadata.tables)


def test_two_databases_of_one_server_are_upgraded_at_once(postgres_server: PostgresServer) -> None:
    # The roles belong to the whole server: both upgrades want to make them.
    urls = [postgres_server.url(postgres_server.create()) for _ in range(2)]
    assert upgrade_at_once(*urls) == [0, 0]
    assert [looked_at(url, tables) for url in urls] == [set(metadata.tables)] * 2


def set_revision(url: str, revision: str) -> None:
    def change(connection: Connection) -> None:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
        connection.commit()

    looked_at(url, change)


@pytest.mark.parametrize("auto_migrate", [True, False])
def test_the_schema_of_a_newer_version_is_told_and_left_alone(empty_database_url: str, auto_migrate: bool) -> None:
    upgrade_database(empty_database_url)
    set_revision(empty_database_url, "9999")
    before = looked_at(empty_database_url, tables)
    settings = Settings(_env_file=None, database_url=empty_database_url, auto_migrate=auto_migrate)
    with structlog.testing.capture_logs() as logged:
        asyncio.run(prepare_database(settings))
    assert [(line["event"], line["revision"]) for line in logged] == [("database.newer", "9999")]
    assert looked_at(empty_database_url, tables) == before


def test_the_schema_of_another_product_is_refused(empty_database_url: str) -> None:
    upgrade_database(empty_database_url)
    set_revision(empty_database_url, "8f3a6c21e0bd")
    settings = Settings(_env_file=None, database_url=empty_database_url, auto_migrate=True)
    with pytest.raises(SetupProblem, match="8f3a6c21e0bd"):
        asyncio.run(prepare_database(settings))


def test_an_older_schema_is_refused_with_the_command_that_helps(postgres_server: PostgresServer) -> None:
    url = postgres_server.url(postgres_server.create())
    command.upgrade(alembic_config(url), "0001")
    with pytest.raises(SetupProblem, match=r"is at revision 0001, .* run `make migrate`"):
        asyncio.run(prepare_database(Settings(_env_file=None, database_url=url)))
