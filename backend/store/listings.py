"""Lists and details for people to read: carts, deliveries, polls and quarantine of one company. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, desc, false, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import (
    cart_events,
    cart_items,
    carts,
    companies,
    company_agents,
    customers,
    deliveries,
    delivery_attempts,
    delivery_carts,
    destinations,
    integrations,
    poll_runs,
    quarantine,
)

Found = Mapping[str, Any]
SEALED = frozenset({"personal_sealed", "subject_key_id", "lease_token", "lease_expires_at", "record_sealed"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a list goes on: after the row with this time and id, newest first."""

    at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class CartFilter:
    """Which carts to list; None asks for all. `min_date` and `max_date` bound the shopper's last activity."""

    state: str | None = None
    integration_id: str | None = None
    min_date: datetime | None = None
    max_date: datetime | None = None
    is_contactable: bool | None = None
    search: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to list; None asks for all."""

    state: str | None = None
    destination_id: str | None = None
    integration_id: str | None = None


def within(column: ColumnElement[Any], only: frozenset[str] | None) -> ColumnElement[bool]:
    """Return the condition that a row is of one of these companies; None: of any."""
    return true() if only is None else column.in_(sorted(only))


def joined(table: Table, other: Table, column: str) -> ColumnElement[bool]:
    """Return the condition of the two-column foreign key `table.column` -> `other`."""
    return and_(other.c.company_id == table.c.company_id, other.c.id == table.c[column])


def columns(table: Table) -> list[ColumnElement[Any]]:
    """Return the columns of a table that a reader may see: nothing sealed, no leases."""
    return [column for column in table.c if column.name not in SEALED]


def newest(query: Select[Any], table: Table, at: str, limit: int, after: Place | None) -> Select[Any]:
    """Order a list newest first by the time column `at`, then id, and go on `after` a place."""
    moment = table.c[at]
    if after is not None:
        query = query.where(or_(moment < after.at, and_(moment == after.at, table.c.id < after.id)))
    return query.order_by(desc(moment), desc(table.c.id)).limit(limit)


def cart_query() -> Select[Any]:
    """Return the select of carts with the names and the person around them."""
    person = [customers.c[name] for name in ("email", "phone", "first_name", "last_name", "locale", "country")]
    return (
        select(
            *columns(carts),
            integrations.c.name.label("integration"),
            integrations.c.platform,
            company_agents.c.name.label("agent"),
            companies.c.name.label("company"),
            *person,
            customers.c.consent_email,
            customers.c.consent_sms,
        )
        .join(integrations, joined(carts, integrations, "integration_id"))
        .join(company_agents, joined(carts, company_agents, "agent_id"))
        .join(companies, companies.c.id == carts.c.company_id)
        .outerjoin(customers, and_(joined(carts, customers, "customer_id"), customers.c.erased_at.is_(None)))
    )


def delivery_query() -> Select[Any]:
    """Return the select of deliveries, without their bodies, with the names around them."""
    return (
        select(
            *(column for column in columns(deliveries) if column.name != "body"),
            deliveries.c.lease_token.is_not(None).label("is_in_flight"),
            destinations.c.name.label("destination"),
            destinations.c.status.label("destination_status"),
            destinations.c.held_until.label("destination_held_until"),
            integrations.c.name.label("integration"),
            integrations.c.platform,
            company_agents.c.name.label("agent"),
            companies.c.name.label("company"),
        )
        .join(destinations, joined(deliveries, destinations, "destination_id"))
        .join(integrations, joined(deliveries, integrations, "integration_id"))
        .join(company_agents, joined(deliveries, company_agents, "agent_id"))
        .join(companies, companies.c.id == deliveries.c.company_id)
    )


def filtered_carts(wanted: CartFilter) -> Select[Any]:
    """Return the select of the carts that a filter lets through."""
    query, c = cart_query(), carts.c
    conditions: list[tuple[Any, Callable[[Any], ColumnElement[bool]]]] = [
        (wanted.state, lambda state: c.state == state),
        (wanted.integration_id, lambda integration_id: c.integration_id == integration_id),
        (wanted.min_date, lambda moment: c.last_activity_at >= moment),
        (wanted.max_date, lambda moment: c.last_activity_at <= moment),
        (wanted.search, lambda part: c.source_cart_id.contains(part, autoescape=True)),
        (wanted.is_contactable, _is_contactable),
    ]
    return query.where(*(condition(value) for value, condition in conditions if value is not None))


def _is_contactable(wanted: bool) -> ColumnElement[bool]:
    reachable = or_(customers.c.email.is_not(None), customers.c.phone.is_not(None))
    return reachable if wanted else or_(customers.c.id.is_(None), ~reachable)


def filtered_deliveries(wanted: DeliveryFilter) -> Select[Any]:
    """Return the select of the deliveries that a filter lets through."""
    query = delivery_query()
    for name in ("state", "destination_id", "integration_id"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(deliveries.c[name] == value)
    return query


class ListingStore:
    """What one company's people read."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def has_company(self) -> bool:
        """Whether the company is there."""
        query = select(companies.c.id).where(companies.c.id == self._company)
        return (await self._connection.execute(query)).one_or_none() is not None

    async def carts(self, wanted: CartFilter, limit: int, after: Place | None) -> list[Found]:
        """Return carts, most lately changed first."""
        query = filtered_carts(wanted).where(carts.c.company_id == self._company)
        return await self._all(newest(query, carts, "updated_at", limit, after))

    async def cart(self, cart_id: str) -> Found | None:
        """Return one cart."""
        return await self._one(cart_query().where(carts.c.company_id == self._company, carts.c.id == cart_id))

    async def items(self, cart_id: str) -> list[Found]:
        """Return a cart's lines in their order."""
        c = cart_items.c
        return await self._all(
            select(*columns(cart_items)).where(c.company_id == self._company, c.cart_id == cart_id).order_by(c.position)
        )

    async def events(self, cart_id: str, most: int) -> list[Found]:
        """Return what happened to a cart, newest first: types and times, never the sealed content."""
        c = cart_events.c
        shown = (c.seq, c.type, c.episode, c.occurred_at, c.recorded_at, c.source, c.cycle_id)
        query = select(*shown).where(c.company_id == self._company, c.cart_id == cart_id)
        return await self._all(query.order_by(desc(c.seq)).limit(most))

    async def decisions(self, column: str, row_id: str, most: int) -> list[Found]:
        """Return the gate's decisions where `column` (cart_id or delivery_id) is `row_id`, newest first."""
        c = delivery_carts.c
        query = (
            select(
                *columns(delivery_carts),
                destinations.c.name.label("destination"),
                deliveries.c.state.label("delivery_state"),
                carts.c.source_cart_id,
                carts.c.state.label("cart_state"),
                carts.c.total,
                carts.c.currency,
            )
            .join(destinations, joined(delivery_carts, destinations, "destination_id"))
            .join(carts, joined(delivery_carts, carts, "cart_id"))
            .outerjoin(deliveries, joined(delivery_carts, deliveries, "delivery_id"))
            .where(c.company_id == self._company, c[column] == row_id)
        )
        return await self._all(query.order_by(desc(c.decided_at), desc(c.id)).limit(most))

    async def deliveries(self, wanted: DeliveryFilter, limit: int, after: Place | None) -> list[Found]:
        """Return deliveries, newest first."""
        query = filtered_deliveries(wanted).where(deliveries.c.company_id == self._company)
        return await self._all(newest(query, deliveries, "created_at", limit, after))

    async def delivery(self, delivery_id: str) -> Found | None:
        """Return one delivery."""
        c = deliveries.c
        return await self._one(delivery_query().where(c.company_id == self._company, c.id == delivery_id))

    async def attempts(self, delivery_id: str) -> list[Found]:
        """Return the attempts of a delivery in their order."""
        c = delivery_attempts.c
        query = select(*columns(delivery_attempts)).where(c.company_id == self._company, c.delivery_id == delivery_id)
        return await self._all(query.order_by(c.number, c.started_at))

    async def runs(
        self, integration_id: str | None, outcome: str | None, limit: int, after: Place | None
    ) -> list[Found]:
        """Return polls that changed or failed something, newest first."""
        query = self._of_integration(poll_runs, integration_id)
        if outcome is not None:
            query = query.where(poll_runs.c.outcome == outcome)
        return await self._all(newest(query, poll_runs, "started_at", limit, after))

    async def quarantine(
        self, integration_id: str | None, is_open: bool | None, limit: int, after: Place | None
    ) -> list[Found]:
        """Return records that could not be read, the ones seen last first."""
        query = self._of_integration(quarantine, integration_id)
        if is_open is not None:
            query = query.where(quarantine.c.is_open if is_open else quarantine.c.is_open == false())
        return await self._all(newest(query, quarantine, "last_seen_at", limit, after))

    def _of_integration(self, table: Table, integration_id: str | None) -> Select[Any]:
        query = (
            select(*columns(table), integrations.c.name.label("integration"), integrations.c.platform)
            .join(integrations, joined(table, integrations, "integration_id"))
            .where(table.c.company_id == self._company)
        )
        return query if integration_id is None else query.where(table.c.integration_id == integration_id)

    async def _all(self, query: Select[Any]) -> list[Found]:
        return found(await self._connection.execute(query))

    async def _one(self, query: Select[Any]) -> Found | None:
        rows = await self._all(query)
        return rows[0] if rows else None


def found(rows: Any) -> list[Found]:
    """Return a result's rows as mappings that outlive their transaction."""
    return [dict(row) for row in rows.mappings()]
