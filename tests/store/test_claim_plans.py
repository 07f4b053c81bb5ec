"""How PostgreSQL finds due work among a great many rows: whatever a lane asks to claim it goes through an index."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import structlog
from sqlalchemy import event

from backend.services.wiring import Services, build_services
from backend.store.status import MOST_COUNTED
from tests.databases import PostgresServer
from tests.worlds import opened_world

MANY = {"deliveries": 1_000_000, "carts": 300_000, "integrations": 100_000}
# The others' work beside the big company's, so that the planner sees a few companies and destinations, not one.
OTHERS, EACH = 50, 10
MOST_READ = 5_000  # rows that one statement may look at; no claim takes as many
LIMIT = 30.0  # seconds for a lane to make its first claim
NOBODY = "http://127.0.0.1:9"  # nothing listens there

COMPANIES = f"""
    INSERT INTO companies (id, name, status, created_at, updated_at)
        SELECT 'c' || i, 'c' || i, 'active', now(), now() FROM generate_series(0, {OTHERS}) i;
    INSERT INTO company_agents (company_id, id, name, template_slug, status, abandonment_threshold_minutes,
            recovery_horizon_days, attribution_window_days, created_at, updated_at)
        SELECT id, id, 'agent', 'ecommerce-abandoned-cart', 'active', 30, 30, 7, now(), now() FROM companies;
    INSERT INTO destinations (company_id, id, agent_id, name, url, secrets_sealed, secrets_version, status,
            max_carts_per_payload, include_uncontactable, include_opted_out, created_at, updated_at)
        SELECT id, id, id, 'partner', '{NOBODY}', '', 1, 'active', 100, false, false, now(), now() FROM companies;
"""
DELIVERIES = """
    INSERT INTO deliveries (company_id, id, destination_id, agent_id, integration_id, type, webhook_id, state, body,
            cart_count, attempts, next_attempt_at, created_at)
        SELECT '{company}', '{company}-' || i, '{company}', '{company}', '{company}-1', 'cart.abandoned', 'm' || i,
            'pending', '{{}}', 1, 0, now() - i * interval '1 ms', now() FROM generate_series(1, {count}) i;
"""
CARTS = """
    INSERT INTO carts (company_id, id, integration_id, agent_id, source_cart_id, store_id, state, episode, revision,
            activity, currency, total, item_count, coupons, is_test, is_mock, source_created_at, source_updated_at,
            last_activity_at, events, awaits_read, next_check_at, created_at, updated_at)
        SELECT '{company}', '{company}-' || i, '{company}-1', '{company}', 's' || i, 'store', 'active', 1, 'r', 'a',
            'USD', 100000, 1, '[]', false, false, now(), now(), now() - interval '1 hour', 1, false,
            now() - i * interval '1 ms', now(), now() FROM generate_series(1, {count}) i;
"""
INTEGRATIONS = """
    INSERT INTO integrations (company_id, id, agent_id, name, platform, store_id, status, settings, credentials_sealed,
            credentials_version, initial_lookback_days, next_poll_at, created_at, updated_at)
        SELECT '{company}', '{company}-' || i, '{company}', 'store ' || i, 'custom', 's' || i, 'active', '{{}}', '', 1,
            3, now() - i * interval '1 ms', now(), now() FROM generate_series(1, {count}) i;
