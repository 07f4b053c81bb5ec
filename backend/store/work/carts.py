"""The sweep lane's queue: carts whose time is up."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.ids import new_id
from backend.domain.lifecycle import CartState
from backend.domain.work import SweepWork
from backend.models import carts, companies
from backend.store.work.leases import MOST, NOW, TOKEN, Lease, Room, admitted, claiming, terms, unleased

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
        values = terms(lease, new_id(), full=sorted(room.full))
        owed = await self._connection.execute(_owed(), {**values, "most": room.pieces})
        for company in owed.scalars().all():
            await self._connection.execute(_claim(), {**values, "company": company, "most": CARTS_AT_ONCE})
        groups: dict[tuple[str, str], list[str]] = {}
        for row in await self._connection.execute(_CLAIMED, values):
            groups.setdefault((row.company_id, row.integration_id), []).append(row.id)
        token = values["token"]
        return [SweepWork(company, store, tuple(ids), token) for (company, store), ids in groups.items()]


def _undecided() -> ColumnElement[bool]:
    return carts.c.state.in_([CartState.ACTIVE.value, CartState.ABANDONED.value])


@cache
def _owed() -> Select[Any]:
    """Return the query for the companies with carts to look at; one probe of the index for each company."""
    c = carts.c
    mine = and_(c.company_id == companies.c.id, c.next_check_at.is_not(None), _undecided(), unleased(carts))
    oldest = select(func.min(c.next_check_at)).where(mine).scalar_subquery()
    return select(companies.c.id).where(oldest < NOW, admitted(companies.c.id)).order_by(oldest).limit(MOST)


@cache
def _claim() -> Any:
    """Return the claim of one company's carts."""
    c = carts.c
    mine = (c.company_id == bindparam("company")) & _undecided() & unleased(carts)
    due = select(c.company_id, c.id).where(c.next_check_at < NOW, mine).order_by(c.next_check_at).limit(MOST)
    return claiming(carts, due)


_CLAIMED = (
    select(carts.c.company_id, carts.c.integration_id, carts.c.id)
    .where(carts.c.lease_token == TOKEN)
    .order_by(carts.c.next_check_at)
)
