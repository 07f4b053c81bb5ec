"""Carts, their items, events and abandonments, always of one company and in bulk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Row, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.carts import Line
from backend.domain.ids import new_id
from backend.domain.lifecycle import CartRow, CartState
from backend.models import abandonment_log, cart_events, cart_items, carts
from backend.store.bulk import Bulk

_COLUMNS = tuple(CartRow.__dataclass_fields__)
_CHANGING = tuple(name for name in _COLUMNS if name not in {"id", "integration_id", "agent_id", "source_cart_id"})
_CARTS = Bulk(carts, ("company_id", "created_at", "updated_at", *_COLUMNS))
_CHANGES = Bulk(carts, (*_CHANGING, "updated_at", "id"))
_LINES = Bulk(
    cart_items,
    (
        "company_id",
        "id",
        "cart_id",
        "position",
        "line_id",
        "product_id",
        "variant_id",
        "sku",
        "title",
        "variant",
        "quantity",
        "unit_price",
        "line_total",
        "image_url",
        "url",
    ),
)
_EVENTS = Bulk(
    cart_events,
    (
        "company_id",
        "id",
        "recorded_at",
        "cart_id",
        "seq",
        "type",
        "episode",
        "occurred_at",
        "source",
        "revision",
        "data",
        "personal_sealed",
        "subject_key_id",
        "cycle_id",
    ),
)
_LOG = Bulk(
    abandonment_log,
    ("company_id", "id", "cart_id", "episode", "currency", "total", "abandoned_at", "recorded_at"),
)
_of_cart, _of_change = attrgetter(*_COLUMNS), attrgetter(*_CHANGING)
_READ = select(*(carts.c[name] for name in _COLUMNS))
_CHUNK = 500  # ids in one IN list


class EventRow(NamedTuple):
    """An event ready to be appended, in the order of its columns; `personal_sealed` is sealed already."""

    cart_id: str
    seq: int
    type: str
    episode: int
    occurred_at: datetime
    source: str
    revision: str
    data: Mapping[str, Any]
    personal_sealed: bytes | None = None
    subject_key_id: str | None = None
    cycle_id: str | None = None


def cart_row(row: Row[Any]) -> CartRow:
    """Return a row of `carts` as the value the rules work on."""
    values = dict(row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it
    values["state"] = CartState(values["state"])
    values["coupons"] = tuple(values["coupons"])
    return CartRow(**{name: values[name] for name in _COLUMNS})


class CartStore:
    """Carts of one company."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def load_by_source(self, integration_id: str, source_ids: Sequence[str]) -> dict[str, CartRow]:
        """Return the stored carts of a page by their platform's ids, kept from others until the transaction ends.

        Else what the sweep or a delivery writes meanwhile would be taken back by the page's save.
        """
        found: dict[str, CartRow] = {}
        for start in range(0, len(source_ids), _CHUNK):
            query = _READ.where(
                carts.c.company_id == self._company,
                carts.c.integration_id == integration_id,
                carts.c.source_cart_id.in_(source_ids[start : start + _CHUNK]),
            )
            # Rows are locked in the order of their ids everywhere, so that no two transactions wait for each other.
            for row in await self._connection.execute(query.order_by(carts.c.id).with_for_update(key_share=True)):
                found[row.source_cart_id] = cart_row(row)
        return found

    async def load(self, ids: Sequence[str], *, lock: bool = False) -> list[CartRow]:
        """Return carts by id; `lock` keeps others from changing them until the transaction ends."""
        query = _READ.where(carts.c.company_id == self._company, carts.c.id.in_(ids)).order_by(carts.c.id)
        rows = await self._connection.execute(query.with_for_update(key_share=True) if lock else query)
        return [cart_row(row) for row in rows]

    async def waiting(self, integration_id: str, now: datetime, most: int) -> list[CartRow]:
        """Return carts that wait to be read again: deferred hand-offs, and active carts whose time is up."""
        c = carts.c
        mine = _READ.where(c.company_id == self._company, c.integration_id == integration_id).limit(most)
        deferred = mine.where(c.awaits_read).order_by(c.next_check_at)
        due = mine.where(c.state == CartState.ACTIVE.value, c.next_check_at < now).order_by(c.next_check_at)
        rows: dict[str, CartRow] = {}
        for query in (deferred, due):  # apart: each goes by its own index
            rows |= {row.id: cart_row(row) for row in await self._connection.execute(query)}
        return list(rows.values())[:most]

    async def add(self, rows: Sequence[CartRow], now: datetime) -> None:
        """Insert carts seen for the first time."""
        rows_of = [(self._company, now, now, *_of_cart(row)) for row in rows]
        await _CARTS.insert(self._connection, rows_of)

    async def save(self, rows: Sequence[CartRow], now: datetime) -> None:
        """Update changed carts."""
        await _CHANGES.update(self._connection, self._company, [(*_of_change(row), now, row.id) for row in rows])

    async def release(self, integration_id: str, token: str) -> None:
        """Give back the sweep's lease on a store's carts; one claim's token may hold other stores' carts too."""
        mine = (carts.c.company_id == self._company) & (carts.c.integration_id == integration_id)
        await self._connection.execute(
            update(carts).where(mine, carts.c.lease_token == token).values(lease_token=None, lease_expires_at=None)
        )

    async def replace_lines(self, lines: Mapping[str, Sequence[Line]], *, known: bool) -> None:
        """Store the lines of carts, in place of the ones they had if `known`."""
        if known and lines:
            await self._connection.execute(
                delete(cart_items).where(
                    cart_items.c.company_id == self._company, cart_items.c.cart_id.in_(list(lines))
                )
            )
        rows = [
            (
                self._company,
                new_id(),
                cart_id,
                position,
                line.id,
                line.product_id,
                line.variant_id,
                line.sku,
                line.title,
                line.variant,
                str(line.quantity),
                line.unit_price,
                line.line_total,
                line.image_url,
                line.url,
            )
            for cart_id, of_cart in lines.items()
            for position, line in enumerate(of_cart)
        ]
        await _LINES.insert(self._connection, rows)

    async def lines_of(self, cart_ids: Sequence[str]) -> dict[str, tuple[Line, ...]]:
        """Return the lines of carts in their order."""
        query = (
            select(cart_items)
            .where(cart_items.c.company_id == self._company, cart_items.c.cart_id.in_(cart_ids))
            .order_by(cart_items.c.cart_id, cart_items.c.position)
        )
        found: dict[str, list[Line]] = {cart_id: [] for cart_id in cart_ids}
        for row in await self._connection.execute(query):
            found[row.cart_id].append(_line(row))
        return {cart_id: tuple(lines) for cart_id, lines in found.items()}

    async def append_events(self, events: Sequence[EventRow], now: datetime) -> None:
        """Append events; their sequence numbers were taken from the carts' own counters."""
        rows = [(self._company, new_id(), now, *event) for event in events]
        await _EVENTS.insert(self._connection, rows)

    async def log_abandonments(self, rows: Sequence[CartRow], now: datetime) -> None:
        """Log each episode once; the unique rule on cart and episode holds it to that."""
        logged = [
            (self._company, new_id(), row.id, row.episode, row.currency, row.total, row.abandoned_at, now)
            for row in rows
        ]
        await _LOG.insert(self._connection, logged)


def _line(row: Row[Any]) -> Line:
    return Line(
        id=row.line_id,
        title=row.title,
        quantity=Decimal(row.quantity),
        unit_price=row.unit_price,
        line_total=row.line_total,
        product_id=row.product_id,
        variant_id=row.variant_id,
        sku=row.sku,
        variant=row.variant,
        image_url=row.image_url,
        url=row.url,
    )
