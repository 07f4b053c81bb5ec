"""What a store keeps: carts, orders, customers and their items. Times are aware UTC in whole seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

Kind = Literal["physical", "digital", "custom", "giftcertificate"]

STATUSES = (
    "Incomplete", "Pending", "Shipped", "Partially Shipped", "Refunded", "Cancelled", "Declined", "Awaiting Payment",
    "Awaiting Pickup", "Awaiting Shipment", "Completed", "Awaiting Fulfillment", "Manual Verification Required",
    "Disputed", "Partially Refunded",
)  # fmt: skip
UNFINISHED = frozenset({0, 1})


@dataclass(slots=True)
class Item:
    """One line. `price` of one; `image_url` empty: the product has no picture; `parent_id`: it is part of a bundle."""

    name: str = "Chambray Towel"
    price: Decimal = Decimal("25.00")
    quantity: int = 1
    kind: Kind = "physical"
    product_id: int = 77
    variant_id: int = 1
    sku: str = "TOWEL"
    image_url: str = "https://cdn.example.com/towel.png"
    options: dict[str, str] = field(default_factory=dict)
    parent_id: str | None = None
    id: str = ""

    @property
    def total(self) -> Decimal:
        """What the line costs."""
        return self.price * self.quantity


@dataclass(slots=True)
class Cart:
    """One cart. `made_by_api`: through the management API, which alone can be given redirect URLs."""

    id: str
    created_at: datetime
    updated_at: datetime
    items: list[Item] = field(default_factory=list)
    email: str | None = None
    customer_id: int = 0
    currency: str = "USD"
    coupons: dict[str, Decimal] = field(default_factory=dict)
    discount: Decimal = Decimal(0)
    tax_included: bool = False
    channel_id: int = 1
    locale: str = "en"
    made_by_api: bool = False
    version: int = 1

    @property
    def base(self) -> Decimal:
        """The lines together, before what the cart as a whole is cheaper by."""
        return sum((item.total for item in self.items), Decimal(0))

    @property
    def amount(self) -> Decimal:
        """What the cart costs, without shipping."""
        return self.base - self.discount - sum(self.coupons.values(), Decimal(0))


@dataclass(slots=True)
class Order:
    """One order; `cart_id` empty: it came from no cart."""

    id: int
    cart_id: str
    created_at: datetime
    modified_at: datetime
    status_id: int = 0
    items: list[Item] = field(default_factory=list)
    billing: dict[str, str] = field(default_factory=dict)
    customer_id: int = 0
    currency: str = "USD"
    display_currency: str = ""
    shipping: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)
    discount: Decimal = Decimal(0)
    coupon_discount: Decimal = Decimal(0)
    source: str = "www"
    is_deleted: bool = False
    is_email_opt_in: bool = False
    locale: str = "en"
    channel_id: int = 1

    @property
    def subtotal(self) -> Decimal:
        """The lines together."""
        return sum((item.total for item in self.items), Decimal(0))

    @property
    def total(self) -> Decimal:
        """What the shopper pays."""
        return self.subtotal + self.shipping + self.tax - self.discount - self.coupon_discount


@dataclass(slots=True)
class Customer:
    """One account. `accepts_emails`: product review and abandoned cart mails."""

    id: int
    email: str
    first_name: str = "Jane"
    last_name: str = "Doe"
    phone: str = ""
    accepts_emails: bool = True
