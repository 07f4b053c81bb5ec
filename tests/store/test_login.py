"""The login that the service uses: it must not see across companies by itself (PostgreSQL only)."""

from __future__ import annotations

import pytest

from backend.config import Settings
from backend.db import prepare_database
from backend.errors import SetupProblem
from tests.databases import PostgresServer

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def settings(url: str, **fields: str) -> Settings:
    return Settings(_env_file=None, database_url=url, master_key=KEY, **fields)  # type: ignore[arg-type]


async def test_the_login_of_the_tests_may_start(postgresql_url: str) -> None:
    await prepare_database(settings(postgresql_url))


async def test_a_login_that_inherits_the_workers_role_is_refused(
    postgresql_url: str, postgres_server: PostgresServer
) -> None:
    postgres_server.execute("CREATE ROLE heir LOGIN NOSUPERUSER")
    postgres_server.execute("GRANT cart_worker TO heir WITH INHERIT TRUE, SET TRUE")
    postgres_server.execute("GRANT cart_owner TO heir WITH INHERIT TRUE")
    try:
        with pytest.raises(SetupProblem, match="heir sees every company's rows"):
            await prepare_database(settings(postgresql_url.replace("cart_owner", "heir")))
    finally:
        postgres_server.execute("DROP ROLE heir")
