"""One simulated BigCommerce store with its adapter, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from backend.domain.carts import CartPage, SeenCart
from backend.domain.cursor import Cursor
from backend.domain.walks import WalkGuard
from backend.outbound import Outbound, OutboundPolicy
from backend.platforms.base import Connection
from backend.platforms.bigcommerce import BigCommercePlatform
from simulator.bigcommerce import BigCommerceSimulator, Store
from simulator.bigcommerce.store import Quota

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


@dataclass
class Shop:
    """A running store and a clock that store and adapter share."""

    simulator: BigCommerceSimulator
    store: Store
    http: Outbound
    at: datetime = NOW

    def platform(self, **options: Any) -> BigCommercePlatform:
        settings = {
            "store_hash": self.store.hash,
            "base_url": self.simulator.base_url,
            "allow_http": True,
            "options": options,
        }
        credentials = {"access_token": f"token-{self.store.hash}"}
        return BigCommercePlatform(Connection("c1", "i1", settings, credentials), self.http, lambda: self.at)

    async def page(self, **options: Any) -> CartPage:
        """Return the first page of a poll that looks back an hour."""
        return await self.platform(**options).fetch_page(self.at - HOUR, None)

    async def walk(self, **options: Any) -> list[CartPage]:
        """Return every page of a poll that looks back an hour, each fetched by a fresh adapter, as after a restart.

        Raises `TryLater` for a walk that the poller would give up.
        """
        guard, token = WalkGuard(), None
        pages: list[CartPage] = []
        while not pages or token is not None:
            asked = Cursor(page_token=token, pages=len(pages))
            pages.append(await self.platform(**options).fetch_page(self.at - HOUR, token))
            guard.saw(asked, pages[-1])
            token = pages[-1].next_page_token
        return pages

    async def cart(self) -> SeenCart:
        """Return the one cart that a poll shows."""
        (cart,) = [cart for page in await self.walk() for cart in page.carts]
        return cart

    async def excluded(self) -> dict[str, str]:
        """Return what a poll leaves out, with the reason."""
        return {each.source_cart_id: each.reason for page in await self.walk() for each in page.exclusions}

    def asked(self, part: str = "") -> list[str]:
        """Return the paths that were asked for below the store, those that hold `part`."""
        begin = f"/stores/{self.store.hash}"
        paths = [urlsplit(seen.path).path.removeprefix(begin) for seen in self.simulator.requests]
        return [path for path in paths if part in path]

    def queries(self) -> list[dict[str, str]]:
        """Return the parameters of each request."""
        return [dict(parse_qsl(urlsplit(seen.path).query)) for seen in self.simulator.requests]


@asynccontextmanager
async def running_shop(**options: Any) -> AsyncIterator[Shop]:
    """Run a store with a quota that no test uses up unless it asks for another."""
    shop: Shop
    simulator = BigCommerceSimulator(lambda: shop.at)
    http = Outbound(OutboundPolicy(allow_loopback=True))
    async with simulator.running():
        store = simulator.add_store("abc123", **({"quota": Quota(100_000)} | options))
        shop = Shop(simulator, store, http)
        try:
            yield shop
        finally:
            await http.aclose()


def ids(pages: list[CartPage]) -> list[str]:
    """Return the ids of the carts of all pages, in the order they came."""
    return [cart.source_cart_id for page in pages for cart in page.carts]
