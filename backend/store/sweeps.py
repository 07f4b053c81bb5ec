"""What the sweep needs to know of one store's claimed carts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.lifecycle import CartRow
from backend.domain.work import AgentCard, platform_shown
from backend.models import carts, companies, company_agents, integrations
from backend.store.carts import cart_row
from backend.store.work import AGENT_COLUMNS, agent_card


class SweepStore:
    """Claimed carts of one company."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def load_held(self, ids: Sequence[str], token: str, now: datetime) -> list[CartRow]:
        """Return the carts that are still held under `token`, locked until the transaction ends."""
        c = carts.c
        query = (
            select(carts)
            .where(c.company_id == self._company, c.id.in_(ids), c.lease_token == token, c.lease_expires_at > now)
            .order_by(c.id)
            .with_for_update(key_share=True)
        )
        return [cart_row(row) for row in await self._connection.execute(query)]

    async def owner(self, integration_id: str) -> tuple[AgentCard, str, str]:
        """Return the agent that a store belongs to, the store's platform, and the one partners are told."""
        c = integrations.c
        query = (
            select(c.company_id, c.agent_id, c.platform, c.settings, *AGENT_COLUMNS)
            .select_from(integrations)
            .join(
                company_agents,
                (company_agents.c.company_id == c.company_id) & (company_agents.c.id == c.agent_id),
            )
            .join(companies, companies.c.id == c.company_id)
            .where(c.company_id == self._company, c.id == integration_id)
        )
        row: Any = (await self._connection.execute(query)).one()
        return agent_card(row), row.platform, platform_shown(row.platform, row.settings)
