"""Orders as proof of a purchase: which one a quote became, and the bought cart as the order shows it.

An inactive quote comes without its items, so a bought cart is read from its order. A reserved order number proves
nothing: it is given before payment. An order of any state but ``canceled`` proves a purchase once the quote is
inactive; a quote that is active again (the shopper came back from the payment page) is bought only when its order
was paid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from backend.domain.carts import Line, SeenCart, Shopper, SourceStatus
from backend.domain.money import to_decimal
from backend.errors import BadRecord
from backend.platforms.magento.values import UNIT, Record, amount, currency, dicts, id_or_none, inner, named, shopper
from backend.platforms.reading import text_or_none, utc_time

RAW_VERSION = "magento/V1"
CANCELED = "canceled"
UNPAID = frozenset({CANCELED, "new", "pending_payment"})


@dataclass(frozen=True, slots=True)
class QuoteTimes:
    """Of a quote that was bought: its id, and its own times (aware UTC)."""

    id: int
    created_at: datetime
    updated_at: datetime


def by_quote(orders: Iterable[Any]) -> dict[int, list[Record]]:
    """Return orders by the quote that each was made from; a multishipping quote has several."""
    found: dict[int, list[Record]] = {}
    for order in orders:
        quote_id = id_or_none(order.get("quote_id")) if isinstance(order, dict) else None
        if quote_id is not None:
            found.setdefault(quote_id, []).append(order)
    return found


def purchase(orders: Sequence[Record], *, is_active: bool) -> Record | None:
    """Return the order that proves the purchase, the first of several; None when none does."""
    unproven = UNPAID if is_active else {CANCELED}
    proven = [order for order in orders if order.get("state") not in unproven]
    return min(proven, key=lambda order: id_or_none(order.get("entity_id")) or 0, default=None)


def bought_cart(quote: QuoteTimes, order: Record, store_id: str) -> SeenCart:
    """Return the bought cart as its order shows it. Raises `BadRecord`."""
    coupon = text_or_none(order.get("coupon_code"))
    discount = amount(order.get("discount_amount"))
    return SeenCart(
        source_cart_id=str(quote.id),
        store_id=store_id,
        status=SourceStatus.COMPLETED,
        created_at=quote.created_at,
        updated_at=quote.updated_at,
        currency=currency(order.get("order_currency_code")),
        total=to_decimal(order["grand_total"]),
        lines=tuple(_line(item) for item in dicts(order.get("items")) if item.get("parent_item_id") is None),
        shopper=_shopper(order),
        completed_at=utc_time(order.get("created_at")),
        subtotal=amount(order.get("subtotal")),
        discount=None if discount is None else abs(discount),
        tax=amount(order.get("tax_amount")),
        coupons=() if coupon is None else (coupon,),
        order_ref=text_or_none(order.get("increment_id")) or named(order.get("entity_id")),
        raw_version=RAW_VERSION,
    )


def _shopper(order: Record) -> Shopper:
    names = {"id": "customer_id", "email": "customer_email"}
    names |= {"firstname": "customer_firstname", "lastname": "customer_lastname"}
    customer = {ours: order.get(theirs) for ours, theirs in names.items()}
    return shopper(customer, [inner(order, "billing_address")])


def _line(item: Record) -> Line:
    quantity = to_decimal(item["qty_ordered"])
    price = amount(item.get("price")) or Decimal(0)
    total = amount(item.get("row_total"))
    product = item.get("product_id")
    if not quantity.is_finite():
        raise BadRecord("a line has no quantity", code="bad_shape")
    return Line(
        id=named(item.get("item_id")),
        title=text_or_none(item.get("name")) or "",
        quantity=quantity,
        unit_price=price,
        line_total=(price * quantity).quantize(UNIT) if total is None else total,
        product_id=None if product is None else named(product),
        sku=text_or_none(item.get("sku")),
    )
