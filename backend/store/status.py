"""Read-only figures for the status, of the companies that the caller may see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Label, Select, Table, and_, case, exists, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.work import Scope
from backend.models import (
    alerts,
    carts,
    companies,
    company_agents,
    deliveries,
    destinations,
    installation_state,
    integrations,
)
from backend.store.listings import within
from backend.store.work import MOST_CLAIMS

# The first rows of a backlog are asked for, and a bitmap begins with all of them.
FIRST_ROWS_FIRST = text("SET LOCAL enable_bitmapscan = off")
MOST_COUNTED = 10_000  # due rows of one company or destination; beyond that only the oldest is of interest


@dataclass(frozen=True, slots=True)
class Queue:
    """A lane's due rows: how many wait (a company's or destination's first 10,000), since when, and how many are held.

    Rows are stores, carts and deliveries; `leased` counts what workers hold: stores, carts and destinations.
    """

    lane: str
    due: int
    oldest_at: datetime | None
    leased: int


def watched(scope: Scope) -> ColumnElement[bool]:
    """Return the condition that an integration, joined with agent and company, is one that should be polled."""
    return and_(
        company_agents.c.template_slug == scope.template_slug,
        company_agents.c.status == "active",
        companies.c.status == "active",
        integrations.c.platform.in_([*scope.platforms, "mock"]),
    )


def with_agent() -> Any:
    """Return integrations joined with their agents and companies."""
    i, agents = integrations.c, company_agents.c
    on_agent = and_(agents.company_id == i.company_id, agents.id == i.agent_id)
    return integrations.join(company_agents, on_agent).join(companies, companies.c.id == i.company_id)


class StatusStore:
    """Figures of the companies in `only`; None means all of them."""

    def __init__(self, connection: AsyncConnection, only: frozenset[str] | None) -> None:
        self._connection = connection
        self._only = only

    def _mine(self, column: ColumnElement[str]) -> ColumnElement[bool]:
        return within(column, self._only)

    async def integrations(self, scope: Scope) -> list[Any]:
        """Return integrations of the template's active agents with the names around them, and an open alert's kind."""
        on_agent = and_(
            company_agents.c.company_id == integrations.c.company_id,
            company_agents.c.id == integrations.c.agent_id,
        )
        alert = (
            select(func.min(alerts.c.kind))
            .where(
                alerts.c.company_id == integrations.c.company_id,
                alerts.c.subject_id == integrations.c.id,
                alerts.c.closed_at.is_(None),
            )
            .scalar_subquery()
        )
        names = company_agents.c.name.label("agent_name"), companies.c.name.label("company_name")
        query = (
            select(integrations, *names, alert.label("alert_kind"))
            .join(company_agents, on_agent)
            .join(companies, companies.c.id == integrations.c.company_id)
            .where(
                company_agents.c.template_slug == scope.template_slug,
                company_agents.c.status == "active",
                integrations.c.status != "inactive",
                self._mine(integrations.c.company_id),
            )
            .order_by(companies.c.name, company_agents.c.name, integrations.c.name)
        )
        return list(await self._connection.execute(query))

    async def deliveries(self, now: datetime) -> dict[str, Any]:
        """Return how many deliveries are pending and dead, and how long the oldest due one has waited."""
        d = deliveries.c
        by_state = select(d.state, func.count()).where(self._mine(d.company_id)).group_by(d.state)
        counts = {row[0]: row[1] for row in await self._connection.execute(by_state)}
        oldest = select(func.min(d.next_attempt_at)).where(
            d.state == "pending", d.next_attempt_at <= now, self._mine(d.company_id)
        )
        due_at = (await self._connection.execute(oldest)).scalar_one()
        return {
            "pending": counts.get("pending", 0),
            "delivered": counts.get("delivered", 0),
            "dead": counts.get("dead", 0),
            "superseded": counts.get("superseded", 0),
            "oldest_due_seconds": round((now - due_at).total_seconds()) if due_at is not None else 0,
        }

    async def queues(self, scope: Scope, now: datetime) -> list[Queue]:
        """Return what waits in each lane."""
        if self._connection.dialect.name == "postgresql":
            await self._connection.execute(FIRST_ROWS_FIRST)
        return [await self._polls(scope, now), await self._sweep(now), await self._deliveries(now)]

    async def _polls(self, scope: Scope, now: datetime) -> Queue:
        c = integrations.c
        due_at = case((c.waiting_until > c.next_poll_at, c.waiting_until), else_=c.next_poll_at)
        query = (
            select(func.count(), func.min(due_at))
            .select_from(with_agent())
            .where(
                watched(scope),
                or_(c.status == "active", and_(c.status == "paused", c.pause_reason == "credentials_rejected")),
                c.claims < MOST_CLAIMS,
                c.next_poll_at <= now,
                or_(c.waiting_until.is_(None), c.waiting_until <= now),
                _is_free(integrations, now),
                self._mine(c.company_id),
            )
        )
        due, oldest_at = (await self._connection.execute(query)).one()
        return Queue("polls", due, oldest_at, await self._leased(integrations, now))

    async def _sweep(self, now: datetime) -> Queue:
        """Look at one company after the other, each through the index of its own due carts."""
        c = carts.c
        mine = and_(c.company_id == companies.c.id, c.next_check_at < now, c.state.in_(["active", "abandoned"]))
        each = select(*_first_of(c.next_check_at, mine, companies)).select_from(companies)
        lines = _looked_at_once(each.where(self._mine(companies.c.id)))
        query = select(func.coalesce(func.sum(lines.due), 0), func.min(lines.oldest))
        due, oldest_at = (await self._connection.execute(query)).one()
        return Queue("sweep", int(due), oldest_at, await self._leased(carts, now))

    async def _deliveries(self, now: datetime) -> Queue:
        """Look at one destination after the other; what a destination's own state holds back is not due."""
        d, to = deliveries.c, destinations.c
        mine = and_(
            d.company_id == to.company_id, d.destination_id == to.id, d.state == "pending", d.next_attempt_at <= now
        )
        waiting = _looked_at_once(
            select(*_first_of(d.next_attempt_at, mine, destinations), to.held_until).where(
                to.status == "active",
                or_(to.held_until.is_(None), to.held_until <= now),
                ~exists().where(installation_state.c.hold_reason.is_not(None)),
                self._mine(to.company_id),
            )
        )
        due_at = case((waiting.held_until > waiting.oldest, waiting.held_until), else_=waiting.oldest)
        query = select(func.coalesce(func.sum(waiting.due), 0), func.min(due_at)).where(waiting.due > 0)
        due, oldest_at = (await self._connection.execute(query)).one()
        return Queue("deliveries", int(due), oldest_at, await self._leased(destinations, now))

    async def _leased(self, table: Table, now: datetime) -> int:
        c = table.c
        query = select(func.count()).where(
            c.lease_token.is_not(None), c.lease_expires_at > now, self._mine(c.company_id)
        )
        return int((await self._connection.execute(query)).scalar_one())


def _first_of(at: Column[Any], mine: ColumnElement[bool], owners: Table) -> tuple[Label[Any], Label[Any]]:
    """Return how many rows of each owner there are, of the first ones, and when the oldest is due.

    In the order of an index, so that no plan reads a whole table, or a whole backlog, for each owner.
    """
    some = select(at).where(mine).correlate(owners).order_by(at).limit(MOST_COUNTED).subquery()
    oldest = select(func.min(at)).where(mine).correlate(owners).scalar_subquery()
    return select(func.count()).select_from(some).scalar_subquery().label("due"), oldest.label("oldest")


def _looked_at_once(query: Select[Any]) -> Any:
    """Return the columns of a query that PostgreSQL is not to weave into the one around it, which looks again."""
    return query.cte("lines").prefix_with("MATERIALIZED", dialect="postgresql").c


def _is_free(table: Table, now: datetime) -> ColumnElement[bool]:
    return or_(table.c.lease_token.is_(None), table.c.lease_expires_at <= now)
