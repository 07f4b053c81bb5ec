"""One WooCommerce site: its orders, how its storage moves their dates, and what happens to them by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

from simulator.woocommerce.orders import Item, Order, Printer

STATUSES = "pending processing on-hold completed cancelled refunded failed checkout-draft".split()
# What a PUT must change before the posts table moves date_modified; on HPOS every PUT moves it, an empty one too.
MOVES_POSTS = frozenset({"status", "customer_note"})
DRAFT_LIFE = timedelta(hours=24)


@dataclass(slots=True)
class ApiKey:
    """A consumer key. `manages_orders`: its WordPress user may list orders (a plain customer may not)."""

    secret: str
    permissions: Literal["read", "write", "read_write"] = "read"
    manages_orders: bool = True
    nonces: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Site:
    """One site of the host. `home_url` empty: the site's home is where it is served.

    `hold_stock_minutes` None: stock management is off. `tls_terminated`: a proxy ends TLS before the site and tells it
    so; `sees_tls` False: PHP does not learn of TLS at all. `strips_authorization`: the web server keeps that header
    from PHP. `knows_modified` False: too old for ``modified_after``, which it then ignores; `knows_drafts` False: too
    old for drafts. `ignores`: parameters that a plugin drops on the way. `custom_statuses` follow the built-in ones.
    """

    prefix: str
    clock: Callable[[], datetime]
    home_url: str = ""
    served_at: str = ""
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Australia/Adelaide"))
    version: str = "11.0.1"
    storage: Literal["hpos", "posts"] = "hpos"
    hold_stock_minutes: int | None = 60
    deletes_drafts: bool = True
    tls_terminated: bool = False
    sees_tls: bool = True
    strips_authorization: bool = False
    knows_modified: bool = True
    knows_drafts: bool = True
    woocommerce_missing: bool = False
    ignores: frozenset[str] = frozenset()
    custom_statuses: list[str] = field(default_factory=list)
    keys: dict[str, ApiKey] = field(default_factory=lambda: {"ck_key": ApiKey("cs_secret")})
    orders: dict[int, Order] = field(default_factory=dict)
    next_id: int = 21

    @property
    def home(self) -> str:
        """The site's home URL, which every signature is made over."""
        return self.home_url or self.served_at

    @property
    def statuses(self) -> list[str]:
        """The statuses an order can be asked for by name, besides any, trash and auto-draft."""
        known = [status for status in STATUSES if self.knows_drafts or status != "checkout-draft"]
        return known + self.custom_statuses

    @property
    def any_holds_drafts(self) -> bool:
        """Up to 10.7 ``any`` holds checkout drafts, later it does not."""
        major, minor = (int(part) for part in self.version.split(".")[:2])
        return (major, minor) < (10, 8)

    def printer(self, decimals: int = 2) -> Printer:
        """Return what prints this site's orders."""
        return Printer(self.home, self.zone, decimals)

    def now(self) -> datetime:
        """The site's time, in whole seconds as its database keeps it."""
        return self.clock().replace(microsecond=0)

    def add(self, *, at: datetime | None = None, total: str | Decimal | None = None, **fields: Any) -> Order:
        """Put an order in, made and modified at `at`; `total` makes it one line of that price."""
        moment = (at or self.now()).replace(microsecond=0)
        if total is not None:
            fields["items"] = [Item(total=Decimal(total))]
        fields.setdefault("version", self.version)
        fields.setdefault("created_at", moment)
        order = Order(id=self.next_id, modified_at=moment, **fields)
        for position, item in enumerate(order.items, 1):
            item.id = item.id or order.id * 100 + position
        self.orders[order.id] = order
        self.next_id += 1
        return order

    def put(self, order_id: int, *, at: datetime | None = None, **changes: Any) -> Order:
        """Change an order as ``PUT orders/<id>`` does; whether date_modified moves depends on the storage."""
        order = self.orders[order_id]
        for name, value in changes.items():
            setattr(order, name, value)
        moment = (at or self.now()).replace(microsecond=0)
        if self.storage == "hpos" or MOVES_POSTS & changes.keys():
            order.modified_at = moment
        return order

    def move(self, order_id: int, status: str, *, at: datetime | None = None) -> Order:
        """Move an order to `status`; paid statuses set date_paid, completed sets date_completed."""
        moment = (at or self.now()).replace(microsecond=0)
        changes: dict[str, Any] = {"status": status}
        order = self.orders[order_id]
        if status in {"processing", "completed"} and order.paid_at is None:
            changes["paid_at"] = moment
        if status == "completed":
            changes["completed_at"] = moment
        return self.put(order_id, at=moment, **changes)

    def trash(self, order_id: int, *, at: datetime | None = None) -> None:
        """Put an order into the trash, where it can still be read by id."""
        self.put(order_id, at=at, status="trash")

    def delete(self, order_id: int) -> None:
        """Delete an order for good."""
        del self.orders[order_id]

    def tick(self) -> None:
        """Do what WP-Cron would have done by now: cancel unpaid orders, delete old drafts."""
        now = self.now()
        if self.hold_stock_minutes is not None:
            self._cancel_unpaid(now - timedelta(minutes=self.hold_stock_minutes))
        if self.deletes_drafts:
            old = [o.id for o in self.orders.values() if _is_draft(o) and now - o.modified_at > DRAFT_LIFE]
            for order_id in old:
                self.delete(order_id)

    def _cancel_unpaid(self, before: datetime) -> None:
        for order in self.orders.values():
            of_shopper = order.created_via in {"checkout", "store-api"}
            if order.status == "pending" and of_shopper and order.modified_at < before:
                self.move(order.id, "cancelled")


def _is_draft(order: Order) -> bool:
    return order.status == "checkout-draft"
