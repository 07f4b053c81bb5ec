"""Working off one destination's deliveries: taking them, attempts, next due times, its health, who was contacted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, Integer, String, and_, bindparam, case, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.ids import new_id
from backend.domain.work import DeliveryWork, DestinationTurn, Target
from backend.models import carts, deliveries, delivery_attempts, delivery_carts, destinations
from backend.models.base import UtcDateTime
from backend.store.bulk import Bulk
from backend.store.deliveries import TARGET
from backend.store.work.leases import MOST, NOW, TOKEN, UNTIL, Lease, claiming, terms, unleased

_SENT = (
    "destination_id",
    "webhook_id",
    "type",
    "body",
    "attempts",
    "next_attempt_at",
    "first_attempt_at",
    "cycle_id",
    "lease_token",
)
_ATTEMPTS = Bulk(
    delivery_attempts,
    (
        "company_id",
        "id",
        "worker_id",
        "delivery_id",
        "number",
        "started_at",
        "elapsed_ms",
        "outcome",
        "status",
        "error",
        "answer",
        "next_attempt_at",
    ),
)
_SETTLED = Bulk(
    deliveries,
    (
        "state",
        "attempts",
        "next_attempt_at",
        "last_outcome",
        "last_status",
        "last_error",
        "finished_at",
        "lease_token",
        "lease_expires_at",
        "id",
    ),
)


def _open(name: str, kind: type[Any] = String) -> BindParameter[Any]:
    """Return the open value of a statement that is made once."""
    return bindparam(name, type_=kind)


COMPANY, DESTINATION, IDS = _open("company"), _open("destination"), bindparam("ids", expanding=True, type_=String)


def _taking() -> Any:
    """Return the statement that takes a destination's longest due deliveries."""
    d = deliveries.c
    due = (
        select(d.company_id, d.id)
        .where(d.company_id == COMPANY, d.destination_id == DESTINATION)
        .where(d.state == "pending", d.next_attempt_at <= _open("due_by", UtcDateTime), unleased(deliveries))
        .order_by(d.next_attempt_at)  # and nothing more: the index then hands over the first ones without sorting
        .limit(MOST)
    )
    started = func.coalesce(d.first_attempt_at, NOW)
    claim = claiming(deliveries, due, attempts=d.attempts + 1, first_attempt_at=started)
    return claim.returning(*(d[name] for name in _SENT))


def _contacted() -> Any:
    """Return the statement that notes the handing off of the carts in some deliveries.

    They are locked in the order that a page locks them in, so that the two never wait for each other.
    """
    mine, held = carts.c.company_id == COMPANY, delivery_carts.c
    sent = and_(held.company_id == COMPANY, held.delivery_id.in_(IDS))
    ids = select(held.cart_id).where(sent)
    ordered = select(carts.c.id).where(mine, carts.c.id.in_(ids)).order_by(carts.c.id).with_for_update(key_share=True)
    locked = ordered.cte("locked").prefix_with("MATERIALIZED", dialect="postgresql")
    is_present = exists().where(sent, held.cart_id == carts.c.id, held.episode == carts.c.episode)
    return (
        update(carts)
        .where(mine, carts.c.id.in_(select(locked.c.id)), carts.c.contacted_at.is_(None), is_present)
        .values(contacted_at=NOW)
    )


def _noting() -> Any:
    """Return the statement that stores what attempts said of a destination."""
    c, succeeded = destinations.c, _open("succeeded_at", UtcDateTime)
    error, failed_at = _open("error"), _open("failed_at", UtcDateTime)
    gone, in_a_row = _open("gone"), _open("in_a_row", Integer)
    return (
        update(destinations)
        .where(c.company_id == COMPANY, c.id == DESTINATION)
        .values(
            held_until=UNTIL,
            failures=case((succeeded.is_not(None), in_a_row), else_=c.failures + in_a_row),
            last_success_at=func.coalesce(succeeded, c.last_success_at),
            last_error=func.coalesce(error, c.last_error),
            last_error_at=func.coalesce(failed_at, c.last_error_at),
            status=case((gone.is_not(None), "disabled"), else_=c.status),
            status_reason=func.coalesce(gone, c.status_reason),
        )
    )


# Made once, with their values left open: each runs several times in every turn.
_HELD = and_(
    destinations.c.company_id == COMPANY, destinations.c.id == DESTINATION, destinations.c.lease_token == TOKEN
)
_HOLD = (
    update(destinations)
    .where(_HELD, destinations.c.lease_expires_at > NOW)
    .values(lease_expires_at=UNTIL)
    .returning(*(destinations.c[name] for name in TARGET))
)
_END_TURN = update(destinations).where(_HELD).values(lease_token=None, lease_expires_at=None)
_STILL_HELD = (
    select(deliveries.c.id)
    .where(deliveries.c.company_id == COMPANY, deliveries.c.id.in_(IDS), deliveries.c.lease_token == TOKEN)
    .where(deliveries.c.lease_expires_at > NOW)
    .with_for_update(key_share=True)
)
_CONTACTED, _NOTE = _contacted(), _noting()
_TAKE = _taking()


