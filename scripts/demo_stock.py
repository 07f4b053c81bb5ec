"""What happens in the demo's stores: who shops there, what they leave behind, and what keeps arriving.

Nobody here exists: example.com addresses and the numbers used are reserved for fiction.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

import aiohttp

PAUSE = (2.0, 4.0)  # seconds between two happenings
ONE_IN_UNKNOWN = 9  # shoppers who leave neither address nor number
# How long ago shoppers left: (least, most) minutes and how many carts each store begins with.
LONG_AGO, TODAY, JUST_NOW, SOON, STILL_HERE = (600, 4200), (15, 600), (10, 12), (7, 10), (0, 5)
FIRST_CARTS: Mapping[tuple[int, int], int] = {LONG_AGO: 6, TODAY: 4, JUST_NOW: 2, SOON: 4, STILL_HERE: 3}
BOUGHT = 2
# A store may list a cart only when its shopper has been gone for a while: it is abandoned at sight, or seconds later.
LISTED_LATE = (9.7, 10.4)


@dataclass(frozen=True, slots=True)
class Shop:
    """A store's shoppers and goods. `phones`: numbers that nobody has."""

    currency: str
    country: str
    people: Sequence[tuple[str, str]]
    goods: Sequence[tuple[str, str]]
    phones: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Basket:
    """What one shopper left behind; amounts in the shop's currency."""

    shop: Shop
    first_name: str
    last_name: str
    email: str | None
    phone: str | None
    lines: tuple[tuple[str, Decimal], ...]

    @property
    def total(self) -> Decimal:
        """The sum of its lines."""
        return sum((price for _title, price in self.lines), Decimal(0))


HARBOR_GOODS = (
    ("Waxed Field Jacket", "159.99"), ("Leather Chukka Boots", "149.99"), ("Canvas Weekender Bag", "119.00"),
    ("Heavyweight T-Shirt", "28.00"), ("Enamel Camp Mug", "16.50"), ("Wool Throw Blanket", "98.00"),
)  # fmt: skip
SHOPS: Mapping[str, Shop] = {
    "harbor-us": Shop(
        "USD", "US",
        (("Emily", "Carter"), ("James", "Walker"), ("Olivia", "Bennett"), ("Daniel", "Hughes"), ("Maya", "Torres")),
        HARBOR_GOODS, tuple(f"+1{area}55501{number:02}" for area in (202, 415, 617) for number in range(20)),
    ),
    "harbor-eu": Shop(
        "EUR", "DE",
        (("Lena", "Vogel"), ("Jonas", "Brandt"), ("Camille", "Moreau"), ("Sofia", "Ricci"), ("Anouk", "de Vries")),
        HARBOR_GOODS, tuple(f"+493023125{number:03}" for number in range(40)),
    ),
    "wattle": Shop(
        "AUD", "AU",
        (("Isla", "Nguyen"), ("Oscar", "Mitchell"), ("Ruby", "O'Connor"), ("Hamish", "Clarke"), ("Zoe", "Papas")),
        (("Stoneware Dinner Set", "289.00"), ("Ash Glaze Vase", "124.95"), ("Salt Pig", "39.95"),
         ("Pour-over Dripper", "54.00"), ("Tea Bowl Pair", "78.50")),
        tuple(f"+61491570{number}" for number in (156, 157, 158, 159, 110)),
    ),
    "bazaar": Shop(
        "INR", "IN",
        (("Priya", "Sharma"), ("Rahul", "Verma"), ("Ananya", "Iyer"), ("Arjun", "Patel"), ("Kavya", "Nair")),
        (("Block Print Kurta", "1499.00"), ("Chanderi Silk Saree", "6899.00"), ("Leather Juttis", "1799.00"),
         ("Assam Tea 250 g", "449.00"), ("Jaipuri Bedsheet", "1299.00")),
    ),
}  # fmt: skip


def basket(shop: Shop, chance: random.Random) -> Basket:
    """Return a basket of one to three goods; one shopper in nine is unknown."""
    first, last = chance.choice(shop.people)
    is_known = chance.randrange(ONE_IN_UNKNOWN) > 0
    address = f"{first}.{last}".lower().replace(" ", "").replace("'", "")
    return Basket(
        shop=shop,
        first_name=first,
        last_name=last,
        email=f"{address}{chance.randrange(100)}@example.com" if is_known else None,
        phone=chance.choice(shop.phones) if is_known and shop.phones and chance.random() < 0.5 else None,
        lines=tuple((title, Decimal(price)) for title, price in chance.sample(shop.goods, chance.choice((1, 1, 2, 3)))),
    )


def new_numbers() -> Iterator[int]:
    """Count from a number that no earlier demo has reached, as its database may have been kept."""
    return itertools.count(int(datetime.now(UTC).timestamp()))


class Shelf(Protocol):
    """A simulated store, as its own shoppers use it."""

    shop: Shop

    async def leave(self, goods: Basket, at: datetime) -> str:
        """Let a shopper leave a cart behind at a time; return its id."""
        ...

    async def buy(self, cart_id: str) -> None:
        """Let the shopper of a cart come back and buy."""
        ...


