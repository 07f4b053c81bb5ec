"""Reads one quote as a cart in normal form, or says by name why it is none.

| quote | it is |
|---|---|
| active, with items | an open cart, unless an order of it was paid |
| active, without items | excluded: ``empty`` |
| inactive, with an order that is not canceled | bought |
| inactive, all its orders canceled | excluded: ``order_canceled`` |
| inactive, without an order | excluded: ``closed_without_order`` (merged at login, or replaced) |

A line's price is in the website's base currency, so it is converted with the quote's own rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from backend.domain.carts import Answer, Consent, Exclusion, Line, SeenCart, SourceStatus
from backend.domain.money import to_decimal
from backend.errors import BadRecord
from backend.platforms.magento.details import Product
from backend.platforms.magento.orders import RAW_VERSION, QuoteTimes, bought_cart, purchase
from backend.platforms.magento.settings import MagentoSettings
from backend.platforms.magento.values import (
    UNIT,
    Record,
    amount,
    currency,
    dicts,
    inner,
    named,
    record_id,
    shopper,
)
from backend.platforms.reading import text_or_none, utc_time


@dataclass(frozen=True, slots=True)
class Known:
    """What else was asked about a page's quotes: orders and totals by quote id, products by sku."""

    orders: Mapping[int, Sequence[Record]] = field(default_factory=dict)
    totals: Mapping[int, Record] = field(default_factory=dict)
    products: Mapping[str, Product] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QuoteReader:
    """Reads the quotes of one store."""

    store_id: str
    settings: MagentoSettings

    def read(self, quote: Record, known: Known) -> SeenCart | Exclusion:
        """Return what `quote` is. Raises `BadRecord` when it cannot be read."""
        try:
            return self._read(quote, known)
        except (KeyError, TypeError, AttributeError, ArithmeticError, ValueError) as error:
            raise BadRecord(f"the quote lacks its shape ({type(error).__name__})", code="bad_shape") from error

    def _read(self, quote: Record, known: Known) -> SeenCart | Exclusion:
        number = record_id(quote.get("id"))
        orders, active = known.orders.get(number, ()), is_active(quote)
        order = purchase(orders, is_active=active)
        if order is not None:
            return bought_cart(QuoteTimes(number, _created_at(quote), updated_at(quote)), order, self.store_id)
        if not active:
            return Exclusion(str(number), "order_canceled" if orders else "closed_without_order")
        items = visible_items(quote)
        if not items:
            return Exclusion(str(number), "empty")
        return self._open(quote, items, known)

    def _open(self, quote: Record, items: Sequence[Record], known: Known) -> SeenCart:
        number = record_id(quote["id"])
        totals = known.totals.get(number)
        rate, code = _rate(inner(quote, "currency"))
        lines = tuple(_line(item, rate, known.products) for item in items)
        subtotal = sum((line.line_total for line in lines), Decimal(0))
        return SeenCart(
            source_cart_id=str(number),
            store_id=self.store_id,
            status=SourceStatus.OPEN,
            created_at=_created_at(quote),
            updated_at=updated_at(quote),
            currency=code if totals is None else currency(totals.get("quote_currency_code")),
            total=subtotal if totals is None else to_decimal(totals["grand_total"]),
            lines=lines,
            shopper=shopper(inner(quote, "customer"), addresses(quote)),
            consent=_consent(inner(quote, "customer")),
            subtotal=subtotal if totals is None else amount(totals.get("subtotal")),
            discount=None if totals is None else abs(amount(totals.get("discount_amount")) or Decimal(0)),
            tax=None if totals is None else amount(totals.get("tax_amount")),
            coupons=_coupons(quote, totals),
            recovery_url=self._recovery_url(number, quote),
            raw_version=RAW_VERSION,
        )

    def _recovery_url(self, number: int, quote: Record) -> str | None:
        template = self.settings.options.recovery_url
        if template is None:
            return None
        store = text_or_none(quote.get("store_id")) or "0"
        filled = template.replace("{quote_id}", str(number)).replace("{store_id}", store)
        return filled.replace("{store}", self.settings.base_url)


def is_active(quote: Record) -> bool:
    """Return whether the shopper can still buy it. Raises `BadRecord` when the quote does not say."""
    value = quote.get("is_active")
    if value not in (True, False):  # 1 and 0 count as such
        raise BadRecord("the quote does not say whether it is active", code="bad_shape")
    return bool(value)


def updated_at(quote: Record) -> datetime:
    """Return when the quote was updated. Raises `BadRecord` without that."""
    return utc_time(quote.get("updated_at"))


def visible_items(quote: Record) -> list[Record]:
    """Return the quote's lines; a bundle's or configurable's part, listed beside it at price 0, is no line."""
    items = dicts(quote.get("items"))
    priced = {text_or_none(item.get("sku")) for item in items if item.get("price")}
    return [item for item in items if item.get("price") or text_or_none(item.get("sku")) not in priced]


def addresses(quote: Record) -> list[Record]:
    """Return the addresses that a shopper typed: billing, then shipping."""
    assignments = inner(quote, "extension_attributes").get("shipping_assignments")
    listed = assignments if isinstance(assignments, list) else []
    return [inner(quote, "billing_address"), *(inner(each, "shipping", "address") for each in listed)]


def needs_orders(quote: Record) -> bool:
    """Whether only its orders can tell what became of the quote."""
    return not is_active(quote) or text_or_none(quote.get("reserved_order_id")) is not None


def _created_at(quote: Record) -> datetime:
    return utc_time(quote.get("created_at") or quote.get("updated_at"))


def _rate(money: Record) -> tuple[Decimal, str]:
    """Return the rate from the base currency, and the currency that amounts are then in."""
    base, shown = currency(money.get("base_currency_code")), currency(money.get("quote_currency_code"))
    rate = amount(money.get("base_to_quote_rate"))
    if base == shown:
        return Decimal(1), base
    return (rate, shown) if rate is not None and rate > 0 else (Decimal(1), base)


def _line(item: Record, rate: Decimal, products: Mapping[str, Product]) -> Line:
    quantity, sku = to_decimal(item["qty"]), text_or_none(item.get("sku"))
    price = (amount(item.get("price")) or Decimal(0)) * rate
    price = price if rate == 1 else price.quantize(UNIT)
    product = products.get(sku or "", Product())
    return Line(
        id=named(item.get("item_id")),
        title=text_or_none(item.get("name")) or "",
        quantity=quantity,
        unit_price=price,
        line_total=price * quantity,
        sku=sku,
        image_url=product.image_url,
        url=product.url,
    )


def _consent(customer: Record) -> Consent:
    """Read the newsletter subscription of a customer; of a guest nothing is known."""
    subscribed: Any = inner(customer, "extension_attributes").get("is_subscribed")
    if not isinstance(subscribed, bool):
        return Consent()
    return Consent(email=Answer.YES if subscribed else Answer.NO, source="newsletter")


def _coupons(quote: Record, totals: Record | None) -> tuple[str, ...]:
    codes = inner(quote, "extension_attributes").get("coupon_codes")
    listed = codes if isinstance(codes, list) else []
    listed = listed or [None if totals is None else totals.get("coupon_code")]
    return tuple(text for code in listed if (text := text_or_none(code)) is not None)