@dataclass(frozen=True, slots=True)
class Settled:
    """One attempt's result. `attempts` is the delivery's count afterwards; `next_attempt_at` None ends it."""

    delivery_id: str
    attempts: int
    state: str
    outcome: str
    started_at: datetime
    elapsed_ms: int
    status: int | None
    error: str | None
    answer: bytes | None
    next_attempt_at: datetime | None
    cycle_id: str | None
    is_success: bool


@dataclass(frozen=True, slots=True)
class Health:
    """What a batch of attempts says of its destination; `failures` are those in a row, since a success if any."""

    failures: int
    held_until: datetime | None
    last_error: str | None
    had_success: bool
    is_gone: bool


class OutcomeStore:
    """Deliveries of one company in hand, and their results."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def hold(self, turn: DestinationTurn, lease: Lease) -> Target | None:
        """Renew the destination's lease and lock it until the transaction ends; None when the lease was lost.

        The keeper of leases passes over rows that are locked, as this one is most of the time when there is much to do.
        """
        values = terms(lease, turn.token, company=self._company, destination=turn.destination_id)
        row = (await self._connection.execute(_HOLD, values)).one_or_none()
        return Target(*row) if row is not None else None

    async def take(self, turn: DestinationTurn, lease: Lease, most: int, due_by: datetime) -> list[DeliveryWork]:
        """Take the destination's longest due deliveries and count an attempt of each."""
        values = terms(lease, turn.token, company=self._company, destination=turn.destination_id, due_by=due_by)
        rows = await self._connection.execute(_TAKE, {**values, "most": most})
        return sorted((_delivery_work(row) for row in rows), key=lambda work: work.due_at)

    async def end_turn(self, turn: DestinationTurn, unbegun: Sequence[str], later: datetime | None) -> None:
        """Give the destination back, with the deliveries that were taken and never begun; `later`: due then."""
        await self.release(unbegun, turn.token, later)
        values = {"company": self._company, "destination": turn.destination_id, "token": turn.token}
        await self._connection.execute(_END_TURN, values)

    async def still_held(self, ids: Sequence[str], token: str, now: datetime) -> set[str]:
        """Return which deliveries are still held under `token`, and keep them so until the transaction ends."""
        values = {"company": self._company, "ids": list(ids), "token": token, "now": now}
        return set((await self._connection.execute(_STILL_HELD, values)).scalars())

    async def settle(self, results: Sequence[Settled], worker_id: str, now: datetime) -> None:
        """Store attempts and each delivery's state, and give the leases back."""
        attempts = [_attempt(self._company, result, worker_id) for result in results]
        await _ATTEMPTS.insert(self._connection, attempts)
        await _SETTLED.update(self._connection, self._company, [_delivery(result, now) for result in results])
        await self._note_contact([result.delivery_id for result in results if result.is_success], now)

    async def _note_contact(self, delivery_ids: Sequence[str], now: datetime) -> None:
        """Note on the carts that their present episode was handed off; recovery is measured from there."""
        if delivery_ids:
            values = {"company": self._company, "ids": list(delivery_ids), "now": now}
            await self._connection.execute(_CONTACTED, values)

    async def release(self, ids: Sequence[str], token: str, later: datetime | None = None) -> None:
        """Give back claimed deliveries that were never begun; their attempt is not counted. `later`: due then."""
        c = deliveries.c
        due: dict[str, Any] = {} if later is None else {"next_attempt_at": later}
        if ids:
            await self._connection.execute(
                update(deliveries)
                .where(c.company_id == self._company, c.id.in_(ids), c.lease_token == token)
                .values(lease_token=None, lease_expires_at=None, attempts=c.attempts - 1, **due)
            )

    async def note_health(self, destination_id: str, health: Health, now: datetime) -> None:
        """Store what the attempts say of the destination."""
        failed_at = None if health.last_error is None else now
        told = {
            "until": health.held_until,
            "succeeded_at": now if health.had_success else None,
            "in_a_row": health.failures,
            "error": health.last_error,
            "failed_at": failed_at,
            "gone": "it answered 410 Gone" if health.is_gone else None,
        }
        await self._connection.execute(_NOTE, {"company": self._company, "destination": destination_id, **told})


def _delivery_work(row: Any) -> DeliveryWork:
    return DeliveryWork(
        company_id=row.company_id,
        id=row.id,
        destination_id=row.destination_id,
        webhook_id=row.webhook_id,
        type=row.type,
        body=row.body,
        attempts=row.attempts,
        due_at=row.next_attempt_at,
        first_attempt_at=row.first_attempt_at,
        cycle_id=row.cycle_id,
        token=row.lease_token,
    )


def _attempt(company_id: str, result: Settled, worker_id: str) -> tuple[Any, ...]:
    return (
        company_id,
        new_id(),
        worker_id,
        result.delivery_id,
        result.attempts,
        result.started_at,
        result.elapsed_ms,
        result.outcome,
        result.status,
        result.error,
        result.answer,
        result.next_attempt_at,
    )


def _delivery(result: Settled, now: datetime) -> tuple[Any, ...]:
    finished_at = None if result.state == "pending" else now
    last = (result.outcome, result.status, result.error)
    return (result.state, result.attempts, result.next_attempt_at, *last, finished_at, None, None, result.delivery_id)
