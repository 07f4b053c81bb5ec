"""Every route with another company's ids, on PostgreSQL: Row-Level Security alone is a wall.

A small form of the attack in `benchmarks/attack_tenants.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import structlog
from sqlalchemy import select

from backend.domain.access import Role
from backend.models import carts, companies, integrations
from benchmarks.attack_tenants import KINDS, NEITHER, SECURITY_ALONE, Field, attack, prepared
from benchmarks.grounds import Ground
from benchmarks.tenants_cases import all_routes, unknown_parts
from benchmarks.tenants_filters import FILTER, FilterRemover
from benchmarks.tenants_round import NOTHING, OWNED, Round, rows_of
from tests.databases import PostgresServer


@pytest.fixture(scope="module")
def field(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Field:
    """Return two filled companies."""
    with structlog.testing.capture_logs():
        return prepared(Ground(postgres_server, tmp_path_factory.mktemp("ground")))


@pytest.fixture(scope="module")
def alone(field: Field) -> Iterator[Round]:
    """Return what an owner of the first company came to, with Row-Level Security alone."""
    with structlog.testing.capture_logs():
        yield asyncio.run(attack(field, SECURITY_ALONE, Role.OWNER.value, field.companies))


def test_both_companies_have_rows_in_every_table(field: Field) -> None:
    rows = [rows_of(field.where.server, field.template, each.ids["company_id"]) for each in field.companies]
    assert [name for each in rows for name, found in each.items() if found == NOTHING] == []


def test_the_rows_looked_at_are_those_of_every_table_with_a_company() -> None:
    assert {"companies", "carts", "deliveries", "api_keys", "audit_log"} <= {table.name for table in OWNED}


def test_every_address_is_asked_with_real_ids(field: Field) -> None:
    assert unknown_parts(field.companies[0]) == set()


def test_every_route_is_asked(alone: Round) -> None:
    assert alone.routes == {f"{method} {route.path}" for route in all_routes() for method in route.methods or ()}


def test_row_level_security_alone_lets_nothing_through(alone: Round) -> None:
    assert alone.leaks == []


def test_without_filters_nothing_breaks(alone: Round) -> None:
    assert [status for status in alone.statuses if status >= 500] == []


def test_no_filter_of_ours_was_left_in_what_ran_as_a_company(alone: Round) -> None:
    assert (alone.seen.left, sum(alone.seen.removed.values()) > 100) == ([], True)


def test_only_signing_in_and_letting_in_touch_walled_tables_as_the_worker(alone: Round) -> None:
    # Whose a key or link is, which record tells of it, and what signs the link.
    assert set(alone.seen.as_worker) <= {"companies", "audit_log", "data_keys"}


def test_without_both_walls_every_kind_of_leak_is_found(field: Field) -> None:
    with structlog.testing.capture_logs():
        done = asyncio.run(attack(field, NEITHER, Role.OWNER.value, field.companies))
    assert {leak.kind for leak in done.leaks} == set(KINDS)


@pytest.mark.parametrize(
    "statement",
    [
        select(carts).where(carts.c.company_id == "a"),
        select(carts).where(carts.c.company_id == "a", carts.c.id == "b"),
        select(carts).where(carts.c.company_id.in_(["a", "b"])),
        select(companies).where(companies.c.id == "a"),
        integrations.update().where(integrations.c.company_id == "a").values(name="x"),
        integrations.delete().where(integrations.c.company_id == "a"),
        select(select(carts.c.id).where(carts.c.company_id == "a").scalar_subquery()),
    ],
    ids=["alone", "with another", "several", "its own id", "update", "delete", "within"],
)
def test_a_filter_is_voided_wherever_it_stands(statement: object) -> None:
    remover = FilterRemover(is_on=True)
    text = str(remover.without_filters(statement))
    assert ("OR true)" in text, sum(remover.seen.removed.values())) == (True, 1)


def test_a_key_between_two_tables_is_no_filter() -> None:
    remover = FilterRemover(is_on=True)
    query = select(carts).join(integrations, carts.c.company_id == integrations.c.company_id)
    assert (str(remover.without_filters(query)), dict(remover.seen.removed)) == (str(query), {})


@pytest.mark.parametrize("text", ["carts.company_id = $1::VARCHAR", "companies.id = $2", "company_id IN ($1, $2)"])
def test_a_filter_that_was_missed_is_seen_in_the_text(text: str) -> None:
    assert FILTER.search(f"SELECT 1 FROM carts WHERE {text}") is not None
