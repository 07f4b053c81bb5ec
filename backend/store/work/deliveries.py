"""The delivery lane's queue: destinations that are owed something. One worker at a time works one off."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.ids import new_id
from backend.domain.work import DestinationTurn
from backend.models import companies, deliveries, destinations, installation_state
from backend.store.work.leases import Lease, Room, claiming, unleased

_TO = destinations.c


class DeliveryQueue:
    """Destinations of all companies. `connection` is a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, lease: Lease, room: Room, due_by: datetime | None = None) -> list[DestinationTurn]:
        """Take destinations with a delivery due by `due_by` (now): every company's first before anyone's second.

        Nothing while deliveries are on hold.
        """
        due_by, token = due_by or lease.now, new_id()
        taken = 0
        if room.suspects < room.pieces:
            taken = await self._take(lease, token, room, (due_by, room.pieces, ~_is_suspect()))
            left = min(room.pieces - taken, room.suspects)
            if left > 0:
                taken += await self._take(lease, token, room, (due_by, left, _is_suspect()))
        else:
            taken = await self._take(lease, token, room, (due_by, room.pieces, None))
        return await self._turns(token) if taken else []

    async def _take(
        self, lease: Lease, token: str, room: Room, what: tuple[datetime, int, ColumnElement[bool] | None]
    ) -> int:
        query = owed(lease.now, room, what)
        return len((await self._connection.execute(claiming(destinations, query, lease, token))).all())

    async def _turns(self, token: str) -> list[DestinationTurn]:
        query = select(
            _TO.company_id, _TO.id, _TO.url, _TO.secrets_sealed, _TO.secrets_version, _TO.failures, _TO.last_success_at
        ).where(_TO.lease_token == token)
        return [
            DestinationTurn(
                company_id=row.company_id,
                destination_id=row.id,
                url=row.url,
                secrets_sealed=row.secrets_sealed,
                secrets_version=row.secrets_version,
                failures=row.failures,
                is_suspect=row.failures > 0 or row.last_success_at is None,
                token=token,
            )
            for row in await self._connection.execute(query)
        ]


def _is_suspect() -> ColumnElement[bool]:
    """Return the condition that a destination failed last time, or never answered well yet."""
    return or_(_TO.failures > 0, _TO.last_success_at.is_(None))


def _is_open(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a destination may be asked now and nobody else works it off."""
    return and_(
        _TO.status == "active",
        or_(_TO.held_until.is_(None), _TO.held_until <= now),
        unleased(destinations, now),
    )


def owed(now: datetime, room: Room, what: tuple[datetime, int, ColumnElement[bool] | None]) -> Select[Any]:
    """Return the query for the destinations to take next; `what`: due by when, how many, of which kind.

    Each destination's oldest due delivery is one probe of an index, however many wait behind it. Within a company the
    longest waiting comes first; a company of weight n has its nth as early as others have their first.
    """
    due_by, most, kind = what
    d = deliveries.c
    oldest = (
        select(func.min(d.next_attempt_at))
        .where(
            d.company_id == _TO.company_id, d.destination_id == _TO.id, d.state == "pending", unleased(deliveries, now)
        )
        .scalar_subquery()
    )
    is_held = exists().where(installation_state.c.hold_reason.is_not(None))
    waiting = select(_TO.company_id, _TO.id, oldest.label("oldest")).where(
        _is_open(now), room.admits(_TO.company_id), oldest <= due_by, ~is_held
    )
    if kind is not None:
        waiting = waiting.where(kind)
    line = waiting.subquery("waiting")
    place = func.row_number().over(partition_by=line.c.company_id, order_by=(line.c.oldest, line.c.id))
    ranked = select(line, place.label("place")).subquery("ranked")
    round_ = (ranked.c.place - 1) // companies.c.weight  # whole numbers: the round in which its company brings it
    return (
        select(_TO.company_id, _TO.id)
        .join(ranked, and_(ranked.c.company_id == _TO.company_id, ranked.c.id == _TO.id))
        .join(companies, companies.c.id == _TO.company_id)
        .where(_is_open(now))  # once more, where the row is locked: another worker may just have taken it
        .order_by(round_, ranked.c.oldest)
        .limit(most)
    )
