"""The mock adapter: one cart per slot of the hour, made from nothing but the seed and the slot's number."""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import ClassVar

from pydantic import Field

from backend.domain.carts import Answer, CartPage, Consent, Line, SeenCart, Shopper, SourceStatus
from backend.outbound import Sends
from backend.platforms.base import Capabilities, Connection, ConnectionCheck, Finding, StrictModel
from backend.platforms.mock.catalogue import AREA_CODES, PEOPLE, SAMPLE_LINES, SHOPS, Flavour, Product, Shop

SAMPLE = "sample"
PAGE_SIZE = 100
HOUR = 3600
ONE_IN_BOUGHT = 6
# A cart shows up when its shopper has been gone for a while already, so that it is abandoned at first sight.
IDLE_MINUTES = (31, 55)
BOUGHT_AFTER_MINUTES = (60, 170)
LONGEST_STORY = timedelta(minutes=BOUGHT_AFTER_MINUTES[1])


class MockOptions(StrictModel):
    """`seed`: equal seeds make equal stores (unset: the integration's id); ``sample`` makes the printed sample."""

    flavour: Flavour = "shopify"
    carts_per_hour: int = Field(default=12, ge=1, le=3600)
    seed: str | None = Field(default=None, min_length=1, max_length=100)


class MockSettings(StrictModel):
    """A mock has nothing but its options."""

    options: MockOptions = MockOptions()


class MockCredentials(StrictModel):
    """A mock needs none."""


@dataclass(frozen=True, slots=True)
class _Walk:
    """The part of a window that is still to be shown: the slots from `slot` on, and what had happened by `until`."""

    slot: int
    until: datetime

    @classmethod
    def from_token(cls, token: str) -> _Walk:
        slot, until = token.split(":")
        return cls(int(slot), datetime.fromtimestamp(int(until), UTC))

    def as_token(self) -> str:
        return f"{self.slot}:{int(self.until.timestamp())}"


