"""Magento's store for the shared contract suite: two tenants' stores on one host, each request signed."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal

from backend.platforms.base import Connection
from simulator.base import SeenRequest
from simulator.magento import Integration, Item, MagentoSimulator, Store


class ContractStore:
    """One simulated store and its neighbour. `page_size` quotes come per page."""

    page_size = 5

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self.simulator = MagentoSimulator(now)
        self._running = AsyncExitStack()
        self.shop = self.simulator.add_store("/s0")
        second = Integration("k" * 32, "l" * 32, "m" * 32, "n" * 32)
        self._second = self.simulator.add_store("/s1", integrations=[second], next_id=900)

    @property
    def requests(self) -> list[SeenRequest]:
        """What the host was asked."""
        return self.simulator.requests

    async def start(self) -> None:
        """Serve on a free loopback port."""
        await self._running.enter_async_context(self.simulator.running())

    async def stop(self) -> None:
        """Stop serving."""
        await self._running.aclose()

    async def connection(self, company_id: str = "c1") -> Connection:
        """Return how the first tenant is reached."""
        return self._connection(company_id, self.shop)

    async def second_tenant(self) -> Connection:
        """Return how another company's store on the same host and port is reached."""
        return self._connection("c2", self._second)

    async def add(
        self, cart_id_hint: str, updated_at: datetime, *, email: str | None = "a@example.com", total: str = "10.00"
    ) -> str:
        """Put an active quote in; Magento gives the id, the hint becomes the shopper's name."""
        billing = {"firstname": cart_id_hint, "email": email}
        return str(self.shop.add(at=updated_at, total=total, billing=billing).id)

    async def touch(self, source_id: str, updated_at: datetime, total: str) -> None:
        """Change what the shopper sees."""
        self.shop.put(int(source_id), at=updated_at, items=[Item(price=Decimal(total))])

    async def complete(self, source_id: str, at: datetime) -> None:
        """Let the shopper buy."""
        self.shop.place(int(source_id), at=at)

    async def delete(self, source_id: str) -> None:
        """Remove the quote."""
        self.shop.delete(int(source_id))

    async def leave_filter(self, source_id: str, at: datetime) -> None:
        """Remove the quote: it is asked for whatever its state, so there is nothing to fall out of."""
        self.shop.delete(int(source_id))

    async def revoke(self) -> None:
        """Refuse the first store's integration from now on."""
        self.shop.integrations.clear()

    async def throttle(self, seconds: float) -> None:
        """Tell the next request to wait."""
        self.simulator.inject("status", status=429, headers={"Retry-After": f"{seconds:g}"})

    def signature_of(self, request: SeenRequest) -> str:
        """Return the OAuth signature of one request."""
        (signature,) = re.findall(r'oauth_signature="([^"]+)"', request.headers["Authorization"])
        return str(signature)

    def _connection(self, company_id: str, store: Store) -> Connection:
        (each, *_) = store.integrations
        settings = {
            "base_url": f"{self.simulator.base_url}{store.prefix}",
            "allow_http": True,
            "options": {"page_size": self.page_size},
        }
        credentials = {
            "consumer_key": each.consumer_key,
            "consumer_secret": each.consumer_secret,
            "access_token": each.access_token,
            "access_token_secret": each.access_token_secret,
        }
        return Connection(company_id, f"magento{store.prefix.replace('/', '-')}", settings, credentials)
