"""One simulated WooCommerce site with its adapter, for tests."""

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
from backend.platforms.woocommerce import WooCommercePlatform
from simulator.woocommerce import Site, WooCommerceSimulator

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


@dataclass
class Shop:
    """A running site and a clock that store and adapter share."""

    simulator: WooCommerceSimulator
    site: Site
    http: Outbound
    at: datetime = NOW

    def platform(self, *, base_url: str = "", secret: str = "cs_secret", **options: Any) -> WooCommercePlatform:
        settings = {
            "base_url": base_url or self.simulator.home_url(self.site),
            "allow_http": True,
            "options": options,
        }
        credentials = {"consumer_key": "ck_key", "consumer_secret": secret}
        return WooCommercePlatform(Connection("c1", "i1", settings, credentials), self.http, lambda: self.at)

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


@asynccontextmanager
async def running_shop(**site_options: Any) -> AsyncIterator[Shop]:
    """Run a site below ``/s0``; its own timers are off unless asked for."""
    shop: Shop
    simulator = WooCommerceSimulator(lambda: shop.at)
    http = Outbound(OutboundPolicy(allow_loopback=True))
    async with simulator.running():
        options = {"hold_stock_minutes": None, "deletes_drafts": False} | site_options
        shop = Shop(simulator, simulator.add_site("/s0", **options), http)
        try:
            yield shop
        finally:
            await http.aclose()


def ids(pages: list[CartPage]) -> list[str]:
    """Return the ids of the carts of all pages, in the order they came."""
    return [cart.source_cart_id for page in pages for cart in page.carts]


def asked(shop: Shop) -> list[dict[str, str]]:
    """Return the parameters of each request the store saw."""
    queries = [parse_qsl(urlsplit(seen.path).query, strict_parsing=True) for seen in shop.simulator.requests]
    for query in queries:
        assert len(query) == len(dict(query)), "a parameter was sent twice"
    return [dict(query) for query in queries]
