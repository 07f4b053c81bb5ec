"""Integrations of one company, as the people who set them up see them. Polls write through `store/polls.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import carts, integrations
from backend.store.listings import Place, newest
from backend.store.naming import free_name

# What a change of the set-up ends: a poll in flight loses its lease, so what it still wants to save matches no row.
LEASE_ENDED: Mapping[str, Any] = {"lease_token": None, "lease_expires_at": None, "claims": 0}


@dataclass(frozen=True, slots=True)
class IntegrationRow:
    """A stored integration; the credentials are sealed."""

    id: str
    agent_id: str
    name: str
    platform: str
    store_id: str
    status: str
    pause_reason: str | None
    settings: dict[str, Any]
    credentials_sealed: bytes
    credentials_version: int
    poll_interval_seconds: int | None
    initial_lookback_days: int
    watermark: datetime | None
    next_poll_at: datetime
    waiting_until: datetime | None
    waiting_for: str | None
    last_error_code: str | None
    last_error: str | None
    last_remedy: str | None
    last_error_at: datetime | None
    last_polled_at: datetime | None
    last_success_at: datetime | None
    notices: list[str] | None
    created_at: datetime
    updated_at: datetime

    def __repr__(self) -> str:
        """Leave the credentials out of every log line and traceback, sealed as they are."""
        return f"IntegrationRow(id={self.id!r}, name={self.name!r}, platform={self.platform!r})"


class IntegrationStore:
    """Integrations of one company."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def list_page(
        self, limit: int, after: Place | None, *, status: str | None = None, agent_id: str | None = None
    ) -> list[IntegrationRow]:
        """Return integrations, newest first."""
        c = integrations.c
        query = select(integrations).where(c.company_id == self._company)
        if status is not None:
            query = query.where(c.status == status)
        if agent_id is not None:
            query = query.where(c.agent_id == agent_id)
        rows = await self._connection.execute(newest(query, integrations, "created_at", limit, after))
        return [_integration(row) for row in rows]

    async def load_all(self) -> list[IntegrationRow]:
        """Return every integration, by name."""
        c = integrations.c
        query = select(integrations).where(c.company_id == self._company).order_by(c.name)
        return [_integration(row) for row in await self._connection.execute(query)]

    async def load(self, integration_id: str) -> IntegrationRow | None:
        """Return one integration."""
        c = integrations.c
        query = select(integrations).where(c.company_id == self._company, c.id == integration_id)
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else _integration(row)

    async def load_by_store(self, platform: str, store_id: str) -> IntegrationRow | None:
        """Return the integration that is connected to a store."""
        c = integrations.c
        query = select(integrations).where(
            c.company_id == self._company, c.platform == platform, c.store_id == store_id
        )
        row = (await self._connection.execute(query.limit(1))).one_or_none()
        return None if row is None else _integration(row)

    async def has_carts(self, integration_id: str) -> bool:
        """Whether a cart was ever read from it."""
        query = select(exists().where(carts.c.company_id == self._company, carts.c.integration_id == integration_id))
        return bool((await self._connection.execute(query)).scalar_one())

    async def add(self, integration_id: str, values: Mapping[str, Any], now: datetime) -> None:
        """Insert an integration."""
        fixed = {"company_id": self._company, "id": integration_id, "created_at": now, "updated_at": now}
        with free_name("an integration", values):
            await self._connection.execute(insert(integrations).values(**values, **fixed))

    async def change(self, integration_id: str, values: Mapping[str, Any], now: datetime) -> None:
        """Change columns of an integration, whoever is polling it."""
        c = integrations.c
        statement = update(integrations).where(c.company_id == self._company, c.id == integration_id)
        with free_name("an integration", values):
            await self._connection.execute(statement.values(**values, updated_at=now))

    async def delete_if_unused(self, integration_id: str) -> bool:
        """Delete an integration unless something refers to it; say whether it is gone."""
        c = integrations.c
        statement = delete(integrations).where(c.company_id == self._company, c.id == integration_id)
        try:
            async with self._connection.begin_nested():
                await self._connection.execute(statement)
        except IntegrityError:
            return False
        return True


def _integration(row: Row[Any]) -> IntegrationRow:
    return IntegrationRow(**{name: getattr(row, name) for name in IntegrationRow.__slots__})
