"""Alembic's environment: one asynchronous connection, one transaction for all; a second run at once waits."""

from __future__ import annotations

import asyncio

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import create_async_engine

from backend.config import load_settings
from backend.db import begin_sqlite, set_up_sqlite
from backend.errors import SetupProblem
from backend.models import metadata


def migrate(connection: Connection) -> None:
    """Run the migrations on an open connection; two runs at once wait for each other."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=False, transactional_ddl=True)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(7211640512)"))
        context.run_migrations()


def url_of_settings() -> str:
    """Return the database of the settings. Raises `CommandError`, which Alembic's command tells in one line."""
    try:
        return load_settings().async_database_url
    except SetupProblem as problem:
        raise CommandError(str(problem)) from problem


async def main() -> None:
    """Connect and migrate."""
    url = context.config.attributes.get("url") or url_of_settings()
    engine = create_async_engine(url, hide_parameters=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", set_up_sqlite)
        event.listen(engine.sync_engine, "begin", begin_sqlite)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
            await connection.commit()
    finally:
        await engine.dispose()


asyncio.run(main())
