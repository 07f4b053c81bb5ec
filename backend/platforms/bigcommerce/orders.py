"""Reads one order of REST v2: what it says of its cart, and a bought one as a cart in normal form.

| status | it is |
|---|---|
| 0 incomplete, 1 pending | unfinished: the shopper reached the payment page, and its cart tells the rest |
| 4 refunded, 5 cancelled, 6 declined | excluded |
| any other | bought, its payment awaited at worst |

An archived order, one made by hand in the control panel, and one that came from no cart are excluded too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from backend.domain.carts import Exclusion, Line, SeenCart, SourceStatus
from backend.domain.money import to_decimal
from backend.errors import BadRecord
from backend.platforms.bigcommerce.people import read_person
from backend.platforms.reading import text_or_none, utc_time

RAW_VERSION = "bigcommerce/v2"
UNFINISHED = frozenset({0, 1})
CLOSED = {4: "refunded", 5: "order_cancelled", 6: "order_declined"}
HIGHEST_STATUS = 14
# What direct code raises on a record of another shape.
WRONG_SHAPE = (KeyError, TypeError, AttributeError, ValueError, ArithmeticError, IndexError)
_CART_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CURRENCY = re.compile(r"[A-Za-z]{3}")

Json = dict[str, Any]


class Fate(StrEnum):
    """What became of the cart that an order came from."""

    UNFINISHED = "unfinished"
    BOUGHT = "bought"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an order says of the cart `cart_id`; `reason` why a closed one is none."""

    cart_id: str
    fate: Fate
    reason: str = ""

    @property
    def exclusion(self) -> Exclusion:
        """The cart, left out for its reason."""
        return Exclusion(self.cart_id, self.reason)


def judged(order: Json) -> Verdict:
    """Return what the order says of its cart. Raises `BadRecord` when it cannot be told."""
    number, status = order_number(order), order.get("status_id")
    if not isinstance(status, int) or isinstance(status, bool) or not 0 <= status <= HIGHEST_STATUS:
        raise BadRecord("the order has no status", code="bad_status")
    if text_or_none(order.get("cart_id")) is None:
        return Verdict(f"order-{number}", Fate.CLOSED, "no_cart")
    cart_id = cart_id_of(order)
    if status in CLOSED:
        return Verdict(cart_id, Fate.CLOSED, CLOSED[status])
    if status not in UNFINISHED:
        return Verdict(cart_id, Fate.BOUGHT)
    if order.get("is_deleted") is True:
        return Verdict(cart_id, Fate.CLOSED, "order_archived")
    if order.get("order_source") == "manual":
        return Verdict(cart_id, Fate.CLOSED, "made_by_hand")
    return Verdict(cart_id, Fate.UNFINISHED)


def is_cart_id(text: str) -> bool:
    """Whether a text is the id of a cart, which is put into a path as it stands."""
    return _CART_ID.fullmatch(text) is not None


def cart_id_of(order: Json) -> str:
    """Return the id of the order's cart. Raises `BadRecord` without one."""
    cart_id = (text_or_none(order.get("cart_id")) or "").lower()
    if not is_cart_id(cart_id):
        raise BadRecord("the order's cart has no id", code="bad_id")
    return cart_id


def order_number(order: Json) -> int:
    """Return the order's id. Raises `BadRecord` without one."""
    number = order.get("id")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 10**18:
        raise BadRecord("the order has no id", code="no_id")
    return number


def moment(value: Any) -> datetime:
    """Return a time of v2 (RFC 2822) or v3 (ISO 8601) as aware UTC. Raises `BadRecord` for anything else."""
    if not isinstance(value, str) or value[:1].isdigit():
        return utc_time(value)
    try:
        read = parsedate_to_datetime(value)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRecord("not a time", code="bad_time") from None


def modified_at(order: Json) -> datetime:
    """Return when the order was modified, in whole seconds. Raises `BadRecord` without that."""
    return moment(order.get("date_modified")).replace(microsecond=0)


