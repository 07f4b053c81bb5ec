"""Read-only lists across companies, for callers whose grant covers all of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import carts, companies, company_agents, deliveries, destinations, integrations, poll_cycles
from backend.store.companies import CompanyRow, company_row
from backend.store.listings import (
    CartFilter,
    DeliveryFilter,
    Found,
    Place,
    columns,
    filtered_carts,
    filtered_deliveries,
    found,
    joined,
    newest,
)

HIDDEN = frozenset({"secrets_sealed", "secrets_version", "credentials_sealed", "credentials_version"})


class OverviewStore:
    """The whole installation's rows; needs a transaction as the worker's role, for reading."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def companies(
        self, status: str | None, limit: int, after: Place | None, *, only: frozenset[str] | None = None
    ) -> list[CompanyRow]:
        """Return companies, newest first; `only` those with these ids, where it is given."""
        query = select(companies)
        if only is not None:
            query = query.where(companies.c.id.in_(sorted(only)))
        if status is not None:
            query = query.where(companies.c.status == status)
        rows = await self._connection.execute(newest(query, companies, "created_at", limit, after))
        return [company_row(row) for row in rows]

    async def every_company(self) -> list[CompanyRow]:
        """Return all companies, by name."""
        return [
            company_row(row) for row in await self._connection.execute(select(companies).order_by(companies.c.name))
        ]

    async def cycles(self, kind: str | None, limit: int, after: Place | None) -> list[Found]:
        """Return poll cycles, newest first."""
        query = select(poll_cycles)
        if kind is not None:
            query = query.where(poll_cycles.c.kind == kind)
        return await self._all(newest(query, poll_cycles, "started_at", limit, after))

    async def cycle(self, cycle_id: str) -> Found | None:
        """Return one poll cycle."""
        rows = await self._all(select(poll_cycles).where(poll_cycles.c.id == cycle_id))
        return rows[0] if rows else None

    async def carts(self, wanted: CartFilter, limit: int, after: Place | None) -> list[Found]:
        """Return carts of all companies, most lately changed first."""
        return await self._all(newest(filtered_carts(wanted), carts, "updated_at", limit, after))

    async def deliveries(self, wanted: DeliveryFilter, limit: int, after: Place | None) -> list[Found]:
        """Return deliveries of all companies, newest first."""
        return await self._all(newest(filtered_deliveries(wanted), deliveries, "created_at", limit, after))

    async def destinations(self, most: int) -> list[Found]:
        """Return destinations with the names around them, those in trouble first."""
        shown = [column for column in columns(destinations) if column.name not in HIDDEN]
        query = _named(select(*shown), destinations)
        c = destinations.c
        return await self._all(query.order_by(c.failures.desc(), companies.c.name, c.name, c.id).limit(most))

    async def integrations(self, most: int) -> list[Found]:
        """Return integrations with the names around them, those in trouble first."""
        shown = [column for column in columns(integrations) if column.name not in HIDDEN]
        query = _named(select(*shown), integrations)
        c = integrations.c
        return await self._all(query.order_by(c.failures.desc(), companies.c.name, c.name, c.id).limit(most))

    async def counts(self) -> dict[str, int]:
        """Return how many companies, agents, integrations and destinations there are, by table name."""
        tables = (companies, company_agents, integrations, destinations)
        query = select(
            *(select(func.count()).select_from(table).scalar_subquery().label(table.name) for table in tables)
        )
        return dict((await self._connection.execute(query)).mappings().one())

    async def cart_states(self) -> dict[str, int]:
        """Return how many carts are in each state."""
        query = select(carts.c.state, func.count()).group_by(carts.c.state)
        return {row[0]: row[1] for row in await self._connection.execute(query)}

    async def delivery_states(self) -> dict[tuple[str, str], dict[str, int]]:
        """Return (company, destination) -> how many of its deliveries are in each state."""
        c = deliveries.c
        query = select(c.company_id, c.destination_id, c.state, func.count()).group_by(
            c.company_id, c.destination_id, c.state
        )
        counted: dict[tuple[str, str], dict[str, int]] = {}
        for company, destination, state, count in await self._connection.execute(query):
            counted.setdefault((company, destination), {})[state] = count
        return counted

    async def _all(self, query: Select[Any]) -> list[Found]:
        return found(await self._connection.execute(query))


def _named(query: Select[Any], table: Any) -> Select[Any]:
    """Add the names of company and agent to a query on a table that belongs to an agent."""
    return (
        query.add_columns(companies.c.name.label("company"), company_agents.c.name.label("agent"))
        .add_columns(company_agents.c.status.label("agent_status"), company_agents.c.template_slug)
        .join(company_agents, joined(table, company_agents, "agent_id"))
        .join(companies, companies.c.id == table.c.company_id)
    )
