"""``GET /v2/orders``: its filters, its order and its pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from simulator.bigcommerce.records import Order
from simulator.bigcommerce.store import Store

MOST = 250
SORTABLE = {
    "id": "id",
    "customer_id": "customer_id",
    "date_created": "created_at",
    "date_modified": "modified_at",
    "status_id": "status_id",
    "channel_id": "channel_id",
}
NUMBERS = {
    "min_id": ("id", 1),
    "max_id": ("id", -1),
    "customer_id": ("customer_id", 0),
    "status_id": ("status_id", 0),
    "channel_id": ("channel_id", 0),
}
DATES = {
    "min_date_created": ("created_at", 1),
    "max_date_created": ("created_at", -1),
    "min_date_modified": ("modified_at", 1),
    "max_date_modified": ("modified_at", -1),
}


class BadField(Exception):
    """A parameter that cannot be read."""


def listed(store: Store, query: Mapping[str, str]) -> list[Order]:
    """Return the page of orders that is asked for; archived ones only when asked. Raises `BadField`."""
    matching = [order for order in store.orders.values() if _matches(store, query, order)]
    field, _, direction = query.get("sort", "id:asc").partition(":")
    if field not in SORTABLE or direction not in {"", "asc", "desc"}:
        raise BadField("sort")
    name = SORTABLE[field]
    matching.sort(key=lambda order: (getattr(order, name), order.id), reverse=direction == "desc")
    page, limit = max(1, _int(query, "page", 1)), min(MOST, max(1, _int(query, "limit", 50)))
    return matching[(page - 1) * limit : page * limit]


def _matches(store: Store, query: Mapping[str, str], order: Order) -> bool:
    if order.is_deleted != (query.get("is_deleted") == "true"):
        return False
    if "email" in query and order.billing.get("email") != query["email"]:
        return False
    if "cart_id" in query and order.cart_id != query["cart_id"]:
        return False
    for asked, (name, sign) in NUMBERS.items():
        if asked in query and not _within(getattr(order, name), _int(query, asked, 0), sign):
            return False
    return all(
        _in_time(store, getattr(order, name), _moment(query, asked), sign)
        for asked, (name, sign) in DATES.items()
        if asked in query
    )


def _within(value: int, bound: int, sign: int) -> bool:
    return value == bound if sign == 0 else (value - bound) * sign >= 0


def _in_time(store: Store, value: datetime, bound: datetime, sign: int) -> bool:
    apart = (value - bound) * sign
    return apart > timedelta(0) or (apart == timedelta(0) and (sign < 0 or store.includes_second))


def _int(query: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(query.get(name, default))
    except ValueError:
        raise BadField(name) from None


def _moment(query: Mapping[str, str], name: str) -> datetime:
    """Read ISO 8601 or RFC 2822."""
    text = query[name]
    try:
        read = datetime.fromisoformat(text) if text[:1].isdigit() else parsedate_to_datetime(text)
    except ValueError:
        raise BadField(name) from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)