def read_bought(order: Json, products: list[Json], store_id: str) -> SeenCart:
    """Return the cart as it was bought. Raises `BadRecord` when it cannot be read."""
    try:
        return _bought(order, products, store_id)
    except WRONG_SHAPE as wrong:
        raise BadRecord(f"the order lacks its shape ({type(wrong).__name__})", code="bad_shape") from wrong


def _bought(order: Json, products: list[Json], store_id: str) -> SeenCart:
    shopper, consent = read_person(order, {}, {})
    modified = modified_at(order)
    return SeenCart(
        source_cart_id=cart_id_of(order),
        store_id=store_id,
        status=SourceStatus.COMPLETED,
        created_at=moment(order["date_created"]),
        updated_at=modified,
        currency=currency(order.get("default_currency_code") or order["currency_code"]),
        total=to_decimal(order["total_inc_tax"]),
        lines=tuple(_line(product) for product in products if not _is_part(product)),
        shopper=shopper,
        consent=consent,
        completed_at=modified,  # v2 has no time of payment; later changes of a bought cart are not looked at
        subtotal=to_decimal(order["subtotal_inc_tax"]),
        discount=to_decimal(order["discount_amount"]) + to_decimal(order["coupon_discount"]),
        tax=to_decimal(order["total_tax"]),
        order_ref=str(order_number(order)),
        raw_version=RAW_VERSION,
    )


def lines_within(order: Json) -> list[Json] | None:
    """Return the products an order holds with its consignments; None where it holds links to them, or nothing."""
    consignments = order.get("consignments")
    if not isinstance(consignments, dict) or "shipping" not in consignments:
        return None
    products: list[Json] = []
    for consignment in _consignments(consignments):
        lines = consignment.get("line_items") if isinstance(consignment, dict) else None
        if not isinstance(lines, list) or not all(isinstance(line, dict) and "product_id" in line for line in lines):
            return None
        products += lines
    return products or None


def _consignments(consignments: Json) -> Iterator[Any]:
    for name in ("pickups", "shipping", "downloads"):
        listed = consignments.get(name)
        yield from listed if isinstance(listed, list) else ()
    mailed = consignments.get("email")
    gifts = mailed.get("gift_certificates") if isinstance(mailed, dict) else None
    yield from gifts if isinstance(gifts, list) else ()


def _is_part(product: Mapping[str, Any]) -> bool:
    """Whether it is a part of a bundle that is paid for with the bundle."""
    return bool(product.get("parent_order_product_id")) and to_decimal(product["total_inc_tax"]) == 0


def _line(product: Json) -> Line:
    sku = text_or_none(product.get("sku"))
    return Line(
        id=named(product["id"]),
        title=text_or_none(product.get("name")) or sku or "",
        quantity=to_decimal(product["quantity"]),
        unit_price=to_decimal(product["price_inc_tax"]),
        line_total=to_decimal(product["total_inc_tax"]),
        product_id=id_or_none(product.get("product_id")),
        variant_id=id_or_none(product.get("variant_id")),
        sku=sku,
        variant=chosen(product.get("product_options"), "display_name", "display_value"),
    )


def chosen(options: Any, name: str, value: str) -> str | None:
    """Return what the shopper chose, ``Size: L, Colour: red``."""
    if not isinstance(options, list):
        return None
    pairs = [
        (text_or_none(option.get(name)), text_or_none(option.get(value)))
        for option in options
        if isinstance(option, dict)
    ]
    return ", ".join(f"{key}: {what}" for key, what in pairs if key and what) or None


def named(value: Any) -> str:
    """Return an id as text. Raises `BadRecord` without one."""
    text = text_or_none(value)
    if text is None:
        raise BadRecord("an id is missing", code="bad_shape")
    return text


def id_or_none(value: Any) -> str | None:
    """Return the id of a product or variant as text; 0 and nothing are none."""
    text = text_or_none(value)
    return None if text == "0" else text


def currency(value: Any) -> str:
    """Return a currency in upper case. Raises `BadRecord` for what is none."""
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise BadRecord("there is no currency", code="bad_currency")
    return value.upper()
