"""Destinations as the writer sees them, deliveries, the carts in them, and attempts: of one company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.gate import Decision
from backend.domain.work import Target
from backend.models import carts, customers, deliveries, delivery_carts, destinations
from backend.store.bulk import Bulk


@dataclass(frozen=True, slots=True)
class CartDecision:
    """What the gate said of one cart for one destination. `id` is that of its row, once it has one."""

    id: str
    delivery_id: str | None
    destination_id: str
    cart_id: str
    episode: int
    event_type: str
    revision: str
    event_id: str
    decision: Decision


class NewDelivery(NamedTuple):
    """A delivery to be stored, in the order of its columns."""

    id: str
    destination_id: str
    agent_id: str
    integration_id: str
    type: str
    webhook_id: str
    body: bytes
    cart_count: int
    next_attempt_at: datetime
    cycle_id: str | None
    attempts: int = 0
    first_attempt_at: datetime | None = None


class HeldCart(NamedTuple):
    """A cart's place in a delivery, with what the gate asks of the cart and its person right before an attempt."""

    id: str
    delivery_id: str
    cart_id: str
    episode: int
    event_type: str
    event_id: str
    state: str
    cart_episode: int
    abandoned_at: datetime | None
    is_erased: bool
    has_email: bool
    has_phone: bool
    consent_email: str | None
    consent_sms: str | None
    customer_id: str | None


_NEW = Bulk(
    deliveries,
    (
        "company_id",
        "created_at",
        "state",
        "id",
        "destination_id",
        "agent_id",
        "integration_id",
        "type",
        "webhook_id",
        "body",
        "cart_count",
        "next_attempt_at",
        "cycle_id",
        "attempts",
        "first_attempt_at",
    ),
)
_VERDICT = ("delivery_id", "verdict", "rule", "trace", "decided_at")
_DECIDED = Bulk(
    delivery_carts,
    (
        "company_id",
        "id",
        "destination_id",
        "cart_id",
        "episode",
        "event_type",
        "revision",
        "event_id",
        *_VERDICT,
    ),
)
_REDECIDED = Bulk(delivery_carts, (*_VERDICT, "id"))

# The columns of a destination that make a `Target`, in its order.
TARGET = ("id", "agent_id", "max_carts_per_payload", "include_uncontactable", "include_opted_out")
_TARGET = tuple(destinations.c[name] for name in TARGET)

_HELD = (
    select(
        delivery_carts.c.id,
        delivery_carts.c.delivery_id,
        delivery_carts.c.cart_id,
        delivery_carts.c.episode,
        delivery_carts.c.event_type,
        delivery_carts.c.event_id,
        carts.c.state,
        carts.c.episode,
        carts.c.abandoned_at,
        carts.c.erased_at.is_not(None),
        customers.c.email.is_not(None),
        customers.c.phone.is_not(None),
        customers.c.consent_email,
        customers.c.consent_sms,
        carts.c.customer_id,
    )
    .join(carts, (carts.c.company_id == delivery_carts.c.company_id) & (carts.c.id == delivery_carts.c.cart_id))
    .outerjoin(customers, (customers.c.company_id == carts.c.company_id) & (customers.c.id == carts.c.customer_id))
    .where(
        delivery_carts.c.company_id == bindparam("company"),
        delivery_carts.c.delivery_id.in_(bindparam("deliveries", expanding=True)),
    )
)


class DeliveryStore:
    """Deliveries of one company."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def targets(self, agent_id: str) -> list[Target]:
        """Return the agent's destinations that take new deliveries (a disabled one keeps what it is owed)."""
        query = select(*_TARGET).where(
            destinations.c.company_id == self._company,
            destinations.c.agent_id == agent_id,
            destinations.c.status.in_(["active", "disabled"]),
        )
        return [Target(*row) for row in await self._connection.execute(query.order_by(destinations.c.name))]

    async def decided(self, cart_ids: Sequence[str], event_type: str) -> dict[tuple[str, str, int], tuple[str, bool]]:
        """Return (destination, cart, episode) -> (row id, whether it is in a delivery) of earlier decisions."""
        c = delivery_carts.c
        query = select(c.id, c.destination_id, c.cart_id, c.episode, c.delivery_id).where(
            c.company_id == self._company, c.cart_id.in_(cart_ids), c.event_type == event_type
        )
        return {
            (row.destination_id, row.cart_id, row.episode): (row.id, row.delivery_id is not None)
            for row in await self._connection.execute(query)
        }

    async def add(self, rows: Sequence[NewDelivery], now: datetime) -> None:
        """Insert deliveries."""
        await _NEW.insert(self._connection, [(self._company, now, "pending", *row) for row in rows])

    async def add_decisions(self, rows: Sequence[CartDecision], now: datetime) -> None:
        """Insert first decisions; the unique rule keeps one per destination, cart, episode and type."""
        values = [
            (
                self._company,
                row.id,
                row.destination_id,
                row.cart_id,
                row.episode,
                row.event_type,
                row.revision,
                row.event_id,
                *_verdict(row, now),
            )
            for row in rows
        ]
        await _DECIDED.insert(self._connection, values)

    async def save_decisions(self, rows: Sequence[CartDecision], now: datetime) -> None:
        """Update later decisions on rows that are there."""
        await _REDECIDED.update(self._connection, self._company, [(*_verdict(row, now), row.id) for row in rows])

    async def held_carts(self, delivery_ids: Sequence[str]) -> list[HeldCart]:
        """Return the carts in these deliveries as they are at this moment."""
        rows = await self._connection.execute(_HELD, {"company": self._company, "deliveries": list(delivery_ids)})
        return [HeldCart(*row) for row in rows]

    async def supersede(self, delivery_id: str, token: str, replacement: str | None, now: datetime) -> bool:
        """Close a delivery, fenced by its lease; False when the lease was lost or ran out."""
        done = await self._connection.execute(
            update(deliveries)
            .where(
                deliveries.c.company_id == self._company,
                deliveries.c.id == delivery_id,
                deliveries.c.lease_token == token,
                deliveries.c.lease_expires_at > now,
            )
            .values(
                state="superseded",
                superseded_by=replacement,
                finished_at=now,
                next_attempt_at=None,
                lease_token=None,
                lease_expires_at=None,
                # counted at claim, but nothing was sent
                attempts=deliveries.c.attempts - 1,
            )
        )
        return done.rowcount == 1

    async def target_of(self, delivery_id: str) -> tuple[Target, str]:
        """Return a delivery's destination and integration id."""
        query = (
            select(*_TARGET, deliveries.c.integration_id)
            .join(
                deliveries,
                (deliveries.c.company_id == destinations.c.company_id)
                & (deliveries.c.destination_id == destinations.c.id),
            )
            .where(deliveries.c.company_id == self._company, deliveries.c.id == delivery_id)
        )
        *target, integration_id = (await self._connection.execute(query)).one()
        return Target(*target), integration_id


def _verdict(row: CartDecision, now: datetime) -> tuple[Any, ...]:
    """Return the values of `_VERDICT`."""
    return (row.delivery_id, row.decision.verdict.value, row.decision.rule, row.decision.trace, now)
