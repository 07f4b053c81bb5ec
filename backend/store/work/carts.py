"""The sweep lane's queue: carts whose time is up."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.ids import new_id
from backend.domain.lifecycle import CartState
from backend.domain.work import SweepWork
from backend.models import carts, companies
from backend.store.work.leases import Lease, Room, claiming, unleased

# Carts of one company that a claim takes at most; its next ones come after the other companies' turns.
CARTS_AT_ONCE = 200


class CartQueue:
    """Carts of all companies. `connection` is a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, lease: Lease, room: Room) -> list[SweepWork]:
        """Take carts whose time is up, of `room.pieces` companies at most, those that waited longest first.

        Active carts past their threshold and abandoned ones past their horizon; one piece of work per store.
        """
        token = new_id()
        for company in await self._owed(lease.now, room):
            await self._claim_of(company, lease, token)
        c = carts.c
        rows = await self._connection.execute(
            select(c.company_id, c.integration_id, c.id).where(c.lease_token == token).order_by(c.next_check_at)
        )
        groups: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            groups.setdefault((row.company_id, row.integration_id), []).append(row.id)
        return [SweepWork(company, store, tuple(ids), token) for (company, store), ids in groups.items()]

    async def _owed(self, now: datetime, room: Room) -> list[str]:
        """Return the companies with carts to look at; one probe of the index for each company."""
        c = carts.c
        mine = and_(c.company_id == companies.c.id, c.next_check_at.is_not(None), _undecided())
        oldest = select(func.min(c.next_check_at)).where(mine).scalar_subquery()
        query = (
            select(companies.c.id).where(oldest < now, room.admits(companies.c.id)).order_by(oldest).limit(room.pieces)
        )
        return list((await self._connection.execute(query)).scalars())

    async def _claim_of(self, company: str, lease: Lease, token: str) -> None:
        c = carts.c
        due = (
            select(c.company_id, c.id)
            .where(c.company_id == company, c.next_check_at < lease.now, _undecided(), unleased(carts, lease.now))
            .order_by(c.next_check_at)
            .limit(CARTS_AT_ONCE)
        )
        await self._connection.execute(claiming(carts, due, lease, token))


def _undecided() -> ColumnElement[bool]:
    return carts.c.state.in_([CartState.ACTIVE.value, CartState.ABANDONED.value])
