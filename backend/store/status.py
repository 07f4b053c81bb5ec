"""Read-only figures for the status, of one company or, where the caller's grant covers all, of every company."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import companies, company_agents, deliveries, integrations
from backend.store.work import Scope


class StatusStore:
    """`company_id` None means all companies; the transaction's role decides what is really seen."""

    def __init__(self, connection: AsyncConnection, company_id: str | None) -> None:
        self._connection = connection
        self._company = company_id

    def _mine(self, column: ColumnElement[str]) -> ColumnElement[bool]:
        return true() if self._company is None else column == self._company

    async def integrations(self, scope: Scope) -> list[Any]:
        """Return integrations of the template's active agents with their agent's and company's names."""
        on_agent = and_(
            company_agents.c.company_id == integrations.c.company_id,
            company_agents.c.id == integrations.c.agent_id,
        )
        query = (
            select(integrations, company_agents.c.name.label("agent_name"), companies.c.name.label("company_name"))
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
