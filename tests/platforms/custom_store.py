"""A running simulated custom store, and adapters for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.domain.carts import CartPage, SeenCart
from backend.errors import TryLater
from backend.outbound import Outbound, OutboundPolicy
from backend.platforms.base import Connection
from backend.platforms.custom import CustomPlatform
from simulator.custom import CustomSimulator

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SINCE = NOON - timedelta(days=3)
TOKEN = {"token": "token-s0"}
CREDENTIALS: Mapping[str, dict[str, str]] = {
    "bearer": TOKEN,
    "header": {"key": "token-s0"},
    "basic": {"username": "user-s0", "password": "token-s0"},
    "hmac": {"secret": "token-s0"},
}


class Store:
    """A running simulated store, and adapters for it."""

    def __init__(self, simulator: CustomSimulator, http: Outbound) -> None:
        self.simulator = simulator
        self.http = http
        self.now = NOON

    def adapter(self, credentials: Mapping[str, str] = TOKEN, prefix: str = "s0", **options: Any) -> CustomPlatform:
        settings = {"base_url": f"{self.simulator.base_url}/{prefix}", "allow_http": True, "options": options}
        return CustomPlatform(Connection("c1", "i1", settings, credentials), self.http, lambda: self.now)

    def fill(self, count: int) -> None:
        for number in range(count):
            self.simulator.add_cart("s0", f"c{number:02}", NOON - timedelta(minutes=60 - number))

    async def page(self, **fields: Any) -> CartPage:
        """Return the page that shows one cart with these fields."""
        self.simulator.add_cart("s0", "c1", NOON, **fields)
        return await self.adapter().fetch_page(SINCE, None)

    async def cart(self, **fields: Any) -> SeenCart:
        page = await self.page(**fields)
        assert not page.unreadable, page.unreadable
        return page.carts[0]

    async def trouble(self, kind: str, **options: Any) -> TryLater:
        """Return what the adapter makes of a fault."""
        self.fill(3)
        self.simulator.inject(kind, times=50, **options)
        with pytest.raises(TryLater) as caught:
            await self.walk(page_size=1)
        return caught.value

    async def walk(self, **options: Any) -> list[str]:
        """Walk to the end, with a new adapter for each page."""
        ids: list[str] = []
        token: str | None = None
        for _ in range(100):
            page = await self.adapter(**options).fetch_page(SINCE, token)
            ids += [cart.source_cart_id for cart in page.carts]
            token = page.next_page_token
            if token is None:
                return ids
        raise AssertionError("the walk has no end")


@asynccontextmanager
async def running_store() -> AsyncIterator[Store]:
    """Start a store with one tenant, `s0`, that takes a bearer token."""
    simulator = CustomSimulator(lambda: NOON)
    simulator.add_tenant("s0")
    http = Outbound(OutboundPolicy(allow_loopback=True))
    async with simulator.running():
        yield Store(simulator, http)
        await http.aclose()
