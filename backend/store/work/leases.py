"""What a claim is made of, for every lane: its terms, the room it has to fill, the claiming statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, String, Table, bindparam, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import carts, deliveries, destinations, integrations
from backend.models.base import UtcDateTime

# The tables whose rows a lane's lease is on; renewed together.
LEASED: dict[str, tuple[Table, ...]] = {
    "polls": (integrations,),
    "sweep": (carts,),
    "deliveries": (destinations, deliveries),
}


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim's terms."""

    now: datetime
    seconds: float

    @property
    def until(self) -> datetime:
        """When the lease runs out unless it is renewed."""
        return self.now + timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Room:
    """What a worker can take on: `pieces` at most, of them so many `suspects`; nothing of companies that are `full`.

    A suspect failed last time, so it may hold its place for long; the others must not wait for it. `is_crowded`: the
    claim before this one left due work behind.
    """

    pieces: int
    suspects: int
    full: frozenset[str] = frozenset()
    is_crowded: bool = False


# Claims run many times a second, so their statements are made once, with these values left open (see `terms`).
NOW, UNTIL = bindparam("now", type_=UtcDateTime), bindparam("until", type_=UtcDateTime)
TOKEN, MOST = bindparam("token", type_=String), bindparam("most", type_=Integer)
FULL = bindparam("full", expanding=True, type_=String)


def terms(lease: Lease, token: str, **more: Any) -> dict[str, Any]:
    """Return the values of a claim."""
    return {"now": lease.now, "until": lease.until, "token": token, **more}


def admitted(company: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that the company has not its share already."""
    return company.not_in(FULL)


def unleased(table: Table) -> ColumnElement[bool]:
    """Return the condition that nobody holds the row."""
    return or_(table.c.lease_token.is_(None), table.c.lease_expires_at <= NOW)


def claiming(table: Table, due: Select[Any], **more: Any) -> Any:
    """Return the claiming statement: lock the due rows, stamp them, return their keys. Its values are `terms`.

    The lock lets others refer to the row, as a page does that writes deliveries to a destination.
    """
    locked = due.with_for_update(skip_locked=True, of=table, key_share=True)
    picked = locked.cte("due").prefix_with("MATERIALIZED", dialect="postgresql")
    return (
        update(table)
        .where(tuple_(table.c.company_id, table.c.id).in_(select(picked.c.company_id, picked.c.id)))
        .values(lease_token=TOKEN, lease_expires_at=UNTIL, **more)
        .returning(table.c.company_id, table.c.id)
    )


@dataclass(frozen=True, slots=True)
class Renewed:
    """What became of tokens, by the lane's first table: which still hold something, and which do so for longer now."""

    alive: set[str]
    longer: set[str]


async def renew(connection: AsyncConnection, lane: str, tokens: Sequence[str], until: datetime) -> Renewed:
    """Renew the leases under these tokens.

    Rows that are locked at this moment are passed over: they are being settled, or whoever locked them renews them.
    Waiting for them could mean waiting in a ring with whoever settles several.
    """
    longer: set[str] = set()
    for table in reversed(LEASED[lane]):
        mine = table.c.lease_token.in_(tokens)
        free = select(table.c.company_id, table.c.id).where(mine).with_for_update(skip_locked=True, key_share=True)
        picked = free.cte("free").prefix_with("MATERIALIZED", dialect="postgresql")
        is_free = tuple_(table.c.company_id, table.c.id).in_(select(picked.c.company_id, picked.c.id))
        renewal = update(table).where(is_free, mine).values(lease_expires_at=until).returning(table.c.lease_token)
        longer = set((await connection.execute(renewal)).scalars())
    return Renewed(longer | await _held(connection, lane, set(tokens) - longer), longer)


async def _held(connection: AsyncConnection, lane: str, tokens: set[str]) -> set[str]:
    """Return the tokens that hold something; asked only for those that could not be renewed, as it is a round trip."""
    if not tokens:
        return set()
    token = LEASED[lane][0].c.lease_token
    return set((await connection.execute(select(token).where(token.in_(tokens)).distinct())).scalars())
