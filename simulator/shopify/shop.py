"""One simulated shop: its token, scopes, state, checkouts and bucket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from simulator.shopify.checkouts import CartSpec, Checkout
from simulator.shopify.cost import Bucket

FIRST_NUMBER = 450_789_469
RETENTION = timedelta(days=92)  # about three months

ShopState = Literal["active", "frozen", "locked", "unapproved"]


@dataclass(slots=True)
class Shop:
    """One shop under ``/{prefix}``. `state`: frozen answers 402, locked 423, unapproved 403.

    `serves_version` overrides the version that answers, as when an old one has been retired.
    """

    prefix: str
    now: Callable[[], datetime]
    token: str = ""
    domain: str = ""
    name: str = ""
    currency: str = "USD"
    scopes: tuple[str, ...] = ("read_customers", "read_orders")
    state: ShopState = "active"
    serves_version: str | None = None
    page_limit: int = 25_000  # how deep a list can be paged
    checkouts: dict[int, Checkout] = field(default_factory=dict)
    bucket: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self.token = self.token or f"shpat_{self.prefix:0>32}"
        self.domain = self.domain or f"{self.prefix}-shop.myshopify.com"
        self.name = self.name or f"Shop {self.prefix}"
        self.bucket = Bucket(self.now())

    def add_cart(
        self,
        *,
        updated_at: datetime | None = None,
        created_at: datetime | None = None,
        number: int | None = None,
        **spec: Any,
    ) -> str:
        """Add a checkout and return its number as text. `spec` takes the fields of `CartSpec`."""
        number = number or max(self.checkouts, default=FIRST_NUMBER - 1) + 1
        updated_at = updated_at or self.now()
        for name in {"discount_codes", "titles"} & spec.keys():
            spec[name] = tuple(spec[name])
        self.checkouts[number] = Checkout(
            number=number,
            spec=CartSpec(**spec),
            created_at=min(created_at or updated_at, updated_at),
            updated_at=updated_at,
            domain=self.domain,
            shop_currency=self.currency,
        )
        return str(number)

    def touch(self, source_id: str, updated_at: datetime | None = None, **changes: Any) -> None:
        """Change a checkout; without `changes` only its `updatedAt` moves, as when Shopify sends its own mail."""
        checkout = self.checkouts[int(source_id)]
        checkout.spec = replace(checkout.spec, **changes)
        checkout.updated_at = updated_at or self.now()
        checkout.changed()

    def complete(self, source_id: str, at: datetime | None = None) -> None:
        """Let the shopper buy: the checkout stays listed, with `completedAt`."""
        checkout = self.checkouts[int(source_id)]
        checkout.completed_at = at or self.now()
        self.touch(source_id, checkout.completed_at)

    def close(self, source_id: str, at: datetime | None = None) -> None:
        """Archive a checkout: `status:open` no longer finds it."""
        self.checkouts[int(source_id)].closed = True
        self.touch(source_id, at)

    def delete(self, source_id: str) -> None:
        """Remove a checkout, as the weekly purge does."""
        del self.checkouts[int(source_id)]

    def revoke(self) -> None:
        """Refuse the token handed out so far, as after an uninstall."""
        self.token = f"{self.token}-new"

    def listed(self) -> list[Checkout]:
        """Return the checkouts that are young enough to be listed."""
        oldest = self.now() - RETENTION
        return [checkout for checkout in self.checkouts.values() if checkout.created_at >= oldest]

    def as_json(self) -> dict[str, Any]:
        """Return the shop as a control route shows it."""
        shown = {name: getattr(self, name) for name in ("prefix", "token", "domain", "name", "state", "currency")}
        carts = {
            str(c.number): {**asdict(c.spec), "completed": c.completed_at is not None} for c in self.checkouts.values()
        }
        return {**shown, "scopes": list(self.scopes), "carts": carts}