class MockPlatform:
    """A made-up store. A cart is shown when its slot begins; one in six is bought an hour or more later."""

    name: ClassVar[str] = "mock"
    capabilities: ClassVar[Capabilities] = Capabilities(rereads=False, pages_by="key")
    Settings: ClassVar[type[StrictModel]] = MockSettings
    Credentials: ClassVar[type[StrictModel]] = MockCredentials

    def __init__(self, connection: Connection, http: Sends, now: Callable[[], datetime]) -> None:
        options = MockSettings.model_validate(dict(connection.settings)).options
        self._flavour: Flavour = options.flavour
        self._seed = options.seed or connection.integration_id
        self._slot_seconds = HOUR / options.carts_per_hour
        self._now = now

    @property
    def store_id(self) -> str:
        """Flavour and seed: two mocks with the same ones are the same store."""
        return f"mock:{self._flavour}:{self._seed}"

    async def fetch_page(self, window_from: datetime, page_token: str | None) -> CartPage:
        """Return the carts that appeared or were bought in the window; see `Platform.fetch_page`."""
        now = self._now().replace(microsecond=0)
        if self._seed == SAMPLE:
            return CartPage(carts=tuple(_sample_carts(self.store_id, now)), server_time=now)
        walk = _Walk.from_token(page_token) if page_token else _Walk(self._slot_at(window_from - LONGEST_STORY), now)
        carts: list[SeenCart] = []
        for slot in range(max(walk.slot, 0), self._slot_at(walk.until) + 1):
            if len(carts) == PAGE_SIZE:
                return CartPage(tuple(carts), next_page_token=_Walk(slot, walk.until).as_token(), server_time=now)
            cart = self._cart(slot, window_from, walk.until)
            if cart is not None:
                carts.append(cart)
        return CartPage(tuple(carts), server_time=now)

    async def reread(self, source_cart_ids: Sequence[str]) -> CartPage:
        """A mock's carts are not read again by id: `capabilities.rereads` is false."""
        raise NotImplementedError("a mock's carts are not read again by id")

    async def check(self) -> ConnectionCheck:
        """There is nothing that could be wrong."""
        detail = f"made-up {self._flavour} carts, marked is_mock; no store is called"
        return ConnectionCheck((Finding("mock", ok=True, detail=detail),), self.store_id)

    def _slot_at(self, moment: datetime) -> int:
        return int(moment.timestamp() // self._slot_seconds)

    def _cart(self, slot: int, window_from: datetime, until: datetime) -> SeenCart | None:
        """Return the slot's cart as it stood at `until`; None when nothing happened to it inside the window."""
        chance = random.Random(f"{self.store_id}:{slot}")  # noqa: S311 - repeatable on purpose
        shown_at = datetime.fromtimestamp(int(slot * self._slot_seconds), UTC)
        bought_at = shown_at + timedelta(minutes=chance.randint(*BOUGHT_AFTER_MINUTES))
        is_bought = chance.randrange(ONE_IN_BOUGHT) == 0 and bought_at <= until
        if shown_at > until or (bought_at if is_bought else shown_at) < window_from:
            return None
        story = _Story(
            cart_id=_cart_id(self._flavour, self.store_id, slot),
            left_at=shown_at - timedelta(minutes=chance.randint(*IDLE_MINUTES)),
            bought_at=bought_at if is_bought else None,
        )
        person = chance.choice(PEOPLE)
        shop = SHOPS[self._flavour]
        basket = chance.sample(shop.products, chance.choice((1, 1, 2, 2, 3)))
        lines = tuple(_line(shop, product, chance) for product in basket)
        return _seen(story, shop, self.store_id, lines, _shopper(person, shop, chance))


@dataclass(frozen=True, slots=True)
class _Story:
    """What became of a cart."""

    cart_id: str
    left_at: datetime
    bought_at: datetime | None


def _cart_id(flavour: Flavour, store_id: str, slot: int) -> str:
    """An id of the look that the flavour's platform gives, unique within the store."""
    if flavour == "custom":
        return f"cart_{slot}"
    if flavour == "woocommerce":
        return str(slot % 10**8)
    digest = hashlib.blake2b(f"{store_id}:{slot}".encode(), digest_size=6).digest()
    return str(10**13 + int.from_bytes(digest, "big") % 10**13)


def _seen(story: _Story, shop: Shop, store_id: str, lines: tuple[Line, ...], shopper: Shopper) -> SeenCart:
    total = sum((line.line_total for line in lines), Decimal(0))
    says_yes = Answer.YES if shopper.email else Answer.UNKNOWN
    return SeenCart(
        source_cart_id=story.cart_id,
        store_id=store_id,
        status=SourceStatus.COMPLETED if story.bought_at else SourceStatus.OPEN,
        created_at=story.left_at - timedelta(minutes=len(lines) * 4),
        updated_at=story.bought_at or story.left_at,
        currency=shop.currency,
        total=total,
        subtotal=total,
        lines=lines,
        shopper=shopper,
        consent=Consent(email=says_yes, source="checkout", at=story.left_at),
        completed_at=story.bought_at,
        recovery_url=f"{shop.site}{shop.checkout}{story.cart_id}",
        order_ref=f"#{story.cart_id[-6:]}" if story.bought_at else None,
        is_mock=True,
        raw_version=shop.raw_version,
    )


def _line(shop: Shop, product: Product, chance: random.Random) -> Line:
    quantity = Decimal(chance.choice((1, 1, 1, 2, 3)) if product.price < 1000 else 1)
    variant = chance.choice(product.variants) if product.variants else None
    return _priced(shop, product, variant, quantity)


def _priced(shop: Shop, product: Product, variant: str | None, quantity: Decimal) -> Line:
    handle = product.sku.lower()
    return Line(
        id=f"{product.sku}:{variant}" if variant else product.sku,
        title=product.title,
        quantity=quantity,
        unit_price=product.price,
        line_total=product.price * quantity,
        product_id=handle,
        sku=product.sku,
        variant=variant,
        image_url=f"{shop.site}/images/{handle}.jpg",
        url=f"{shop.site}/products/{handle}",
    )


def _shopper(person: tuple[str, str], shop: Shop, chance: random.Random) -> Shopper:
    """One in twelve leaves no address at all, one in four no phone number."""
    first, last = person
    number = chance.randrange(100)
    is_reachable = chance.randrange(12) > 0
    has_phone = is_reachable and chance.randrange(4) > 0
    phone = f"+1{chance.choice(AREA_CODES)}55501{number:02}"
    return Shopper(
        email=_email(first, last, number) if is_reachable else None,
        phone=phone if has_phone else None,
        first_name=first,
        last_name=last,
        locale=shop.locale,
        country=shop.country,
    )


def _email(first: str, last: str, number: int) -> str:
    plain = unicodedata.normalize("NFKD", f"{first}.{last}").encode("ascii", "ignore").decode()
    return f"{plain.lower()}{number}@example.com"


def _sample_carts(store_id: str, now: datetime) -> Iterator[SeenCart]:
    """The printed sample: three carts, 459.97 together, left yesterday evening whatever the hour is now."""
    shop = SHOPS["shopify"]
    evening = now.replace(hour=0, minute=0, second=0) - timedelta(hours=4)
    for position, (cart_id, (first, last), product) in enumerate(SAMPLE_LINES):
        story = _Story(cart_id, evening - timedelta(minutes=10 * position), None)
        variant = product.variants[0] if product.variants else None
        shopper = Shopper(
            email=_email(first, last, 0),
            phone=f"+12025550{100 + position}",
            first_name=first,
            last_name=last,
            locale=shop.locale,
            country=shop.country,
        )
        yield _seen(story, shop, store_id, (_priced(shop, product, variant, Decimal(1)),), shopper)
