"""Reads one order as a cart in normal form, or says by name why it is none.

| status | it is |
|---|---|
| one of `options.statuses`, unpaid | an open cart |
| ``cancelled``, unpaid | an open cart: WooCommerce cancels unpaid orders by itself after an hour |
| ``processing``, ``completed``, or any other with a payment date | bought |
| ``on-hold``, unless among `options.statuses` | bought: the shopper placed the order and owes a transfer |
| ``refunded``, ``trash``, ``auto-draft``, ``cancelled`` after payment, any other | excluded |

Only orders of `options.created_via` are a shopper's; the others are invoices and imports. An open order without lines,
or with nothing to pay, is excluded too.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from backend.domain.carts import Answer, Consent, Exclusion, Line, SeenCart, Shopper, SourceStatus
from backend.domain.money import to_decimal
from backend.errors import BadRecord
from backend.platforms.reading import email_or_none, phone_or_none, text_or_none, utc_time
from backend.platforms.woocommerce.settings import WooCommerceOptions

RAW_VERSION = "woocommerce/wc-v3"
RECOVERY_META = frozenset({"_abandoned_cart_recovery_scheduled_at", "_abandoned_cart_recovery_email_sent_at"})
EXCLUDED = {"trash": "trashed", "auto-draft": "auto_draft", "refunded": "refunded"}
PLACED = frozenset({"processing", "completed", "on-hold"})
YES, NO = frozenset({"1", "yes", "true", "on"}), frozenset({"0", "no", "false", "off", ""})
UNIT = Decimal("0.0001")  # the finest amount that is kept
_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_WORD = re.compile(r"[a-z0-9_-]{1,40}")


@dataclass(frozen=True, slots=True)
class OrderReader:
    """Reads the orders of one store."""

    store_id: str
    options: WooCommerceOptions

    def read(self, order: dict[str, Any]) -> SeenCart | Exclusion:
        """Return what `order` is. Raises `BadRecord` when it cannot be read."""
        try:
            return self._read(order)
        except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise BadRecord(f"the order lacks its shape ({type(error).__name__})", code="bad_shape") from error

    def _read(self, order: dict[str, Any]) -> SeenCart | Exclusion:
        status, source_id = order["status"], order_id(order)
        if status in EXCLUDED:
            return Exclusion(source_id, EXCLUDED[status])
        if order["created_via"] not in self.options.created_via:
            return Exclusion(source_id, f"made_by_{_word(order['created_via'])}")
        paid = order["date_paid_gmt"] is not None
        if status == "cancelled" and paid:
            return Exclusion(source_id, "cancelled_after_payment")
        open_status = status == "cancelled" or status in self.options.statuses
        if paid or (status in PLACED and not open_status):
            return self._cart(order, _bought_at(order))
        if not open_status:
            return Exclusion(source_id, f"status_{_word(status)}")
        if not order["line_items"]:
            return Exclusion(source_id, "empty")
        if not order["needs_payment"] and to_decimal(order["total"]) == 0:
            return Exclusion(source_id, "nothing_to_pay")
        return self._cart(order, None)

    def _cart(self, order: dict[str, Any], bought_at: datetime | None) -> SeenCart:
        items = order["line_items"]
        return SeenCart(
            source_cart_id=order_id(order),
            store_id=self.store_id,
            status=SourceStatus.OPEN if bought_at is None else SourceStatus.COMPLETED,
            created_at=utc_time(order["date_created_gmt"] or order["date_modified_gmt"]),
            updated_at=modified_at(order),
            currency=_currency(order["currency"]),
            total=to_decimal(order["total"]),
            lines=tuple(_line(item) for item in items),
            shopper=_shopper(order),
            consent=self._consent(order["meta_data"]),
            completed_at=bought_at,
            subtotal=sum((_sum(item, "subtotal", "subtotal_tax") for item in items), Decimal(0)),
            discount=_sum(order, "discount_total", "discount_tax"),
            tax=to_decimal(order["total_tax"]),
            coupons=tuple(_named(coupon["code"]) for coupon in order["coupon_lines"]),
            recovery_url=_recovery_url(order) if bought_at is None else None,
            order_ref=None if bought_at is None else text_or_none(order["number"]) or order_id(order),
            raw_version=RAW_VERSION,
        )

    def _consent(self, meta: list[dict[str, Any]]) -> Consent:
        """Read the consent a plugin left; WooCommerce itself asks for none."""
        key = self.options.consent_meta_key
        found = [entry["value"] for entry in meta if entry["key"] == key] if key else []
        if not found or not isinstance(found[-1], str | int | bool):
            return Consent()
        word = str(found[-1]).strip().lower()
        answer = Answer.YES if word in YES else Answer.NO if word in NO else Answer.UNKNOWN
        return Consent(email=answer, source=f"order_meta:{key}")


def order_id(order: dict[str, Any]) -> str:
    """Return the order's id as text. Raises `BadRecord` without one."""
    number = order.get("id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise BadRecord("the order has no id", code="no_id")
    return str(number)


def modified_at(order: dict[str, Any]) -> datetime:
    """Return when the order was modified. Raises `BadRecord` without that."""
    return utc_time(order.get("date_modified_gmt"))


def utc_offset(order: dict[str, Any]) -> timedelta:
    """Return how far the site's local time was ahead of UTC when the order was modified; zero when unknown."""
    try:
        return utc_time(order.get("date_modified")) - modified_at(order)
    except BadRecord:
        return timedelta(0)


def is_mailed_by_store(order: dict[str, Any]) -> bool:
    """Whether WooCommerce's own abandoned cart mail has, or will have, this order."""
    meta = order.get("meta_data")
    return isinstance(meta, list) and any(isinstance(m, dict) and m.get("key") in RECOVERY_META for m in meta)


def plain_text(value: Any) -> str | None:
    """Return a name without its HTML and entities; None when nothing is left."""
    text = text_or_none(value)
    if text is None or ("<" not in text and "&" not in text):
        return text
    return text_or_none(" ".join(html.unescape(_TAG.sub("", text)).split()))


def _bought_at(order: dict[str, Any]) -> datetime:
    for name in ("date_paid_gmt", "date_completed_gmt"):
        if order[name] is not None:
            return utc_time(order[name])
    return modified_at(order)


def _recovery_url(order: dict[str, Any]) -> str | None:
    """Return the order-pay link while it takes money; for a draft, deleted after a day, it leads nowhere."""
    url = text_or_none(order["payment_url"])
    if not order["needs_payment"] or order["status"] == "checkout-draft" or url is None:
        return None
    return url if url.startswith(("https://", "http://")) else None


def _shopper(order: dict[str, Any]) -> Shopper:
    billing, customer = order["billing"], order["customer_id"]
    country = text_or_none(billing["country"])
    return Shopper(
        id=_named(customer) if customer else None,
        email=email_or_none(billing["email"]),
        phone=phone_or_none(billing["phone"], country),
        first_name=plain_text(billing["first_name"]),
        last_name=plain_text(billing["last_name"]),
        country=country,
        is_guest=not customer,
    )


def _line(item: dict[str, Any]) -> Line:
    """Read a line; its amounts are after discount and hold the tax, so that lines add up to what is paid."""
    quantity, total = to_decimal(item["quantity"]), _sum(item, "total", "total_tax")
    return Line(
        id=_named(item["id"]),
        title=plain_text(item["name"]) or "",
        quantity=quantity,
        unit_price=(total / quantity).quantize(UNIT) if quantity else total,
        line_total=total,
        product_id=_named(item["product_id"]) if item["product_id"] else None,
        variant_id=_named(item["variation_id"]) if item["variation_id"] else None,
        sku=text_or_none(item["sku"]),
        variant=_variant(item) if item["variation_id"] else None,
        image_url=_image(item),
    )


def _named(value: Any) -> str:
    """Return an id or a code as text; anything but a whole number or a text is no such thing."""
    text = text_or_none(value)
    if text is None:
        raise BadRecord("an id or a code is missing", code="bad_shape")
    return text


def _variant(item: dict[str, Any]) -> str | None:
    """Return what the shopper chose, ``Size: L, Colour: red``; meta whose key begins with _ is not for eyes."""
    chosen = [
        f"{plain_text(meta.get('display_key')) or text_or_none(meta['key'])}: {value}"
        for meta in item["meta_data"]
        if not str(meta["key"]).startswith("_") and (value := plain_text(meta.get("display_value")))
    ]
    return ", ".join(chosen) or None


def _image(item: dict[str, Any]) -> str | None:
    image = item.get("image")
    url = text_or_none(image.get("src")) if isinstance(image, dict) else None
    return url if url is not None and url.startswith(("https://", "http://")) else None


def _sum(record: dict[str, Any], amount: str, tax: str) -> Decimal:
    """Return an amount and its tax together; a tax that was never worked out is an empty text."""
    return to_decimal(record[amount]) + (to_decimal(record[tax]) if record[tax] != "" else Decimal(0))


def _currency(value: Any) -> str:
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise BadRecord("the order has no currency", code="bad_currency")
    return value.upper()


def _word(value: Any) -> str:
    """Return a store's own word as part of a reason, which is a stable word itself."""
    text = str(value).lower() if value else ""
    return text if _WORD.fullmatch(text) else "other"
