"""One company and its agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.lifecycle import CartState
from backend.models import carts, companies, company_agents, integrations, poll_cycle_counts
from backend.store.listings import Place, newest
from backend.store.naming import free_name


@dataclass(frozen=True, slots=True)
class CompanyRow:
    """A stored company."""

    id: str
    name: str
    website: str | None
    support_email: str | None
    phone: str | None
    country: str | None
    status: str
    weight: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class AgentRow:
    """A stored agent."""

    id: str
    name: str
    template_slug: str
    status: str
    abandonment_threshold_minutes: int
    recovery_horizon_days: int
    attribution_window_days: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ServedRow:
    """An integration as its agent sees it."""

    agent_id: str
    id: str
    name: str
    platform: str
    status: str
    poll_interval_seconds: int | None


class CompanyStore:
    """The company itself."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def load(self) -> CompanyRow | None:
        """Return the company."""
        query = select(companies).where(companies.c.id == self._company)
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else company_row(row)

    async def lock(self) -> bool:
        """Hold up other changes of this company's set-up until the transaction ends; False if there is no company."""
        query = select(companies.c.id).where(companies.c.id == self._company).with_for_update()
        return (await self._connection.execute(query)).one_or_none() is not None

    async def add(self, values: Mapping[str, Any], now: datetime) -> None:
        """Insert the company."""
        fixed = {"id": self._company, "created_at": now, "updated_at": now}
        with free_name("a company", values):
            await self._connection.execute(insert(companies).values(**values, **fixed))

    async def change(self, values: Mapping[str, Any], now: datetime) -> None:
        """Change columns of the company."""
        statement = update(companies).where(companies.c.id == self._company)
        with free_name("a company", values):
            await self._connection.execute(statement.values(**values, updated_at=now))

    async def delete_if_unused(self) -> bool:
        """Delete the company with its counts, unless an agent refers to it; say whether it is gone.

        Its data keys stay, as they sign its audit chain, which outlives it.
        """
        try:
            async with self._connection.begin_nested():
                counts = poll_cycle_counts
                await self._connection.execute(delete(counts).where(counts.c.company_id == self._company))
                await self._connection.execute(delete(companies).where(companies.c.id == self._company))
        except IntegrityError:
            return False
        return True


class AgentStore:
    """Agents of one company."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def list_page(self, limit: int, after: Place | None, *, status: str | None = None) -> list[AgentRow]:
        """Return agents, newest first."""
        c = company_agents.c
        query = select(company_agents).where(c.company_id == self._company)
        if status is not None:
            query = query.where(c.status == status)
        rows = await self._connection.execute(newest(query, company_agents, "created_at", limit, after))
        return [_agent(row) for row in rows]

    async def load_all(self) -> list[AgentRow]:
        """Return every agent, by name."""
        c = company_agents.c
        query = select(company_agents).where(c.company_id == self._company).order_by(c.name)
        return [_agent(row) for row in await self._connection.execute(query)]

    async def load(self, agent_id: str) -> AgentRow | None:
        """Return one agent."""
        c = company_agents.c
        query = select(company_agents).where(c.company_id == self._company, c.id == agent_id)
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else _agent(row)

    async def served(self, agent_ids: Sequence[str]) -> list[ServedRow]:
        """Return the integrations of these agents, by name."""
        c = integrations.c
        shown = (c.agent_id, c.id, c.name, c.platform, c.status, c.poll_interval_seconds)
        query = select(*shown).where(c.company_id == self._company, c.agent_id.in_(agent_ids))
        return [ServedRow(*row) for row in await self._connection.execute(query.order_by(c.name))]

    async def add(self, agent_id: str, values: Mapping[str, Any], now: datetime) -> None:
        """Insert an agent."""
        fixed = {"company_id": self._company, "id": agent_id, "created_at": now, "updated_at": now}
        with free_name("an agent", values):
            await self._connection.execute(insert(company_agents).values(**values, **fixed))

    async def change(self, agent_id: str, values: Mapping[str, Any], now: datetime) -> None:
        """Change columns of an agent."""
        statement = update(company_agents).where(
            company_agents.c.company_id == self._company, company_agents.c.id == agent_id
        )
        with free_name("an agent", values):
            await self._connection.execute(statement.values(**values, updated_at=now))

    async def check_active_carts_now(self, agent_id: str, now: datetime) -> None:
        """Let the sweep look at the agent's active carts at once: their due times came from another threshold.

        Abandoned carts are left alone: to the sweep a due time that has passed means that they are lost.
        """
        c = carts.c
        await self._connection.execute(
            update(carts)
            .where(
                c.company_id == self._company,
                c.agent_id == agent_id,
                c.state == CartState.ACTIVE.value,
                c.next_check_at > now,
            )
            .values(next_check_at=now)
        )

    async def delete_if_unused(self, agent_id: str) -> bool:
        """Delete an agent unless something refers to it; say whether it is gone."""
        c = company_agents.c
        statement = delete(company_agents).where(c.company_id == self._company, c.id == agent_id)
        try:
            async with self._connection.begin_nested():
                await self._connection.execute(statement)
        except IntegrityError:
            return False
        return True


def company_row(row: Row[Any]) -> CompanyRow:
    """Return a company as its frozen row."""
    return CompanyRow(**{name: getattr(row, name) for name in CompanyRow.__slots__})


def _agent(row: Row[Any]) -> AgentRow:
    return AgentRow(**{name: getattr(row, name) for name in AgentRow.__slots__})