"""
ROWS = {"deliveries": DELIVERIES, "carts": CARTS, "integrations": INTEGRATIONS}
LANES = {"deliveries": "deliveries", "sweep": "carts", "polls": "integrations"}


@pytest.fixture(scope="module")
def crowded(postgres_server: PostgresServer, migrated_postgresql: str) -> Iterator[str]:
    """Return the URL of a database in which one company has very much due work and others have a little."""
    database = postgres_server.create(template=migrated_postgresql)
    # Foreign keys are kept by the way the rows are made; checking a million of them would only take time.
    fill = ["SET session_replication_role = replica; SET maintenance_work_mem = '256MB';", COMPANIES]
    for table, insert in ROWS.items():
        indexes = f"SELECT indexdef || ';' FROM pg_indexes WHERE tablename = '{table}' AND indexname LIKE 'ix_%'"
        names = f"SELECT 'DROP INDEX ' || indexname || ';' FROM pg_indexes WHERE tablename = '{table}'"
        fill.append(postgres_server.execute(f"{names} AND indexname LIKE 'ix_%'", database))
        fill.append(insert.format(company="c0", count=MANY[table]))
        fill += [insert.format(company=f"c{number}", count=EACH) for number in range(1, OTHERS + 1)]
        fill.append(postgres_server.execute(indexes, database))  # built at the end, which is much faster
    postgres_server.execute("".join(fill), database)
    postgres_server.execute("ANALYZE", database)
    yield postgres_server.url(database)
    postgres_server.drop(database)


class Overheard:
    """The statements that an engine ran, until the first transaction that claimed rows of `table` was committed."""

    def __init__(self, table: str) -> None:
        self.statements: list[tuple[str, Any]] = []
        self.is_enough = asyncio.Event()
        self._claim = re.compile(rf"(?is)\bUPDATE {table} SET\b.*\blease_token\b")
        self._has_claimed = False

    def statement(self, *heard: Any) -> None:
        """Hear `before_cursor_execute`."""
        _connection, _cursor, statement, parameters, _context, is_many = heard
        if not self.is_enough.is_set() and not is_many:
            self.statements.append((statement, parameters))
            self._has_claimed |= self._claim.search(statement) is not None

    def commit(self, _connection: Any) -> None:
        """Hear `commit`."""
        if self._has_claimed:
            self.is_enough.set()


@asynccontextmanager
async def services_on(url: str) -> AsyncIterator[Services]:
    """Open the services of a process that wants polling to run."""
    async with opened_world(url) as world:
        services = await build_services(world.settings, clock=world.clock)
        try:
            with structlog.testing.capture_logs():
                await services.poller.start()
                yield services
        finally:
            await services.aclose()


async def overhear_look(services: Services) -> list[tuple[str, Any]]:
    """Let the watch look once; return what was asked."""
    asked: list[tuple[str, Any]] = []
    engine = services.database.engine.sync_engine

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", hear)
    try:
        await services.watch.look()
    finally:
        event.remove(engine, "before_cursor_execute", hear)
    return asked


async def overhear(services: Services, lane: str, table: str) -> list[tuple[str, Any]]:
    """Ring a lane, and stop it once it has claimed something; return what was asked up to there."""
    heard = Overheard(table)
    engine = services.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", heard.statement)
    event.listen(engine, "commit", heard.commit)
    ringing = asyncio.create_task(services.poller.ring(lane))
    try:
        await asyncio.wait_for(heard.is_enough.wait(), LIMIT)
    finally:
        event.remove(engine, "before_cursor_execute", heard.statement)
        event.remove(engine, "commit", heard.commit)
        ringing.cancel()
        with suppress(asyncio.CancelledError):
            await ringing
    return heard.statements


async def plans(services: Services, statements: list[tuple[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Run each statement once more, to no effect; return it with its plan and what that really read."""
    found = []
    async with services.database.overview() as tx:
        for statement, parameters in statements:
            if statement.startswith("SET LOCAL"):
                await tx.exec_driver_sql(statement)
            elif statement.lstrip().startswith(("SELECT", "UPDATE", "WITH", "DELETE")):
                attempt = await tx.begin_nested()
                rows = await tx.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
                found.append((statement, rows.scalar_one()[0]["Plan"]))
                await attempt.rollback()
    return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every node of a plan."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def scans(plan: dict[str, Any], table: str) -> list[dict[str, Any]]:
    """Return the nodes that read a table."""
    return [node for node in nodes(plan) if "Scan" in node["Node Type"] and node.get("Relation Name") == table]


def rows_read(node: dict[str, Any]) -> float:
    """Return how many rows a scan looked at, those it left out included."""
    left_out = sum(count for name, count in node.items() if name.startswith("Rows Removed"))
    return float((node["Actual Rows"] + left_out) * node["Actual Loops"])


def slow_ones(asked: list[tuple[str, dict[str, Any]]], table: str, most: int) -> list[str]:
    """Return the statements that read a table through no index, or more of it than that."""
    seen = [(statement, node) for statement, plan in asked for node in scans(plan, table)]
    assert seen
    return [statement for statement, node in seen if "Seq Scan" in node["Node Type"] or rows_read(node) > most]


@pytest.mark.parametrize("table", ["deliveries", "carts"])
@pytest.mark.parametrize("others", ["busy", "idle"])
async def test_a_look_at_what_waits_reads_no_whole_backlog(
    crowded: str, postgres_server: PostgresServer, table: str, others: str
) -> None:
    # Where only one company has work, the planner takes every row for everybody's.
    database = postgres_server.create(template=crowded.partition("?")[0].rpartition("/")[2])
    if others == "idle":
        postgres_server.execute(f"DELETE FROM {table} WHERE company_id <> 'c0'", database)
    postgres_server.execute(f"ANALYZE {table}", database)
    async with services_on(postgres_server.url(database)) as services:
        asked = await plans(services, await overhear_look(services))
    postgres_server.drop(database)
    assert slow_ones(asked, table, MOST_COUNTED + OTHERS * EACH) == []


@pytest.mark.parametrize(("lane", "table"), LANES.items(), ids=LANES)
async def test_a_claim_among_very_many_rows_reads_few_of_them_through_an_index(
    crowded: str, lane: str, table: str
) -> None:
    async with services_on(crowded) as services:
        asked = await plans(services, await overhear(services, lane, table))
    assert slow_ones(asked, table, MOST_READ) == []
