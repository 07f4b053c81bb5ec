"""The delivery lane's queue: destinations that are owed something. One worker at a time works one off."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.ids import new_id
from backend.domain.work import DestinationTurn
from backend.models import companies, deliveries, destinations, installation_state
from backend.models.base import UtcDateTime
from backend.store.work.leases import MOST, NOW, TOKEN, Lease, Room, admitted, claiming, terms, unleased

_TO = destinations.c
DUE_BY = bindparam("due_by", type_=UtcDateTime)
Kind = Literal["any", "sound", "failing"]


class DeliveryQueue:
    """Destinations of all companies. `connection` is a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, lease: Lease, room: Room, due_by: datetime | None = None) -> list[DestinationTurn]:
        """Take destinations with a delivery due by `due_by` (now): every company's first before anyone's second.

        Nothing while deliveries are on hold.
        """
        values = terms(lease, new_id(), full=sorted(room.full), due_by=due_by or lease.now)
        if room.suspects >= room.pieces:
            taken = await self._take("any", values, room.pieces)
        else:
            taken = await self._take("sound", values, room.pieces)
            taken += await self._take("failing", values, min(room.pieces - taken, room.suspects))
        return await self._turns(values) if taken else []

    async def _take(self, kind: Kind, values: dict[str, Any], most: int) -> int:
        claim = _claim(kind)
        return len((await self._connection.execute(claim, {**values, "most": most})).all()) if most > 0 else 0

    async def _turns(self, values: dict[str, Any]) -> list[DestinationTurn]:
        return [
            DestinationTurn(
                company_id=row.company_id,
                destination_id=row.id,
                url=row.url,
                secrets_sealed=row.secrets_sealed,
                secrets_version=row.secrets_version,
                failures=row.failures,
                is_suspect=row.failures > 0,
                is_proven=row.failures == 0 and row.last_success_at is not None,
                token=values["token"],
            )
            for row in await self._connection.execute(CLAIMED, values)
        ]


def _is_open() -> ColumnElement[bool]:
    """Return the condition that a destination may be asked now and nobody else works it off."""
    return and_(_TO.status == "active", or_(_TO.held_until.is_(None), _TO.held_until <= NOW), unleased(destinations))


@cache
def _claim(kind: Kind) -> Any:
    """Return the claim of the destinations to work off next.

    Each destination's oldest due delivery is one probe of an index, however many wait behind it. Within a company the
    longest waiting comes first; a company of weight n has its nth as early as others have their first.
    """
    d = deliveries.c
    mine = and_(d.company_id == _TO.company_id, d.destination_id == _TO.id, d.state == "pending", unleased(deliveries))
    oldest = select(func.min(d.next_attempt_at)).where(mine).scalar_subquery()
    is_held = exists().where(installation_state.c.hold_reason.is_not(None))
    waiting = select(_TO.company_id, _TO.id, oldest.label("oldest")).where(
        _is_open(), admitted(_TO.company_id), oldest <= DUE_BY, ~is_held
    )
    if kind != "any":
        waiting = waiting.where(_TO.failures > 0 if kind == "failing" else _TO.failures == 0)
    line = waiting.subquery("waiting")
    place = func.row_number().over(partition_by=line.c.company_id, order_by=(line.c.oldest, line.c.id))
    ranked = select(line, place.label("place")).subquery("ranked")
    round_ = (ranked.c.place - 1) // companies.c.weight  # whole numbers: the round in which its company brings it
    query = (
        select(_TO.company_id, _TO.id)
        .join(ranked, and_(ranked.c.company_id == _TO.company_id, ranked.c.id == _TO.id))
        .join(companies, companies.c.id == _TO.company_id)
        .where(_is_open())  # once more, where the row is locked: another worker may just have taken it
        .order_by(round_, ranked.c.oldest)
        .limit(MOST)
    )
    return claiming(destinations, query)


CLAIMED = select(
    _TO.company_id, _TO.id, _TO.url, _TO.secrets_sealed, _TO.secrets_version, _TO.failures, _TO.last_success_at
).where(_TO.lease_token == TOKEN)
