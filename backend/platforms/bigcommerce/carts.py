"""Reads one cart of REST v3, with what its order and its customer's account know of the shopper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from backend.domain.carts import Line, SeenCart, SourceStatus
from backend.domain.money import to_decimal
from backend.errors import BadRecord
from backend.platforms.bigcommerce.orders import (
    WRONG_SHAPE,
    Json,
    chosen,
    currency,
    id_or_none,
    modified_at,
    moment,
    named,
)
from backend.platforms.bigcommerce.people import read_person
from backend.platforms.reading import text_or_none

RAW_VERSION = "bigcommerce/v3"
CATALOGUE_KINDS = ("physical_items", "digital_items")


@dataclass(frozen=True, slots=True)
class Found:
    """An open cart as it was found: its own record, its unfinished order (or nothing), its customer (or nothing)."""

    cart: Json
    order: Json = field(default_factory=dict)
    customer: Mapping[str, Any] = field(default_factory=dict)


def read_open(found: Found, images: Mapping[str, str], store_id: str) -> SeenCart:
    """Return an open cart; `images` by product id fill in where a line has none. Raises `BadRecord`."""
    try:
        return _open(found, images, store_id)
    except WRONG_SHAPE as wrong:
        raise BadRecord(f"the cart lacks its shape ({type(wrong).__name__})", code="bad_shape") from wrong


def _open(found: Found, images: Mapping[str, str], store_id: str) -> SeenCart:
    cart = found.cart
    shopper, consent = read_person(found.order, cart, found.customer)
    return SeenCart(
        source_cart_id=named(cart["id"]).lower(),
        store_id=store_id,
        status=SourceStatus.OPEN,
        created_at=moment(cart["created_time"]),
        updated_at=touched_at(found),
        currency=currency(cart["currency"]["code"]),
        total=to_decimal(cart["cart_amount"]),
        lines=tuple(_lines(cart["line_items"], images)),
        shopper=shopper,
        consent=consent,
        subtotal=to_decimal(cart["base_amount"]),
        discount=_discount(cart),
        coupons=tuple(named(coupon["code"]) for coupon in cart.get("coupons") or ()),
        raw_version=RAW_VERSION,
    )


def touched_at(found: Found) -> datetime:
    """Return when the shopper was last there: at the cart, or later at the payment page. Raises `BadRecord`."""
    at = moment(found.cart["updated_time"])
    return max(at, modified_at(found.order)) if found.order else at


def products_without_image(cart: Json) -> set[str]:
    """Return the ids of products whose lines have no picture of their own."""
    items = cart.get("line_items")
    kinds = [items.get(kind) for kind in CATALOGUE_KINDS] if isinstance(items, dict) else []
    lines = [line for kind in kinds if isinstance(kind, list) for line in kind if isinstance(line, dict)]
    wanted = [id_or_none(line.get("product_id")) for line in lines if _url(line.get("image_url")) is None]
    return {number for number in wanted if number is not None and number.isdigit()}


def _lines(items: Json, images: Mapping[str, str]) -> Iterator[Line]:
    for kind in CATALOGUE_KINDS:
        for item in items.get(kind) or ():
            total = to_decimal(item["extended_sale_price"])
            if not item.get("parent_id") or total != 0:  # the parts of a bundle are paid for with the bundle
                yield _product(item, total, images)
    yield from (_custom(item) for item in items.get("custom_items") or ())
    yield from (_gift(item) for item in items.get("gift_certificates") or ())


def _product(item: Json, total: Decimal, images: Mapping[str, str]) -> Line:
    sku, product_id = text_or_none(item.get("sku")), id_or_none(item["product_id"])
    return Line(
        id=named(item["id"]),
        title=text_or_none(item.get("name")) or sku or "",
        quantity=to_decimal(item["quantity"]),
        unit_price=to_decimal(item["sale_price"]),
        line_total=total,
        product_id=product_id,
        variant_id=id_or_none(item.get("variant_id")),
        sku=sku,
        variant=chosen(item.get("options"), "name", "value"),
        image_url=_url(item.get("image_url")) or images.get(product_id or ""),
        url=_url(item.get("url")),
    )


def _custom(item: Json) -> Line:
    """Read an item that is in no catalogue; its quantity and its price may be texts."""
    sku = text_or_none(item.get("sku"))
    return Line(
        id=named(item["id"]),
        title=text_or_none(item.get("name")) or sku or "",
        quantity=to_decimal(item["quantity"]),
        unit_price=to_decimal(item["list_price"]),
        line_total=to_decimal(item["extended_list_price"]),
        sku=sku,
        image_url=_url(item.get("image_url")),
    )


def _gift(item: Json) -> Line:
    amount = to_decimal(item["amount"])
    title = text_or_none(item.get("name")) or "Gift certificate"
    return Line(id=named(item["id"]), title=title, quantity=Decimal(1), unit_price=amount, line_total=amount)


def _discount(cart: Json) -> Decimal:
    """Return what the cart as a whole is cheaper by; what a product is cheaper by is in its line's price."""
    coupons = sum((to_decimal(c.get("discounted_amount") or 0) for c in cart.get("coupons") or ()), Decimal(0))
    return to_decimal(cart["discount_amount"]) + coupons


def _url(value: Any) -> str | None:
    url = text_or_none(value)
    return url if url is not None and url.startswith(("https://", "http://")) else None
