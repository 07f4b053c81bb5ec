"""Quotes, orders and totals as REST V1 prints them, and its filter of fields."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from simulator.magento.store import Item, Order, Quote, digits

NO_CUSTOMER: dict[str, Any] = {"email": None, "firstname": None, "lastname": None}
ADDRESS: dict[str, Any] = {
    "region": None, "region_id": None, "region_code": None, "country_id": None, "street": [""], "telephone": None,
    "postcode": None, "city": None, "firstname": None, "lastname": None, "email": None,
}  # fmt: skip


def quote_json(quote: Quote) -> dict[str, Any]:
    """Return a quote; an inactive one comes without items and without extension attributes."""
    shown: dict[str, Any] = {
        "id": quote.id,
        "created_at": digits(quote.created_at),
        "updated_at": digits(quote.updated_at),
        "is_active": quote.is_active,
        "is_virtual": False,
        "items_count": len(quote.items),
        "items_qty": number(sum((item.qty for item in quote.items), Decimal(0))),
        "customer": {**NO_CUSTOMER, **quote.customer},
        "billing_address": {"id": quote.id * 2, **ADDRESS, **quote.billing},
        "orig_order_id": 0,
        "currency": _currency(quote),
        "customer_is_guest": not quote.customer.get("id"),
        "customer_note_notify": True,
        "customer_tax_class_id": 3,
        "store_id": quote.store_id,
    }
    if quote.reserved_order_id is not None:
        shown["reserved_order_id"] = quote.reserved_order_id
    if quote.is_active:
        shown["items"] = [_item(item, quote) for item in quote.items]
        shown["extension_attributes"] = {"shipping_assignments": _assignments(quote)}
        if quote.coupons:
            shown["extension_attributes"]["coupon_codes"] = quote.coupons
    return shown


def order_json(order: Order) -> dict[str, Any]:
    """Return an order, amounts in the quote's currency; a configurable's part follows its line."""
    quote, rate = order.quote, order.quote.base_to_quote_rate
    total = quote.subtotal * rate - quote.discount + quote.tax
    return {
        **order.columns(),
        "base_grand_total": number(total / rate),
        "grand_total": number(total),
        "subtotal": number(quote.subtotal * rate),
        "discount_amount": number(-quote.discount),
        "tax_amount": number(quote.tax),
        "order_currency_code": quote.currency,
        "status": order.state,
        "customer_id": quote.customer.get("id"),
        "customer_email": quote.customer.get("email") or quote.billing.get("email") or "",
        "customer_firstname": quote.customer.get("firstname"),
        "customer_lastname": quote.customer.get("lastname"),
        "customer_is_guest": 0 if quote.customer.get("id") else 1,
        "billing_address": {**ADDRESS, "entity_id": order.id, "address_type": "billing", **quote.billing},
        "items": [_order_item(item, order, rate) for item in quote.items],
        **({"coupon_code": quote.coupons[0]} if quote.coupons else {}),
    }


def totals_json(quote: Quote) -> dict[str, Any]:
    """Return a quote's totals, in its own currency."""
    rate = quote.base_to_quote_rate
    subtotal = quote.subtotal * rate
    total = number(subtotal - quote.discount + quote.tax)
    return {
        "grand_total": total,
        "base_grand_total": number((subtotal - quote.discount + quote.tax) / rate),
        "subtotal": number(subtotal),
        "base_subtotal": number(quote.subtotal),
        "discount_amount": number(-quote.discount),
        "tax_amount": number(quote.tax),
        "weee_tax_applied_amount": None,
        "base_currency_code": quote.base_currency,
        "quote_currency_code": quote.currency,
        "items_qty": len(quote.items),
        "items": [],
        "total_segments": [{"code": "grand_total", "title": "Grand Total", "value": total}],
        **({"coupon_code": quote.coupons[0]} if quote.coupons else {}),
    }


def number(amount: Decimal) -> int | float:
    """Return an amount as PHP writes numbers: whole ones without a point."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def filtered(value: Any, wanted: str | None) -> Any:
    """Return only the fields of ``fields=``; as PHP has it, an empty list under a filter becomes null."""
    return value if wanted is None else _narrowed(value, _parse(wanted))


def _narrowed(value: Any, tree: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_narrowed(each, tree) for each in value] if value else None
    if not isinstance(value, dict):
        return value
    kept = {name: value[name] for name in value if name in tree}
    return {
        name: _narrowed(each, tree[name]) if tree[name] and isinstance(each, dict | list) else each
        for name, each in kept.items()
    } or []  # an array without keys is a list to PHP


def _parse(wanted: str) -> dict[str, Any]:
    root: dict[str, Any] = {}
    stack, name = [root], ""
    for char in f"{wanted},":
        if char in "[],":
            if name:
                stack[-1].setdefault(name, {})
            if char == "[":
                stack.append(stack[-1][name])
            elif char == "]":
                stack.pop()
            name = ""
        else:
            name += char
    return root


def _currency(quote: Quote) -> dict[str, Any]:
    return {
        "global_currency_code": quote.base_currency,
        "base_currency_code": quote.base_currency,
        "store_currency_code": quote.base_currency,
        "quote_currency_code": quote.currency,
        "store_to_base_rate": 0,
        "store_to_quote_rate": 0,
        "base_to_global_rate": 1,
        "base_to_quote_rate": number(quote.base_to_quote_rate),
    }


def _item(item: Item, quote: Quote) -> dict[str, Any]:
    return {
        "item_id": item.id,
        "sku": item.sku,
        "qty": number(item.qty),
        "name": item.name,
        "price": number(item.price),
        "product_type": item.product_type,
        "quote_id": str(quote.id),
    }


def _order_item(item: Item, order: Order, rate: Decimal) -> dict[str, Any]:
    return {
        "item_id": item.id,
        "order_id": order.id,
        "product_id": 7,
        "sku": item.sku,
        "name": item.name,
        "qty_ordered": number(item.qty),
        "price": number(item.price * rate),
        "row_total": number(item.price * item.qty * rate),
    }


def _assignments(quote: Quote) -> list[dict[str, Any]]:
    if not quote.items:
        return []
    address = {"id": quote.id * 2 + 1, **ADDRESS, **quote.shipping}
    return [{"shipping": {"address": address, "method": None}, "items": [_item(item, quote) for item in quote.items]}]
