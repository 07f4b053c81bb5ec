"""Destinations of one company, as the people who set them up see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import destinations
from backend.store.listings import Place, newest
from backend.store.naming import free_name


@dataclass(frozen=True, slots=True)
class DestinationRow:
    """A stored destination; its signing secrets are sealed."""

    id: str
    agent_id: str
    name: str
    url: str
    secrets_sealed: bytes
    secrets_version: int
    status: str
    status_reason: str | None
    max_carts_per_payload: int
    include_uncontactable: bool
    include_opted_out: bool
    failures: int
    held_until: datetime | None
    last_error: str | None
    last_error_at: datetime | None
    last_success_at: datetime | None
    created_at: datetime
    updated_at: datetime

    def __repr__(self) -> str:
        """Leave the secrets and the URL, which may hold one, out of every log line and traceback."""
        return f"DestinationRow(id={self.id!r}, name={self.name!r})"


class DestinationStore:
    """Destinations of one company."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def list_page(
        self, limit: int, after: Place | None, *, status: str | None = None, agent_id: str | None = None
    ) -> list[DestinationRow]:
        """Return destinations, newest first."""
        c = destinations.c
        query = select(destinations).where(c.company_id == self._company)
        if status is not None:
            query = query.where(c.status == status)
        if agent_id is not None:
            query = query.where(c.agent_id == agent_id)
        rows = await self._connection.execute(newest(query, destinations, "created_at", limit, after))
        return [_destination(row) for row in rows]

    async def load_all(self) -> list[DestinationRow]:
        """Return every destination, by name."""
        c = destinations.c
        query = select(destinations).where(c.company_id == self._company).order_by(c.name)
        return [_destination(row) for row in await self._connection.execute(query)]

    async def load(self, destination_id: str) -> DestinationRow | None:
        """Return one destination."""
        c = destinations.c
        query = select(destinations).where(c.company_id == self._company, c.id == destination_id)
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else _destination(row)

    async def add(self, destination_id: str, values: Mapping[str, Any], now: datetime) -> None:
        """Insert a destination."""
        fixed = {"company_id": self._company, "id": destination_id, "created_at": now, "updated_at": now}
        with free_name("a destination", values):
            await self._connection.execute(insert(destinations).values(**values, **fixed))

    async def change(self, destination_id: str, values: Mapping[str, Any], now: datetime) -> None:
        """Change columns of a destination."""
        c = destinations.c
        statement = update(destinations).where(c.company_id == self._company, c.id == destination_id)
        with free_name("a destination", values):
            await self._connection.execute(statement.values(**values, updated_at=now))

    async def delete_if_unused(self, destination_id: str) -> bool:
        """Delete a destination unless something refers to it; say whether it is gone."""
        c = destinations.c
        statement = delete(destinations).where(c.company_id == self._company, c.id == destination_id)
        try:
            async with self._connection.begin_nested():
                await self._connection.execute(statement)
        except IntegrityError:
            return False
        return True


def _destination(row: Row[Any]) -> DestinationRow:
    return DestinationRow(**{name: getattr(row, name) for name in DestinationRow.__slots__})
