"""The payload that partners receive: company, agent, carts with customer and items. Pure; see docs/payload.md.

`agent_info`, `abandoned_carts[]` and `recovery_analytics` carry the names partners already know. Amounts are JSON
numbers with a `..._minor` integer beside them; times are ISO 8601 UTC with `Z`. One payload holds one currency.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from backend.domain.carts import Consent, Line, Shopper
from backend.domain.ids import stable_id
from backend.domain.lifecycle import CartRow
from backend.domain.money import to_minor

SCHEMA_VERSION = "1.0"
LIMIT_BYTES = 256 * 1024
LINES_KEPT = 50  # of a single cart that alone would pass the limit; fewer where even these would


@dataclass(frozen=True, slots=True)
class CompanyCard:
    """What a partner is told of the company."""

    id: str
    name: str
    website: str | None = None
    support_email: str | None = None
    phone: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose carts a payload holds."""

    company: CompanyCard
    agent_id: str
    agent_name: str
    platform: str


@dataclass(frozen=True, slots=True)
class CartView:
    """A cart with everything a receiver sees."""

    row: CartRow
    lines: tuple[Line, ...]
    shopper: Shopper
    consent: Consent


@dataclass(frozen=True, slots=True)
class Entry:
    """One cart of a payload under the id that partners dedupe by."""

    view: CartView
    event_id: str


def amounts(name: str, amount: Decimal | None, currency: str) -> dict[str, Any]:
    """Return the two fields of an amount: a JSON number and its minor units; both null when unknown."""
    if amount is None:
        return {name: None, f"{name}_minor": None}
    return {name: float(amount), f"{name}_minor": to_minor(amount, currency)}


def line_part(line: Line, currency: str) -> dict[str, Any]:
    """Return one line; `quantity` is a whole number where it is one."""
    quantity = line.quantity
    return {
        "id": line.id,
        "product_id": line.product_id,
        "variant_id": line.variant_id,
        "sku": line.sku,
        "title": line.title,
        "variant": line.variant,
        "quantity": int(quantity) if quantity == quantity.to_integral_value() else float(quantity),
        **amounts("unit_price", line.unit_price, currency),
        **amounts("line_total", line.line_total, currency),
        "image_url": line.image_url,
        "url": line.url,
    }


def customer_part(row: CartRow, person: Shopper) -> dict[str, Any]:
    """Return the customer; every field but the last may be null."""
    name = " ".join(part for part in (person.first_name, person.last_name) if part)
    return {
        "id": row.customer_id,
        "source_id": person.id,
        "email": person.email,
        "phone": person.phone,
        "name": name or None,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "locale": person.locale,
        "country": person.country,
        "is_guest": person.is_guest,
    }


def cart_part(entry: Entry, lines: tuple[Line, ...]) -> dict[str, Any]:
    """Return one cart with `lines` of it; `items_omitted` says how many had to be left out."""
    row, consent, currency = entry.view.row, entry.view.consent, entry.view.row.currency
    part = {
        "event_id": entry.event_id,
        "cart_id": row.id,
        "source_cart_id": row.source_cart_id,
        "store_id": row.store_id,
        "customer": customer_part(row, entry.view.shopper),
        "items": [line_part(line, currency) for line in lines],
        "currency": currency,
        **amounts("total_value", row.total, currency),
        **amounts("subtotal", row.subtotal, currency),
        **amounts("discount", row.discount, currency),
        **amounts("tax", row.tax, currency),
        "coupons": list(row.coupons),
        "abandoned_at": row.abandoned_at,
        "last_activity_at": row.last_activity_at,
        "created_at": row.source_created_at,
        "consent": {"email": consent.email, "sms": consent.sms, "source": consent.source, "at": consent.at},
        "recovery_url": row.recovery_url,
        "episode": row.episode,
        "revision": row.revision,
    }
    if row.is_mock:
        part["is_mock"] = True
    if row.is_test:
        part["is_test"] = True
    if len(lines) < len(entry.view.lines):
        part["items_omitted"] = len(entry.view.lines) - len(lines)
    return part


def payload_of(event_type: str, sender: Sender, carts: list[dict[str, Any]], total: Decimal) -> dict[str, Any]:
    """Put company, agent and carts of one currency together; `total` is the sum of the carts' totals."""
    company = sender.company
    currency = carts[0]["currency"]
    return {
        "type": event_type,
        "schema_version": SCHEMA_VERSION,
        "company": {
            "id": company.id,
            "name": company.name,
            "website": company.website,
            "support_email": company.support_email,
            "phone": company.phone,
            "country": company.country,
        },
        "agent_info": {"id": sender.agent_id, "name": sender.agent_name, "company": company.name},
        "abandoned_carts": carts,
        "recovery_analytics": {
            "total_carts": len(carts),
            **amounts("total_value", total, currency),
            "currency": currency,
            "platform": sender.platform,
        },
    }


def serialise(payload: dict[str, Any]) -> bytes:
    """Return the bytes that are stored, signed and sent, the same on every retry."""
    return orjson.dumps(payload, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One payload ready to be stored: its bytes and the carts in it."""

    body: bytes
    entries: tuple[Entry, ...]


def parcels(event_type: str, sender: Sender, entries: list[Entry], most: int) -> list[Parcel]:
    """Split entries by currency, then into payloads of at most `most` carts and 256 KiB."""
    by_currency: dict[str, list[Entry]] = {}
    for entry in entries:
        by_currency.setdefault(entry.view.row.currency, []).append(entry)
    made: list[Parcel] = []
    for group in by_currency.values():
        for start in range(0, len(group), most):
            made.extend(_fitted(event_type, sender, group[start : start + most]))
    return made


def _fitted(event_type: str, sender: Sender, entries: list[Entry]) -> list[Parcel]:
    body = _body(event_type, sender, entries, None)
    if len(body) <= LIMIT_BYTES:
        return [Parcel(body, tuple(entries))]
    if len(entries) == 1:
        kept = LINES_KEPT
        while len(body) > LIMIT_BYTES and kept:
            body, kept = _body(event_type, sender, entries, kept), kept // 2
        return [Parcel(body, tuple(entries))]
    middle = len(entries) // 2
    return _fitted(event_type, sender, entries[:middle]) + _fitted(event_type, sender, entries[middle:])


def _body(event_type: str, sender: Sender, entries: list[Entry], most_lines: int | None) -> bytes:
    carts = [cart_part(entry, entry.view.lines[:most_lines]) for entry in entries]
    total = sum((entry.view.row.total for entry in entries), Decimal(0))
    return serialise(payload_of(event_type, sender, carts, total))


def webhook_id(destination_id: str, event_ids: list[str]) -> str:
    """Name a message by its destination and the happenings in it: the same again on every retry."""
    return stable_id("msg", destination_id, *sorted(event_ids))
