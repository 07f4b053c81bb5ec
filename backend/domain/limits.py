"""What the tables hold of a cart at most: shopper's texts are cut to it, and what cannot be cut is set aside.

PostgreSQL refuses a value that is too long, and with it the whole page: one odd record would stop its store.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import orjson

from backend.domain.carts import CartPage, Line, SeenCart, Shopper, UnreadableRecord
from backend.domain.money import LIMIT

LONGEST_ID, LONGEST_REASON = 200, 200
LONGEST_NAME, LONGEST_TITLE, LONGEST_VARIANT = 200, 1000, 500
LONGEST_EMAIL, LONGEST_PHONE, LONGEST_LOCALE, LONGEST_SOURCE = 320, 60, 40, 100
LONGEST_QUANTITY = 40  # digits as text
MOST_COUPONS, LONGEST_COUPON = 20, 100
RAW_LIMIT = 64 * 1024


def fitted(page: CartPage) -> CartPage:
    """Return the page as it can be stored. A cart whose id or amounts are beyond storage becomes unreadable."""
    carts: list[SeenCart] = []
    beyond: list[UnreadableRecord] = []
    for seen in page.carts:
        reason = _beyond_storage(seen)
        if reason is None:
            carts.append(_cut(seen))
        else:
            raw = orjson.dumps(seen, default=str)[:RAW_LIMIT]
            beyond.append(UnreadableRecord(seen.source_cart_id[:LONGEST_ID], reason, raw))
    unreadable = [_cut_record(record) for record in page.unreadable]
    return replace(page, carts=tuple(carts), unreadable=(*unreadable, *beyond))


def _beyond_storage(seen: SeenCart) -> str | None:
    if len(seen.source_cart_id) > LONGEST_ID:
        return "id_too_long"
    amounts = [seen.total, seen.subtotal, seen.discount, seen.tax]
    for line in seen.lines:
        amounts += (line.unit_price, line.line_total, line.quantity)
    return "bad_amount" if any(amount is not None and abs(amount) > LIMIT for amount in amounts) else None


def _cut_record(record: UnreadableRecord) -> UnreadableRecord:
    source_id = record.source_cart_id
    return replace(
        record,
        source_cart_id=source_id[:LONGEST_ID] if source_id else None,
        reason=record.reason[:LONGEST_REASON],
    )


def _cut(seen: SeenCart) -> SeenCart:
    """Return the cart with texts that fit; nearly every cart is returned as it is."""
    if _is_short(seen) and all(map(_fits, seen.lines)):
        return seen
    return replace(
        seen,
        shopper=_cut_shopper(seen.shopper),
        consent=replace(seen.consent, source=_short(seen.consent.source, LONGEST_SOURCE)),
        lines=tuple(map(_cut_line, seen.lines)),
        order_ref=_short(seen.order_ref, LONGEST_ID),
        coupons=tuple(code.replace("\x00", "")[:LONGEST_COUPON] for code in seen.coupons[:MOST_COUPONS]),
    )


def _is_short(seen: SeenCart) -> bool:
    person = seen.shopper
    return (
        not seen.coupons
        and len(person.id or "") <= LONGEST_ID
        and len(person.email or "") <= LONGEST_EMAIL
        and len(person.phone or "") <= LONGEST_PHONE
        and len(person.first_name or "") <= LONGEST_NAME
        and len(person.last_name or "") <= LONGEST_NAME
        and len(person.locale or "") <= LONGEST_LOCALE
        and (person.country is None or len(person.country) == 2)
        and len(seen.consent.source or "") <= LONGEST_SOURCE
        and len(seen.order_ref or "") <= LONGEST_ID
    )


def _short(text: str | None, most: int) -> str | None:
    return text[:most] if text else text


def _or_none(text: str | None, most: int) -> str | None:
    """Return an address or id that fits; half of one would be another's."""
    return text if text is None or len(text) <= most else None


def _cut_shopper(person: Shopper) -> Shopper:
    country = person.country if person.country and len(person.country) == 2 else None
    return replace(
        person,
        id=_or_none(person.id, LONGEST_ID),
        email=_or_none(person.email, LONGEST_EMAIL),
        phone=_or_none(person.phone, LONGEST_PHONE),
        first_name=_short(person.first_name, LONGEST_NAME),
        last_name=_short(person.last_name, LONGEST_NAME),
        locale=_short(person.locale, LONGEST_LOCALE),
        country=country,
    )


def _fits(line: Line) -> bool:
    ids = (line.id, line.product_id or "", line.variant_id or "", line.sku or "")
    return (
        len(line.title) <= LONGEST_TITLE
        and len(line.variant or "") <= LONGEST_VARIANT
        and max(map(len, ids)) <= LONGEST_ID
        and len(str(line.quantity)) <= LONGEST_QUANTITY
    )


def _cut_line(line: Line) -> Line:
    return replace(
        line,
        id=line.id[:LONGEST_ID],
        product_id=_short(line.product_id, LONGEST_ID),
        variant_id=_short(line.variant_id, LONGEST_ID),
        sku=_short(line.sku, LONGEST_ID),
        title=line.title[:LONGEST_TITLE],
        variant=_short(line.variant, LONGEST_VARIANT),
        quantity=line.quantity.quantize(Decimal("0.0001")),
    )