@dataclass(slots=True)
class Control:
    """The control routes of one simulated server."""

    http: aiohttp.ClientSession
    base_url: str

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Call a control route and return its JSON answer."""
        async with self.http.request(method, f"{self.base_url}/_control{path}", json=body) as answer:
            answer.raise_for_status()
            return await answer.json() if answer.status != 204 else None


@dataclass(slots=True)
class ShopifyShelf:
    """A Shopify shop below a path prefix."""

    control: Control
    prefix: str
    shop: Shop
    numbers: Iterator[int] = field(default_factory=new_numbers)

    async def leave(self, goods: Basket, at: datetime) -> str:
        """See `Shelf`."""
        is_known = goods.email is not None
        spec = {
            "email": goods.email, "phone": goods.phone, "total": str(goods.total), "currency": goods.shop.currency,
            "country": goods.shop.country, "first_name": goods.first_name, "last_name": goods.last_name,
            "lines": len(goods.lines), "titles": [title for title, _price in goods.lines],
            "customer": is_known, "address": is_known, "updated_at": at.isoformat(), "number": next(self.numbers),
        }  # fmt: skip
        made = await self.control.ask("POST", f"/shops/{self.prefix}/carts", spec)
        return str(made[0])

    async def buy(self, cart_id: str) -> None:
        """See `Shelf`."""
        await self.control.ask("POST", f"/shops/{self.prefix}/complete", {"source_id": cart_id})


@dataclass(slots=True)
class WooCommerceShelf:
    """A WooCommerce site below a path prefix."""

    control: Control
    prefix: str
    shop: Shop

    async def leave(self, goods: Basket, at: datetime) -> str:
        """See `Shelf`. What was left long ago is an order whose payment failed; a pending one would be cancelled."""
        is_old = datetime.now(UTC) - at > timedelta(minutes=50)
        billing = {
            "first_name": goods.first_name, "last_name": goods.last_name, "email": goods.email or "",
            "phone": goods.phone or "", "country": goods.shop.country,
        }  # fmt: skip
        items = [{"name": title, "total": str(price), "sku": None} for title, price in goods.lines]
        order = {"site": f"/{self.prefix}", "at": at.isoformat(), "currency": goods.shop.currency, "items": items}
        status = {"status": "failed" if is_old else "pending", "billing": billing}
        made = await self.control.ask("POST", "/orders", order | status)
        return str(made["id"])

    async def buy(self, cart_id: str) -> None:
        """See `Shelf`."""
        await self.control.ask("PATCH", f"/orders/{cart_id}", {"site": f"/{self.prefix}", "status": "processing"})


@dataclass(slots=True)
class CustomShelf:
    """A store that speaks the custom contract."""

    control: Control
    prefix: str
    shop: Shop
    numbers: Iterator[int] = field(default_factory=new_numbers)

    async def leave(self, goods: Basket, at: datetime) -> str:
        """See `Shelf`."""
        cart_id = f"cart-{next(self.numbers)}"
        lines = [
            {"id": str(place), "title": title, "qty": 1, "unit_price": str(price), "line_total": str(price)}
            for place, (title, price) in enumerate(goods.lines)
        ]
        customer = {
            "email": goods.email, "phone": goods.phone, "first": goods.first_name, "last": goods.last_name,
        }  # fmt: skip
        cart = {
            "id": cart_id,
            "updated_at": at.isoformat().replace("+00:00", "Z"),
            "currency": goods.shop.currency,
            "total": str(goods.total),
            "items": lines,
            "customer": customer,
            "recovery_url": f"https://bazaar-lane.example.com/cart/{cart_id}",
        }
        await self.control.ask("POST", "/carts", {"tenant": self.prefix, "carts": [cart]})
        return cart_id

    async def buy(self, cart_id: str) -> None:
        """See `Shelf`."""
        await self.control.ask("POST", "/complete", {"tenant": self.prefix, "id": cart_id})


class Shoppers:
    """The shoppers of all stores."""

    def __init__(self, shelves: Sequence[Shelf], chance: random.Random) -> None:
        self._shelves = shelves
        self._chance = chance
        self._left: list[tuple[Shelf, str]] = []

    async def begin(self) -> None:
        """Fill every store with what happened there over the last three days."""
        await asyncio.gather(*(self._fill(shelf) for shelf in self._shelves))

    async def _fill(self, shelf: Shelf) -> None:
        for moment in self._moments():
            cart_id = await shelf.leave(basket(shelf.shop, self._chance), moment)
            self._left.append((shelf, cart_id))
        for _ in range(BOUGHT):
            await shelf.buy(await shelf.leave(basket(shelf.shop, self._chance), self._ago(TODAY)))

    def _moments(self) -> Iterator[datetime]:
        for span, count in FIRST_CARTS.items():
            for _ in range(count):
                yield self._ago(span)

    def _ago(self, minutes: tuple[float, float]) -> datetime:
        return datetime.now(UTC) - timedelta(minutes=self._chance.uniform(*minutes))

    async def go_on(self) -> None:
        """Shop for ever: most leave a cart, some are still at it, a few come back and buy."""
        while True:
            await asyncio.sleep(self._chance.uniform(*PAUSE))
            shelf, luck = self._chance.choice(self._shelves), self._chance.random()
            if luck < 0.12 and self._left:
                shelf, cart_id = self._left.pop(self._chance.randrange(len(self._left)))
                await shelf.buy(cart_id)
                continue
            at = self._ago(LISTED_LATE) if luck < 0.7 else datetime.now(UTC)
            self._left.append((shelf, await shelf.leave(basket(shelf.shop, self._chance), at)))
