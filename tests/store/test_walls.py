"""The walls between companies in PostgreSQL: they hold without any WHERE of ours. SQLite has none."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Table, delete, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.ids import new_id
from backend.models import ACCESS_TABLES, INSTALLATION_TABLES, company_agents, integrations, metadata
from backend.models import companies as company_table
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.worlds import World

TENANT_TABLES = sorted(set(metadata.tables) - INSTALLATION_TABLES - ACCESS_TABLES)


@pytest.fixture
def database_url(postgresql_url: str) -> str:
    """Return a PostgreSQL database only: Row-Level Security is PostgreSQL's, SQLite serves one machine's owner."""
    return postgresql_url


@pytest.fixture
async def two(world: World) -> tuple[str, str]:
    """Return companies A and B, each with an agent, a store and a destination."""
    found = []
    for name in ("A", "B"):
        company = await make_company(world, name)
        agent = await make_agent(world, company)
        await make_integration(world, company, agent)
        await make_destination(world, company, agent, "https://partner.example/hook")
        found.append(company)
    return found[0], found[1]


async def seen(connection: AsyncConnection, table: Table) -> set[Any]:
    """Return the companies whose rows show up in a query without any condition."""
    column = table.c.id if table is company_table else table.c.company_id
    return set((await connection.execute(select(column))).scalars())


FILLED = [
    metadata.tables[name] for name in ("companies", "company_agents", "integrations", "destinations", "data_keys")
]


@pytest.mark.parametrize("table", FILLED, ids=str)
class TestRows:
    async def test_a_company_sees_its_own_rows_and_no_others(
        self, world: World, two: tuple[str, str], table: Table
    ) -> None:
        async with world.database.transaction(two[0]) as tx:
            assert await seen(tx, table) == {two[0]}

    async def test_the_worker_sees_all(self, world: World, two: tuple[str, str], table: Table) -> None:
        async with world.database.work() as tx:
            assert await seen(tx, table) == set(two)

    async def test_a_transaction_without_a_role_sees_none(
        self, world: World, two: tuple[str, str], table: Table
    ) -> None:
        async with world.database.engine.begin() as connection:
            assert await seen(connection, table) == set()

    @pytest.mark.parametrize("company", ["", "nobody", "%"])
    async def test_a_company_that_is_none_sees_none(
        self, world: World, two: tuple[str, str], table: Table, company: str
    ) -> None:
        async with world.database.engine.begin() as connection:
            await connection.execute(text("SET LOCAL ROLE cart_app"))
            await connection.execute(text("SELECT set_config('app.company', :company, true)"), {"company": company})
            assert await seen(connection, table) == set()

    async def test_the_next_user_of_a_connection_inherits_nothing(
        self, world: World, two: tuple[str, str], table: Table
    ) -> None:
        async with world.database.engine.connect() as connection:
            async with connection.begin():
                await connection.execute(text("SELECT set_config('role', 'cart_worker', true)"))
            async with connection.begin():
                assert await seen(connection, table) == set()


class TestSeeing:
    async def test_one_company_is_read_as_that_company(self, world: World, two: tuple[str, str]) -> None:
        async with world.database.seeing(frozenset({two[1]})) as tx:
            assert await seen(tx, integrations) == {two[1]}

    @pytest.mark.parametrize("only", [None, frozenset({"a", "b"}), frozenset()], ids=["all", "several", "none"])
    async def test_all_and_several_are_read_across_companies(
        self, world: World, two: tuple[str, str], only: frozenset[str] | None
    ) -> None:
        async with world.database.seeing(only) as tx:
            assert await seen(tx, integrations) == set(two)


class TestWrites:
    async def test_an_update_without_a_condition_changes_the_own_rows_only(
        self, world: World, two: tuple[str, str]
    ) -> None:
        async with world.database.transaction(two[0]) as tx:
            changed = await tx.execute(update(integrations).values(name="mine"))
        async with world.database.work() as tx:
            names = {row[0]: row[1] for row in await tx.execute(select(integrations.c.company_id, integrations.c.name))}
        assert (changed.rowcount, names[two[0]] == "mine", names[two[1]] == "mine") == (1, True, False)

    async def test_a_delete_without_a_condition_deletes_the_own_rows_only(
        self, world: World, two: tuple[str, str]
    ) -> None:
        async with world.database.transaction(two[0]) as tx:
            await tx.execute(delete(integrations))
        async with world.database.work() as tx:
            assert await seen(tx, integrations) == {two[1]}

    async def test_a_row_cannot_be_put_into_another_company(self, world: World, two: tuple[str, str]) -> None:
        now = world.clock.now()
        row = {"company_id": two[1], "id": new_id(), "name": "spy", "template_slug": "x", "status": "active"}
        figures = dict.fromkeys(
            ("abandonment_threshold_minutes", "recovery_horizon_days", "attribution_window_days"), 1
        )
        with pytest.raises(DBAPIError, match="row-level security"):
            async with world.database.transaction(two[0]) as tx:
                await tx.execute(insert(company_agents).values(**row, **figures, created_at=now, updated_at=now))

    async def test_a_row_cannot_be_given_to_another_company(self, world: World, two: tuple[str, str]) -> None:
        with pytest.raises(DBAPIError, match="row-level security"):
            async with world.database.transaction(two[0]) as tx:
                await tx.execute(update(integrations).values(company_id=two[1]))

    @pytest.mark.parametrize("table", sorted(ACCESS_TABLES))
    async def test_a_company_cannot_even_see_who_may_come_in(
        self, world: World, two: tuple[str, str], table: str
    ) -> None:
        with pytest.raises(DBAPIError, match="permission denied"):
            async with world.database.transaction(two[0]) as tx:
                await tx.execute(select(metadata.tables[table]))

    @pytest.mark.parametrize("table", sorted(INSTALLATION_TABLES))
    async def test_a_company_cannot_write_the_installation_s_tables(
        self, world: World, two: tuple[str, str], table: str
    ) -> None:
        with pytest.raises(DBAPIError, match="permission denied"):
            async with world.database.transaction(two[0]) as tx:
                await tx.execute(delete(metadata.tables[table]))


class TestEveryTable:
    @pytest.mark.parametrize("table", TENANT_TABLES)
    async def test_a_tenant_table_has_forced_security_and_both_policies(self, world: World, table: str) -> None:
        query = text(
            "SELECT c.relrowsecurity, c.relforcerowsecurity, array_agg(r.rolname::text || ' ' || "
            "(p.polwithcheck IS NOT NULL AND p.polqual IS NOT NULL AND p.polcmd = '*')::text ORDER BY r.rolname) "
            "FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid "
            "LEFT JOIN pg_roles r ON r.oid = ANY (p.polroles) "
            "WHERE c.oid = to_regclass(:table) GROUP BY 1, 2"
        )
        async with world.database.engine.begin() as connection:
            found = (await connection.execute(query, {"table": table})).one()
        assert tuple(found) == (True, True, ["cart_app true", "cart_worker true"])

    @pytest.mark.parametrize("table", sorted(INSTALLATION_TABLES | ACCESS_TABLES))
    async def test_an_installation_table_has_no_policy(self, world: World, table: str) -> None:
        query = text("SELECT count(*) FROM pg_policies WHERE tablename = :table")
        async with world.database.engine.begin() as connection:
            assert (await connection.execute(query, {"table": table})).scalar_one() == 0

    async def test_no_table_is_there_that_the_models_do_not_know(self, world: World) -> None:
        async with world.database.engine.begin() as connection:
            names = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
        assert names - {"alembic_version"} == set(metadata.tables)

    @pytest.mark.parametrize("table", TENANT_TABLES)
    def test_a_tenant_table_is_keyed_by_its_company(self, table: str) -> None:
        key = [column.name for column in metadata.tables[table].primary_key]
        assert key == (["id"] if table == "companies" else ["company_id", "id"])

    @pytest.mark.parametrize("table", sorted(INSTALLATION_TABLES))
    def test_an_installation_table_knows_no_company(self, table: str) -> None:
        assert "company_id" not in metadata.tables[table].c


class TestRoles:
    async def test_the_roles_cannot_log_in_and_pass_no_wall(self, world: World) -> None:
        query = text("SELECT rolname, rolcanlogin, rolbypassrls, rolsuper FROM pg_roles WHERE rolname LIKE 'cart\\_%'")
        async with world.database.engine.begin() as connection:
            found = {row[0]: tuple(row[1:]) for row in await connection.execute(query)}
        assert (found["cart_app"], found["cart_worker"]) == ((False, False, False), (False, False, False))

    @pytest.mark.parametrize("role", ["cart_app", "cart_worker"])
    async def test_the_login_inherits_from_neither(self, world: World, role: str) -> None:
        query = text("SELECT pg_has_role(current_user, :role, 'USAGE'), pg_has_role(current_user, :role, 'SET')")
        async with world.database.engine.begin() as connection:
            assert tuple((await connection.execute(query, {"role": role})).one()) == (False, True)

    @pytest.mark.parametrize("begin", ["transaction", "reading"])
    async def test_a_transaction_without_a_company_is_not_begun(self, world: World, begin: str) -> None:
        with pytest.raises(ValueError, match="company"):
            async with getattr(world.database, begin)(""):
                pass
