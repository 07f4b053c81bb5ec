"""One simulated Magento store with its adapter, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from backend.domain.carts import CartPage, SeenCart
from backend.outbound import Outbound, OutboundPolicy
from backend.platforms.base import Connection
from backend.platforms.magento import MagentoPlatform
from simulator.magento import MagentoSimulator, Store

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


@dataclass
class Shop:
    """A running store and a clock that store and adapter share."""

    simulator: MagentoSimulator
    store: Store
    http: Outbound
    at: datetime = NOW

    def platform(
        self, *, credentials: dict[str, str] | None = None, base_url: str = "", **options: Any
    ) -> MagentoPlatform:
        settings = {
            "base_url": base_url or f"{self.simulator.base_url}{self.store.prefix}",
            "allow_http": True,
            "options": options,
        }
        known = self.store.integrations[0]
        names = ("consumer_key", "consumer_secret", "access_token", "access_token_secret")
        given = credentials or {name: getattr(known, name) for name in names}
        return MagentoPlatform(Connection("c1", "i1", settings, given), self.http, lambda: self.at)

    async def page(self, *, window: timedelta = HOUR, **options: Any) -> CartPage:
        """Return the first page of a poll that looks back `window`."""
        return await self.platform(**options).fetch_page(self.at - window, None)

    async def walk(self, window_from: datetime, **options: Any) -> list[CartPage]:
        """Return every page of a poll, each fetched by a fresh adapter, as after a restart."""
        pages = [await self.platform(**options).fetch_page(window_from, None)]
        while (token := pages[-1].next_page_token) is not None:
            assert len(pages) < 200, "the walk does not end"
            pages.append(await self.platform(**options).fetch_page(window_from, token))
        return pages

    async def cart(self, **options: Any) -> SeenCart:
        """Return the one cart that a poll shows."""
        (cart,) = (await self.page(**options)).carts
        return cart

    def asked(self, path: str = "/carts/search") -> list[dict[str, str]]:
        """Return the parameters of each request to `path`."""
        urls = [urlsplit(seen.path) for seen in self.simulator.requests]
        return [dict(parse_qsl(url.query)) for url in urls if url.path.endswith(path)]


@asynccontextmanager
async def running_shop(**options: Any) -> AsyncIterator[Shop]:
    """Run a store below ``/s0``."""
    shop: Shop
    simulator = MagentoSimulator(lambda: shop.at)
    http = Outbound(OutboundPolicy(allow_loopback=True))
    async with simulator.running():
        shop = Shop(simulator, simulator.add_store("/s0", **options), http)
        try:
            yield shop
        finally:
            await http.aclose()


def ids(pages: list[CartPage]) -> list[str]:
    """Return the ids of the carts of all pages, in the order they came."""
    return [cart.source_cart_id for page in pages for cart in page.carts]


def set_aside(pages: list[CartPage]) -> list[tuple[str | None, str]]:
    """Return the unreadable records of all pages: id and reason."""
    return [(record.source_cart_id, record.reason) for page in pages for record in page.unreadable]
