"""Records as the API prints them: v2 orders with amounts as texts and RFC 2822 dates, v3 with numbers and ISO 8601."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

from simulator.bigcommerce.records import STATUSES, UNFINISHED, Cart, Customer, Item, Order

BILLING = "first_name last_name company street_1 street_2 city state zip country country_iso2 phone email".split()
NO_AMOUNT = (
    "base_shipping_cost", "base_handling_cost", "handling_cost_ex_tax", "handling_cost_inc_tax", "handling_cost_tax",
    "base_wrapping_cost", "wrapping_cost_ex_tax", "wrapping_cost_inc_tax", "wrapping_cost_tax", "refunded_amount",
    "store_credit_amount", "gift_certificate_amount", "shipping_cost_tax",
)  # fmt: skip


def amount(value: Decimal) -> str:
    """Print an amount as v2 does."""
    return f"{value:.4f}"


def number(value: Decimal) -> int | float:
    """Print an amount as v3 does."""
    return int(value) if value == value.to_integral_value() and abs(value) < 10**15 else float(value)


def rfc2822(moment: datetime) -> str:
    """Print a time as v2 does: ``Wed, 05 Dec 2018 20:16:55 +0000``."""
    return format_datetime(moment)


def cart_json(cart: Cart, includes: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return a cart of v3; the options of its items only where they are asked for."""
    lines: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("physical_items", "digital_items", "gift_certificates", "custom_items")
    }
    for item in cart.items:
        if item.kind == "custom":
            lines["custom_items"].append(_custom(item))
        elif item.kind == "giftcertificate":
            lines["gift_certificates"].append(_gift(item))
        else:
            name = f"{item.kind}_items"
            lines[name].append(_cart_item(item, with_options=f"line_items.{name}.options" in includes))
    return {
        "id": cart.id,
        "customer_id": cart.customer_id,
        "channel_id": cart.channel_id,
        "email": cart.email or "",
        "currency": {"code": cart.currency},
        "tax_included": cart.tax_included,
        "base_amount": number(cart.base),
        "discount_amount": number(cart.discount),
        "manual_discount_amount": 0,
        "cart_amount": number(cart.amount),
        "coupons": [
            {"id": str(at), "code": code, "coupon_type": "2", "discounted_amount": number(off)}
            for at, (code, off) in enumerate(cart.coupons.items(), 1)
        ],
        "discounts": [],
        "line_items": lines,
        "created_time": cart.created_at.isoformat(),
        "updated_time": cart.updated_at.isoformat(),
        "locale": cart.locale,
        "version": cart.version,
    }


def _cart_item(item: Item, *, with_options: bool) -> dict[str, Any]:
    printed = {
        "id": item.id,
        "variant_id": item.variant_id,
        "product_id": item.product_id,
        "sku": item.sku,
        "name": item.name,
        "url": f"https://shop.example.com/{item.sku.lower()}/",
        "quantity": item.quantity,
        "taxable": True,
        "image_url": item.image_url,
        "discounts": [],
        "coupons": [],
        "discount_amount": 0,
        "coupon_amount": 0,
        "original_price": number(item.price),
        "list_price": number(item.price),
        "sale_price": number(item.price),
        "extended_list_price": number(item.total),
        "extended_sale_price": number(item.total),
        "is_require_shipping": item.kind == "physical",
        "is_mutable": item.parent_id is None,
        "added_by_promotion": False,
    }
    if item.parent_id is not None:
        printed["parent_id"] = item.parent_id
    if with_options:
        printed["options"] = [
            {"name": name, "nameId": at, "value": value, "valueId": at}
            for at, (name, value) in enumerate(item.options.items(), 1)
        ]
    return printed


def _custom(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "sku": item.sku,
        "name": item.name,
        "quantity": str(item.quantity),
        "list_price": str(item.price),
        "extended_list_price": number(item.total),
        "image_url": item.image_url,
    }


def _gift(item: Item) -> dict[str, Any]:
    people = {"name": "Jane Doe", "email": "jane@example.com"}
    return {
        "id": item.id,
        "name": item.name,
        "theme": "Birthday",
        "amount": number(item.total),
        "taxable": False,
        "sender": people,
        "recipient": people,
        "message": "",
    }


def order_json(order: Order, api: str, *, with_lines: bool = False) -> dict[str, Any]:
    """Return an order of v2; `api` is the address of the store's API. `with_lines`: products within consignments."""
    path = f"/orders/{order.id}"
    return {
        "id": order.id,
        "customer_id": order.customer_id,
        "date_created": rfc2822(order.created_at),
        "date_modified": rfc2822(order.modified_at),
        "date_shipped": "",
        "status_id": order.status_id,
        "status": STATUSES[order.status_id],
        "custom_status": STATUSES[order.status_id],
        "cart_id": order.cart_id,
        **_order_amounts(order),
        **_order_words(order),
        "billing_address": {**{name: order.billing.get(name, "") for name in BILLING}, "form_fields": []},
        "consignments": consignments(order) if with_lines else _link(api, f"{path}/consignments"),
        "products": _link(api, f"{path}/products"),
        "shipping_addresses": _link(api, f"{path}/shippingaddresses"),
        "coupons": _link(api, f"{path}/coupons"),
        "fees": _link(api, f"{path}/fees"),
    }


