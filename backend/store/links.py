"""Invitations and password resets that were handed out, across companies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import links
from backend.store.listings import Place, newest


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A stored link. `role` and `company_id` (None: all) are those of an invitation."""

    id: str
    kind: str
    email: str
    role: str | None
    company_id: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    withdrawn_at: datetime | None


_COLUMNS = tuple(links.c[name] for name in LinkRow.__slots__)


class LinkStore:
    """Links of the installation. `connection` is a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, row: LinkRow) -> None:
        """Insert a link."""
        await self._connection.execute(insert(links).values({name: getattr(row, name) for name in row.__slots__}))

    async def load(self, link_id: str) -> LinkRow | None:
        """Return one link."""
        row = (await self._connection.execute(select(*_COLUMNS).where(links.c.id == link_id))).first()
        return None if row is None else LinkRow(*row)

    async def open_page(
        self, kind: str, company_id: str | None, now: datetime, limit: int, after: Place | None
    ) -> list[LinkRow]:
        """Return the links of a kind that can still be used, for a company or for all together (None), newest first."""
        query = select(*_COLUMNS).where(links.c.kind == kind, _of(company_id), *_usable(now))
        rows = await self._connection.execute(newest(query, links, "created_at", limit, after))
        return [LinkRow(*row) for row in rows]

    async def use(self, link_id: str, now: datetime) -> bool:
        """Use a link up; False when it cannot be used (any more)."""
        done = await self._connection.execute(
            update(links).where(links.c.id == link_id, *_usable(now)).values(used_at=now)
        )
        return bool(done.rowcount)

    async def withdraw(self, company_id: str | None, link_id: str, now: datetime) -> bool:
        """Take an invitation back; False when there is no such open one."""
        is_it = (links.c.id == link_id) & (links.c.kind == "invitation") & _of(company_id)
        done = await self._connection.execute(update(links).where(is_it, *_usable(now)).values(withdrawn_at=now))
        return bool(done.rowcount)

    async def withdraw_made_by(self, actor: str, now: datetime) -> None:
        """Take back every open link that somebody made."""
        await self._connection.execute(
            update(links).where(links.c.created_by == actor, *_usable(now)).values(withdrawn_at=now)
        )

    async def withdraw_invitations(self, email: str, company_id: str | None, now: datetime) -> None:
        """Take back what would give a person a role there again."""
        is_it = (links.c.kind == "invitation") & (links.c.email == email) & _of(company_id)
        await self._connection.execute(update(links).where(is_it, *_usable(now)).values(withdrawn_at=now))

    async def withdraw_resets(self, email: str, now: datetime) -> None:
        """Take back every open reset of a person: there is one at most."""
        is_it = (links.c.kind == "reset") & (links.c.email == email)
        await self._connection.execute(update(links).where(is_it, *_usable(now)).values(withdrawn_at=now))


def _usable(now: datetime) -> tuple[ColumnElement[bool], ...]:
    c = links.c
    return c.used_at.is_(None), c.withdrawn_at.is_(None), c.expires_at > now


def _of(company_id: str | None) -> ColumnElement[bool]:
    return links.c.company_id.is_(None) if company_id is None else links.c.company_id == company_id
