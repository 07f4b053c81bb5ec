"""Read-only lists across companies, of those that the caller may see."""

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
    within,
)

HIDDEN = frozenset({"secrets_sealed", "secrets_version", "credentials_sealed", "credentials_version"})


class OverviewStore:
    """Rows of the companies in `only`, None for all of them; needs a transaction that sees those companies."""

    def __init__(self, connection: AsyncConnection, only: frozenset[str] | None) -> None:
        self._connection = connection
        self._only = only

    async def companies(self, status: str | None, limit: int, after: Place | None) -> list[CompanyRow]:
        """Return companies, newest first."""
        query = select(companies).where(within(companies.c.id, self._only))
        if status is not None:
            query = query.where(companies.c.status == status)
        rows = await self._connection.execute(newest(query, companies, "created_at", limit, after))
        return [company_row(row) for row in rows]

    async def every_company(self) -> list[CompanyRow]:
        """Return companies, by name."""
        query = select(companies).where(within(companies.c.id, self._only)).order_by(companies.c.name)
        return [company_row(row) for row in await self._connection.execute(query)]

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
        """Return carts, most lately changed first."""
        query = filtered_carts(wanted).where(within(carts.c.company_id, self._only))
        return await self._all(newest(query, carts, "updated_at", limit, after))

    async def deliveries(self, wanted: DeliveryFilter, limit: int, after: Place | None) -> list[Found]:
        """Return deliveries, newest first."""
        query = filtered_deliveries(wanted).where(within(deliveries.c.company_id, self._only))
        return await self._all(newest(query, deliveries, "created_at", limit, after))

    async def destinations(self, most: int) -> list[Found]:
        """Return destinations with the names around them, those in trouble first."""
        shown = [column for column in columns(destinations) if column.name not in HIDDEN]
        query = _named(select(*shown), destinations).where(within(destinations.c.company_id, self._only))
        c = destinations.c
        return await self._all(query.order_by(c.failures.desc(), companies.c.name, c.name, c.id).limit(most))

    async def integrations(self, most: int) -> list[Found]:
        """Return integrations with the names around them, those in trouble first."""
        shown = [column for column in columns(integrations) if column.name not in HIDDEN]
        query = _named(select(*shown), integrations).where(within(integrations.c.company_id, self._only))
        c = integrations.c
        return await self._all(query.order_by(c.failures.desc(), companies.c.name, c.name, c.id).limit(most))

    async def counts(self) -> dict[str, int]:
        """Return how many companies, agents, integrations and destinations there are, by table name."""
        owners = (companies.c.id, *(table.c.company_id for table in (company_agents, integrations, destinations)))
        counted = [select(func.count(owner)).where(within(owner, self._only)) for owner in owners]
        named = zip(owners, counted, strict=True)
        query = select(*(one.scalar_subquery().label(owner.table.name) for owner, one in named))
        return dict((await self._connection.execute(query)).mappings().one())

    async def cart_states(self) -> dict[str, int]:
        """Return how many carts are in each state."""
        c = carts.c
        query = select(c.state, func.count()).where(within(c.company_id, self._only)).group_by(c.state)
        return {row[0]: row[1] for row in await self._connection.execute(query)}

    async def delivery_states(self) -> dict[tuple[str, str], dict[str, int]]:
        """Return (company, destination) -> how many of its deliveries are in each state."""
        c = deliveries.c
        query = select(c.company_id, c.destination_id, c.state, func.count()).where(within(c.company_id, self._only))
        query = query.group_by(c.company_id, c.destination_id, c.state)
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