def _order_amounts(order: Order) -> dict[str, Any]:
    return {
        **dict.fromkeys(NO_AMOUNT, amount(Decimal(0))),
        "subtotal_ex_tax": amount(order.subtotal),
        "subtotal_inc_tax": amount(order.subtotal),
        "subtotal_tax": amount(Decimal(0)),
        "shipping_cost_ex_tax": amount(order.shipping),
        "shipping_cost_inc_tax": amount(order.shipping),
        "total_ex_tax": amount(order.total - order.tax),
        "total_inc_tax": amount(order.total),
        "total_tax": amount(order.tax),
        "discount_amount": amount(order.discount),
        "coupon_discount": amount(order.coupon_discount),
        "items_total": sum(item.quantity for item in order.items),
        "items_shipped": 0,
    }


def _order_words(order: Order) -> dict[str, Any]:
    return {
        "is_tax_inclusive_pricing": False,
        "payment_method": "Credit Card",
        "payment_provider_id": "",
        "payment_status": "" if order.status_id in UNFINISHED else "captured",
        "order_is_digital": False,
        "ip_address": "",
        "geoip_country": "",
        "geoip_country_iso2": "",
        "currency_id": 1,
        "currency_code": order.display_currency or order.currency,
        "currency_exchange_rate": "1.0000000000",
        "default_currency_id": 1,
        "default_currency_code": order.currency,
        "store_default_currency_code": order.currency,
        "staff_notes": "",
        "customer_message": "",
        "shipping_address_count": 1,
        "is_deleted": order.is_deleted,
        "is_email_opt_in": order.is_email_opt_in,
        "order_source": order.source,
        "channel_id": order.channel_id,
        "customer_locale": order.locale,
        "external_id": None,
        "external_source": None,
        "tax_provider_id": "",
    }


def consignments(order: Order) -> dict[str, Any]:
    """Return an order's consignments in the object structure, with its products in them."""
    lines = {kind: [product_json(order, at, item) for at, item in _of(order, kind)] for kind in ("physical", "digital")}
    gifts = [product_json(order, at, item) for at, item in _of(order, "giftcertificate")]
    lines["physical"] += [product_json(order, at, item) for at, item in _of(order, "custom")]
    return {
        "pickups": [],
        "shipping": [{"id": order.id, "items_total": len(lines["physical"]), "line_items": lines["physical"]}],
        "downloads": [{"recipient_email": "", "line_items": lines["digital"]}] if lines["digital"] else [],
        "email": {"gift_certificates": [{"recipient_email": "", "line_items": gifts}] if gifts else []},
    }


def _of(order: Order, kind: str) -> list[tuple[int, Item]]:
    return [(at, item) for at, item in enumerate(order.items, 1) if item.kind == kind]


def product_json(order: Order, at: int, item: Item) -> dict[str, Any]:
    """Return the product of an order that is its line number `at`."""
    parents = [n for n, other in enumerate(order.items, 1) if other.id and other.id == item.parent_id]
    each, total = amount(item.price), amount(item.total)
    return {
        "id": order.id * 100 + at,
        "order_id": order.id,
        "product_id": 0 if item.kind in {"custom", "giftcertificate"} else item.product_id,
        "variant_id": 0 if item.kind in {"custom", "giftcertificate"} else item.variant_id,
        "order_address_id": 1,
        "name": item.name,
        "sku": item.sku,
        "type": "physical" if item.kind == "custom" else item.kind,
        **dict.fromkeys(("base_price", "price_ex_tax", "price_inc_tax"), each),
        **dict.fromkeys(("base_total", "total_ex_tax", "total_inc_tax", "discounted_total_inc_tax"), total),
        "price_tax": amount(Decimal(0)),
        "total_tax": amount(Decimal(0)),
        "quantity": item.quantity,
        "is_refunded": False,
        "parent_order_product_id": order.id * 100 + parents[0] if parents else None,
        "is_bundled_product": bool(parents),
        "applied_discounts": [],
        "product_options": [
            {"id": n, "display_name": name, "display_value": value, "name": name, "type": "Multiple choice"}
            for n, (name, value) in enumerate(item.options.items(), 1)
        ],
        "configurable_fields": [],
    }


def customer_json(customer: Customer) -> dict[str, Any]:
    """Return a customer of v3."""
    return {
        "id": customer.id,
        "email": customer.email,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "company": "",
        "phone": customer.phone,
        "notes": "",
        "customer_group_id": 0,
        "accepts_product_review_abandoned_cart_emails": customer.accepts_emails,
    }


def _link(api: str, path: str) -> dict[str, str]:
    return {"url": f"{api}/v2{path}", "resource": path}
