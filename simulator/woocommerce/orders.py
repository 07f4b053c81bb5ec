"""An order as a WooCommerce site keeps it, and as REST v3 prints it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

BILLING = "first_name last_name company address_1 address_2 city state postcode country email phone".split()
CURRENCY_SYMBOLS = {"AUD": "$", "USD": "$", "EUR": "&euro;", "JPY": "&yen;"}
PAYABLE = frozenset({"pending", "failed", "checkout-draft"})


@dataclass(slots=True)
class Item:
    """One line: `total` for the whole line after discount and without tax, kept unrounded."""

    name: str = "Enamel Mug"
    quantity: int = 1
    total: Decimal = Decimal("12.50")
    tax: Decimal = Decimal(0)
    subtotal: Decimal | None = None
    product_id: int = 11
    variation_id: int = 0
    sku: str | None = "MUG-1"
    meta: list[dict[str, Any]] = field(default_factory=list)
    id: int = 0


@dataclass(slots=True)
class Order:
    """One order; times are aware UTC in whole seconds."""

    id: int
    created_at: datetime
    modified_at: datetime
    status: str = "pending"
    created_via: str = "checkout"
    currency: str = "AUD"
    items: list[Item] = field(default_factory=lambda: [Item()])
    billing: dict[str, str] = field(default_factory=dict)
    customer_id: int = 0
    shipping: Decimal = Decimal(0)
    shipping_tax: Decimal = Decimal(0)
    fees: list[Decimal] = field(default_factory=list)
    coupons: dict[str, Decimal] = field(default_factory=dict)
    meta: list[dict[str, Any]] = field(default_factory=list)
    customer_note: str = ""
    payment_method: str = "offsite_card"
    paid_at: datetime | None = None
    completed_at: datetime | None = None
    version: str = ""

    @property
    def total(self) -> Decimal:
        """The order's total, rounded to two decimals when stored, whatever its currency."""
        lines = sum((item.total + item.tax for item in self.items), Decimal(0))
        exact = lines + self.shipping + self.shipping_tax + sum(self.fees, Decimal(0))
        return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)

    @property
    def needs_payment(self) -> bool:
        """Whether the order-pay page would take money for it."""
        return self.status in PAYABLE and self.total > 0


@dataclass(frozen=True, slots=True)
class Printer:
    """Prints orders of one site: its home URL, its time zone, and how many decimals were asked for."""

    home_url: str
    zone: ZoneInfo
    decimals: int = 2

    def money(self, amount: Decimal) -> str:
        """Print an amount with the store's decimals, not the currency's."""
        return str(amount.quantize(Decimal(1).scaleb(-self.decimals), ROUND_HALF_UP))

    def order(self, order: Order) -> dict[str, Any]:
        """Return the order as REST v3 shows it."""
        return {
            "id": order.id,
            "parent_id": 0,
            "status": order.status,
            "currency": order.currency,
            "version": order.version,
            "prices_include_tax": False,
            **self._amounts(order),
            "customer_id": order.customer_id,
            "order_key": f"wc_order_{order.id:013d}",
            **self._people(order),
            "created_via": order.created_via,
            "customer_note": order.customer_note,
            "cart_hash": "",
            "number": str(order.id),
            "meta_data": [{"id": number, **meta} for number, meta in enumerate(order.meta, 1)],
            **self._lines(order),
            "refunds": [],
            "payment_url": f"{self.home_url}/checkout/order-pay/{order.id}/"
            f"?pay_for_order=true&key=wc_order_{order.id:013d}",
            "is_editable": order.status in {"pending", "on-hold", "auto-draft"},
            "needs_payment": order.needs_payment,
            "needs_processing": True,
            **self._dates(order),
            "currency_symbol": CURRENCY_SYMBOLS.get(order.currency, order.currency),
            "_links": self._links(order),
        }

    def _amounts(self, order: Order) -> dict[str, Any]:
        lines_tax = sum((item.tax for item in order.items), Decimal(0))
        return {
            "discount_total": self.money(sum(order.coupons.values(), Decimal(0))),
            "discount_tax": self.money(Decimal(0)),
            "shipping_total": self.money(order.shipping),
            "shipping_tax": self.money(order.shipping_tax),
            "cart_tax": self.money(lines_tax),
            "total": self.money(order.total),
            "total_tax": self.money(lines_tax + order.shipping_tax),
        }

    def _people(self, order: Order) -> dict[str, Any]:
        return {
            "billing": {name: order.billing.get(name, "") for name in BILLING},
            "shipping": dict.fromkeys([name for name in BILLING if name != "email"], ""),
            "payment_method": order.payment_method,
            "payment_method_title": "Card",
            "transaction_id": "",
            "customer_ip_address": "",
            "customer_user_agent": "",
        }

    def _lines(self, order: Order) -> dict[str, Any]:
        return {
            "line_items": [self._item(item) for item in order.items],
            "tax_lines": [],
            "shipping_lines": [],
            "fee_lines": [
                {"id": 9000 + at, "name": "Fee", "total": self.money(fee), "total_tax": self.money(Decimal(0))}
                for at, fee in enumerate(order.fees)
            ],
            "coupon_lines": [
                {"id": 9500 + at, "code": code, "discount": format(amount.normalize(), "f")}
                for at, (code, amount) in enumerate(order.coupons.items())
            ],
        }

    def _item(self, item: Item) -> dict[str, Any]:
        return {
            "id": item.id,
            "name": item.name,
            "product_id": item.product_id,
            "variation_id": item.variation_id,
            "quantity": item.quantity,
            "tax_class": "",
            "subtotal": self.money(item.total if item.subtotal is None else item.subtotal),
            "subtotal_tax": self.money(item.tax),
            "total": self.money(item.total),
            "total_tax": self.money(item.tax),
            "taxes": [],
            "meta_data": item.meta,
            "sku": item.sku,
            "global_unique_id": "",
            "price": float(item.total) / item.quantity if item.quantity else 0,
            "image": {"id": "", "src": ""},
            "parent_name": None,
        }

    def _dates(self, order: Order) -> dict[str, Any]:
        moments = {
            "date_created": order.created_at,
            "date_modified": order.modified_at,
            "date_paid": order.paid_at,
            "date_completed": order.completed_at,
        }
        local = {name: digits(moment, self.zone) for name, moment in moments.items()}
        return local | {f"{name}_gmt": digits(moment, UTC) for name, moment in moments.items()}

    def _links(self, order: Order) -> dict[str, Any]:
        orders = f"{self.home_url}/wp-json/wc/v3/orders"
        return {"self": [{"href": f"{orders}/{order.id}"}], "collection": [{"href": orders}]}


def digits(moment: datetime | None, zone: Any) -> str | None:
    """Print a time as WooCommerce does: local to `zone`, without saying so."""
    return None if moment is None else moment.astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S")
