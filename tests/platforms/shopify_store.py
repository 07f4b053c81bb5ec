"""The Shopify adapter in front of a simulated shop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from backend.domain.carts import CartPage, SeenCart
from backend.outbound import Outbound, OutboundPolicy
from backend.platforms.base import Connection
from backend.platforms.shopify import ShopifyPlatform
from simulator.shopify import Shop, ShopifySimulator

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SINCE = NOON - timedelta(days=3)


@dataclass(slots=True)
class Store:
    """One simulated shop at noon, and adapters for it."""

    simulator: ShopifySimulator
    http: Outbound

    @property
    def shop(self) -> Shop:
        """The shop that the adapters poll."""
        return self.simulator.shop()

    def connection(self, **settings: Any) -> Connection:
        """Return a connection with the shop's own token; `settings` replace or add to the usual ones."""
        shop = self.shop
        usual: dict[str, Any] = {
            "shop": shop.domain,
            "base_url": f"{self.simulator.base_url}/{shop.prefix}",
            "allow_http": True,
        }
        return Connection("c1", "i1", {**usual, **settings}, {"access_token": shop.token})

    def adapter(self, **settings: Any) -> ShopifyPlatform:
        """Return an adapter, made anew as for each poll."""
        return ShopifyPlatform(self.connection(**settings), self.http, lambda: NOON)

    async def page(self, token: str | None = None, **settings: Any) -> CartPage:
        """Fetch one page."""
        return await self.adapter(**settings).fetch_page(SINCE, token)

    async def only_cart(self, **settings: Any) -> SeenCart:
        """Fetch the first page and return the one cart that is on it."""
        (cart,) = (await self.page(**settings)).carts
        return cart

    async def walk(self, **settings: Any) -> list[str]:
        """Return the ids of a whole walk, each page by an adapter of its own that knows only the stored token."""
        seen: list[str] = []
        token: str | None = None
        while True:
            page = await self.page(token, **settings)
            seen += [cart.source_cart_id for cart in page.carts]
            token = page.next_page_token
            if token is None:
                return seen

    def answer_with(self, body: Any, status: int = 200, **headers: str) -> None:
        """Let the next request get this body instead of the shop's answer."""
        text = body if isinstance(body, str) else orjson.dumps(body).decode()
        self.simulator.inject("status", status=status, body=text, headers=headers)


@asynccontextmanager
async def running_shop() -> AsyncIterator[Store]:
    """Serve two shops on loopback and open the door to them."""
    simulator = ShopifySimulator(shops=2, now=lambda: NOON)
    http = Outbound(OutboundPolicy(allow_loopback=True))
    try:
        async with simulator.running():
            yield Store(simulator, http)
    finally:
        await http.aclose()
