"""The normal form of a cart: what every adapter emits and everything behind it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class SourceStatus(StrEnum):
    """What the platform says of the cart; what we make of it is `CartState`."""

    OPEN = "open"
    COMPLETED = "completed"
    EXPIRED = "expired"


class Answer(StrEnum):
    """A consent, as far as the platform knows it."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Consent:
    """Marketing consent per channel, with where and when it was given."""

    email: Answer = Answer.UNKNOWN
    sms: Answer = Answer.UNKNOWN
    source: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Shopper:
    """The person behind a cart. Every field may be missing; `email` is lower case and trimmed."""

    id: str | None = None
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    locale: str | None = None
    country: str | None = None
    is_guest: bool = True

    @property
    def is_contactable(self) -> bool:
        """Whether there is an address to reach the person at."""
        return bool(self.email or self.phone)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a cart; amounts in the cart's currency."""

    id: str
    title: str
    quantity: Decimal
    unit_price: Decimal
    line_total: Decimal
    product_id: str | None = None
    variant_id: str | None = None
    sku: str | None = None
    variant: str | None = None
    image_url: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class SeenCart:
    """A cart as one read of the platform showed it.

    Times are aware UTC. `currency` is ISO 4217 in upper case. `raw_version` names the shape it was read from,
    e.g. ``shopify/2026-10``.
    """

    source_cart_id: str
    store_id: str
    status: SourceStatus
    created_at: datetime
    updated_at: datetime
    currency: str
    total: Decimal
    lines: tuple[Line, ...] = ()
    shopper: Shopper = field(default_factory=Shopper)
    consent: Consent = field(default_factory=Consent)
    completed_at: datetime | None = None
    subtotal: Decimal | None = None
    discount: Decimal | None = None
    tax: Decimal | None = None
    coupons: tuple[str, ...] = ()
    recovery_url: str | None = None
    order_ref: str | None = None
    is_test: bool = False
    is_mock: bool = False
    raw_version: str = ""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A record that the platform lists and that is no shopper's cart; `reason` is a stable word."""

    source_cart_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A record that could not be read: kept in quarantine with `raw`, at most 64 KiB of its JSON."""

    source_cart_id: str | None
    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class CartPage:
    """One page of a platform's answer.

    `next_page_token` is None when the window is drained. `server_time` is the answer's `Date`, aware UTC, or None
    when it had none. `budget` is what the platform said of its rate limit, for people to read. `notices` are
    stable words about the store worth showing, e.g. ``api_version_fell_forward``.
    """

    carts: tuple[SeenCart, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    unreadable: tuple[UnreadableRecord, ...] = ()
    next_page_token: str | None = None
    server_time: datetime | None = None
    budget: dict[str, float] | None = None
    notices: tuple[str, ...] = ()
