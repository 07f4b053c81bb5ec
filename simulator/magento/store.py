"""One Magento store: its integrations, quotes, orders and products, and what happens to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

CARTS, ORDERS = "Magento_Cart::manage", "Magento_Sales::actions_view"
# How a quote that cannot be loaded breaks each page it is on: an error of that status, 200 with a message, no answer.
Break = Literal["500", "404", "400", "message", "hang"]


@dataclass(slots=True)
class Integration:
    """The four values of an integration, and its rights; `nonces` that were used."""

    consumer_key: str = "ckey" + "0" * 28
    consumer_secret: str = "csecret" + "0" * 25
    access_token: str = "token" + "0" * 27
    access_token_secret: str = "tsecret" + "0" * 25
    rights: frozenset[str] = frozenset({CARTS, ORDERS})
    nonces: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Item:
    """One line; `price` in the website's base currency."""

    sku: str = "MUG-1"
    name: str = "Enamel Mug"
    qty: Decimal = Decimal(1)
    price: Decimal = Decimal("12.50")
    product_type: str = "simple"
    id: int = 0


@dataclass(slots=True)
class Quote:
    """One quote; times are aware UTC in whole seconds. `breaks`: it cannot be loaded while it is active."""

    id: int
    created_at: datetime
    updated_at: datetime
    items: list[Item] = field(default_factory=lambda: [Item()])
    is_active: bool = True
    customer: dict[str, Any] = field(default_factory=dict)
    billing: dict[str, Any] = field(default_factory=dict)
    shipping: dict[str, Any] = field(default_factory=dict)
    currency: str = "USD"
    base_currency: str = "USD"
    base_to_quote_rate: Decimal = Decimal(1)
    discount: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)
    coupons: list[str] = field(default_factory=list)
    reserved_order_id: str | None = None
    store_id: int = 1
    breaks: Break | None = None

    @property
    def subtotal(self) -> Decimal:
        """The lines' sum in the base currency."""
        return sum((item.price * item.qty for item in self.items), Decimal(0))

    def columns(self) -> dict[str, Any]:
        """Return the columns of its row in the quote table, as the database compares them."""
        return {
            "entity_id": self.id,
            "store_id": self.store_id,
            "created_at": digits(self.created_at),
            "updated_at": digits(self.updated_at),
            "is_active": int(self.is_active),
            "items_count": len(self.items),
            "items_qty": sum((item.qty for item in self.items), Decimal(0)),
            "customer_id": self.customer.get("id"),
            "customer_email": self.customer.get("email"),
            "grand_total": self.subtotal,
            "quote_currency_code": self.currency,
            "reserved_order_id": self.reserved_order_id,
        }


@dataclass(slots=True)
class Order:
    """One order, made from a quote."""

    id: int
    quote: Quote
    created_at: datetime
    state: str = "processing"
    breaks: Break | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns of its row in the order table."""
        return {
            "entity_id": self.id,
            "increment_id": f"{self.id:09d}",
            "quote_id": self.quote.id,
            "state": self.state,
            "created_at": digits(self.created_at),
            "store_id": self.quote.store_id,
        }


@dataclass(slots=True)
class Store:
    """One store of the host.

    `bearer_allowed`: takes an access token without a signature (off since 2.4.4). `largest_page`: input limiting, None
    where it is off. `views`: codes of its store views. `has_graphql` False: GraphQL is blocked.
    """

    prefix: str
    clock: Callable[[], datetime]
    integrations: list[Integration] = field(default_factory=lambda: [Integration()])
    bearer_allowed: bool = False
    largest_page: int | None = 300
    views: tuple[str, ...] = ("all", "default")
    has_graphql: bool = True
    drops_criteria: bool = False
    quotes: dict[int, Quote] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    products: dict[str, dict[str, Any]] = field(default_factory=dict)
    next_id: int = 1

    def now(self) -> datetime:
        """The store's time, in whole seconds as its database keeps it."""
        return self.clock().replace(microsecond=0)

    def add(self, *, at: datetime | None = None, total: str | Decimal | None = None, **fields: Any) -> Quote:
        """Put a quote in, made and updated at `at`; `total` makes it one line of that price."""
        moment = (at or self.now()).replace(microsecond=0)
        if total is not None:
            fields["items"] = [Item(price=Decimal(total))]
        fields.setdefault("created_at", moment)
        quote = Quote(id=fields.pop("id", self.next_id), updated_at=moment, **fields)
        self._number(quote)
        self.quotes[quote.id] = quote
        self.next_id = max(self.next_id, quote.id + 1)
        return quote

    def put(self, quote_id: int, *, at: datetime | None = None, **changes: Any) -> Quote:
        """Change a quote; every change of a row moves its updated_at."""
        quote = self.quotes[quote_id]
        for name, value in changes.items():
            setattr(quote, name, value)
        quote.updated_at = (at or self.now()).replace(microsecond=0)
        self._number(quote)
        return quote

    def place(self, quote_id: int, *, at: datetime | None = None, state: str = "processing") -> Order:
        """Let the shopper place the order: the quote closes."""
        moment = (at or self.now()).replace(microsecond=0)
        order = Order(len(self.orders) + 1, self.quotes[quote_id], moment, state)
        self.orders[order.id] = order
        self.put(quote_id, at=moment, is_active=False, reserved_order_id=f"{order.id:09d}")
        return order

    def merge(self, guest_id: int, customer_quote_id: int, *, at: datetime | None = None) -> None:
        """Let a guest sign in: the items move to the customer's quote, the guest's closes."""
        guest, theirs = self.quotes[guest_id], self.quotes[customer_quote_id]
        self.put(customer_quote_id, at=at, items=[*theirs.items, *guest.items])
        self.put(guest_id, at=at, is_active=False)

    def delete(self, quote_id: int) -> None:
        """Clean a quote up, as cron does at the end of its lifetime."""
        del self.quotes[quote_id]

    def _number(self, quote: Quote) -> None:
        for position, item in enumerate(quote.items, 1):
            item.id = item.id or quote.id * 100 + position


def digits(moment: datetime) -> str:
    """Print an aware UTC time as Magento does."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")
