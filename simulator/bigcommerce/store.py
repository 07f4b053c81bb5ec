"""One simulated store: its token and scopes, its quota, and what shoppers do in it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from simulator.bigcommerce.records import Cart, Customer, Item, Order

ALL_SCOPES = frozenset({"store_v2_orders_read_only", "store_cart", "store_v2_customers_read_only", "store_v2_products"})
CART_LIFE = timedelta(days=30)


@dataclass(slots=True)
class Quota:
    """Requests of all apps together in one window of fixed length, which begins with the first request after the last.

    `limit` of 150 in 30 s is that of the smallest plans.
    """

    limit: int = 150
    window: timedelta = timedelta(seconds=30)
    used: int = 0
    began_at: datetime | None = None

    def take(self, now: datetime) -> bool:
        """Count a request; False when the window has none left."""
        if self.began_at is None or now >= self.began_at + self.window or now < self.began_at:
            self.began_at, self.used = now, 0
        if self.used >= self.limit:
            return False
        self.used += 1
        return True

    def headers(self, now: datetime) -> dict[str, str]:
        """Return what every answer tells of it."""
        left = (self.began_at or now) + self.window - now
        return {
            "X-Rate-Limit-Requests-Quota": str(self.limit),
            "X-Rate-Limit-Requests-Left": str(self.limit - self.used),
            "X-Rate-Limit-Time-Window-Ms": str(int(self.window.total_seconds() * 1000)),
            "X-Rate-Limit-Time-Reset-Ms": str(max(0, int(left.total_seconds() * 1000))),
        }


@dataclass(slots=True)
class Store:
    """One store under ``/stores/{hash}``.

    `includes_second`: whether ``min_date_modified`` includes its own second. `embeds_lines`: whether orders can hold
    their products. `links` are the redirect URLs that were not used yet, with their carts.
    """

    hash: str
    clock: Callable[[], datetime]
    token: str = ""
    scopes: frozenset[str] = ALL_SCOPES
    includes_second: bool = True
    embeds_lines: bool = True
    quota: Quota = field(default_factory=Quota)
    carts: dict[str, Cart] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    customers: dict[int, Customer] = field(default_factory=dict)
    images: dict[int, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    next_order: int = 100

    def __post_init__(self) -> None:
        self.token = self.token or f"token-{self.hash}"

    def now(self) -> datetime:
        """The store's time in whole seconds."""
        return self.clock().replace(microsecond=0)

    def add_cart(self, *, at: datetime | None = None, total: str | None = None, **fields: Any) -> Cart:
        """Let a shopper fill a cart; `total` makes it one line of that price."""
        moment = at or self.now()
        if total is not None:
            fields["items"] = [Item(price=Decimal(total))]
        fields.setdefault("items", [Item()])
        fields.setdefault("id", str(uuid.uuid4()))
        fields.setdefault("created_at", moment)
        cart = Cart(updated_at=moment, **fields)
        self.carts[cart.id] = cart
        _number(cart)
        return cart

    def reach_payment(self, cart_id: str, *, at: datetime | None = None, **fields: Any) -> Order:
        """Let the shopper reach the payment page: an incomplete order comes to be, or is brought up to date."""
        cart, moment = self.carts[cart_id], at or self.now()
        order = self.order_of(cart_id)
        if order is None:
            order = Order(id=self.next_order, cart_id=cart_id, created_at=moment, modified_at=moment)
            self.orders[order.id] = order
            self.next_order += 1
        order.items, order.customer_id, order.currency = list(cart.items), cart.customer_id, cart.currency
        order.discount, order.coupon_discount = cart.discount, sum(cart.coupons.values(), Decimal(0))
        order.billing = {"email": cart.email} if cart.email else {}
        return self.change_order(order.id, at=moment, **fields)

    def abandon(self, *, at: datetime | None = None, billing: dict[str, str] | None = None, **fields: Any) -> Cart:
        """Let a shopper fill a cart, reach the payment page and leave."""
        cart = self.add_cart(at=at, **fields)
        order = self.reach_payment(cart.id, at=at)
        order.billing |= billing or {}
        return cart

    def touch(self, cart_id: str, at: datetime, total: str) -> None:
        """Let the shopper change the cart and come to the payment page again."""
        cart = self.carts[cart_id]
        cart.items, cart.updated_at, cart.version = [Item(price=Decimal(total))], at, cart.version + 1
        _number(cart)
        if self.order_of(cart_id) is not None:
            self.reach_payment(cart_id, at=at)

    def complete(self, cart_id: str, at: datetime | None = None, status_id: int = 11) -> Order:
        """Let the shopper pay: the order keeps its id, the cart is gone."""
        order = self.order_of(cart_id) or self.reach_payment(cart_id, at=at)
        self.carts.pop(cart_id, None)
        return self.change_order(order.id, at=at, status_id=status_id)

    def change_order(self, order_id: int, *, at: datetime | None = None, **changes: Any) -> Order:
        """Change an order, as the merchant does in the control panel."""
        order = self.orders[order_id]
        for name, value in changes.items():
            setattr(order, name, value)
        order.modified_at = (at or self.now()).replace(microsecond=0)
        return order

    def empty(self, cart_id: str) -> None:
        """Let the shopper take the last item out, which deletes the cart; its order stays."""
        del self.carts[cart_id]

    def delete(self, cart_id: str) -> None:
        """Delete cart and order for good."""
        self.carts.pop(cart_id, None)
        self.orders = {number: order for number, order in self.orders.items() if order.cart_id != cart_id}

    def order_of(self, cart_id: str) -> Order | None:
        """Return the order that came from a cart."""
        return next((order for order in self.orders.values() if order.cart_id == cart_id), None)

    def live_cart(self, cart_id: str) -> Cart | None:
        """Return a cart that was changed within the last 30 days."""
        cart = self.carts.get(cart_id)
        return cart if cart is not None and self.now() - cart.updated_at <= CART_LIFE else None

    def revoke(self) -> None:
        """Refuse the token handed out so far."""
        self.token = f"{self.token}-new"


def _number(cart: Cart) -> None:
    for at, item in enumerate(cart.items, 1):
        item.id = item.id or f"{cart.id[:8]}-{at}"
