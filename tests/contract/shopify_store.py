"""Shopify's store for the shared contract suite: two shops on one host, driven through the simulator."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime

from backend.platforms.base import Connection
from simulator.base import SeenRequest
from simulator.shopify import Shop, ShopifySimulator


class ContractStore:
    """One simulated shop and its neighbour, with the levers that the contract cases pull."""

    platform = "shopify"
    page_size = 5

    def __init__(self, now: datetime | None = None) -> None:
        fixed = None if now is None else (lambda: now)
        self.simulator = ShopifySimulator(shops=2, now=fixed)
        self.base_url = ""
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Serve on a free loopback port."""
        self.base_url = await self._stack.enter_async_context(self.simulator.running())

    async def stop(self) -> None:
        """Stop serving."""
        await self._stack.aclose()

    async def connection(self, company_id: str = "c1") -> Connection:
        """Return the connection to the first shop."""
        return self._connect(self.simulator.shop(0), company_id)

    async def second_tenant(self) -> Connection:
        """Return another company's connection to the shop next door, on the same host and port."""
        return self._connect(self.simulator.shop(1), "c2")

    async def add(
        self, cart_id_hint: str, updated_at: datetime, *, email: str | None = "a@example.com", total: str = "10.00"
    ) -> str:
        """Add an open checkout and return its id; Shopify numbers its checkouts itself, so the hint is not used."""
        return self._shop.add_cart(updated_at=updated_at, email=email, total=total)

    async def touch(self, source_id: str, updated_at: datetime, total: str) -> None:
        """Let the shopper change the checkout."""
        self._shop.touch(source_id, updated_at, total=total)

    async def complete(self, source_id: str, at: datetime) -> None:
        """Let the shopper buy."""
        self._shop.complete(source_id, at)

    async def delete(self, source_id: str) -> None:
        """Purge the checkout."""
        self._shop.delete(source_id)

    async def leave_filter(self, source_id: str, at: datetime) -> None:
        """Purge the checkout: the list has no status filter that one could fall out of."""
        self._shop.delete(source_id)

    async def revoke(self) -> None:
        """Refuse the first shop's token from now on."""
        self._shop.revoke()

    async def throttle(self, seconds: float) -> None:
        """Tell the next request to wait."""
        self.simulator.inject("throttled", seconds=seconds)

    @property
    def requests(self) -> list[SeenRequest]:
        """The requests seen so far."""
        return self.simulator.requests

    @property
    def _shop(self) -> Shop:
        return self.simulator.shop(0)

    def _connect(self, shop: Shop, company_id: str) -> Connection:
        settings = {
            "shop": shop.domain,
            "base_url": f"{self.base_url}/{shop.prefix}",
            "allow_http": True,
            "options": {"page_size": self.page_size},
        }
        return Connection(company_id, f"i-{shop.prefix}", settings, {"access_token": shop.token})
