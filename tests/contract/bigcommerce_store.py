"""The simulated BigCommerce stores, as the shared contract suite drives every store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime

from backend.platforms.base import Connection
from simulator.base import SeenRequest
from simulator.bigcommerce import BigCommerceSimulator, Store
from simulator.bigcommerce.store import Quota


class ContractStore:
    """Two companies' stores on one host and port. `page_size` orders come per page."""

    page_size = 5

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self.simulator = BigCommerceSimulator(now)
        self._running = AsyncExitStack()
        # The suite asks without a pause, so the quota is that of a large plan.
        self.store = self.simulator.add_store("abc123", quota=Quota(100_000))
        self._second = self.simulator.add_store("xyz789", quota=Quota(100_000), next_order=9000)

    @property
    def requests(self) -> list[SeenRequest]:
        """What the host was asked."""
        return self.simulator.requests

    async def start(self) -> None:
        await self._running.enter_async_context(self.simulator.running())

    async def stop(self) -> None:
        await self._running.aclose()

    async def connection(self, company_id: str = "c1") -> Connection:
        """Return how the first store is reached."""
        return self._connection(company_id, self.store)

    async def second_tenant(self) -> Connection:
        """Return how another company's store on the same host and port is reached."""
        return self._connection("c2", self._second)

    async def add(
        self, cart_id_hint: str, updated_at: datetime, *, email: str | None = "a@example.com", total: str = "10.00"
    ) -> str:
        """Let a shopper stop at the payment page; BigCommerce gives the id, the hint becomes the shopper's name."""
        billing = {"first_name": cart_id_hint}
        return self.store.abandon(at=updated_at, email=email, total=total, billing=billing).id

    async def touch(self, source_id: str, updated_at: datetime, total: str) -> None:
        """Let the shopper change the cart and come back to the payment page."""
        self.store.touch(source_id, updated_at, total)

    async def complete(self, source_id: str, at: datetime) -> None:
        self.store.complete(source_id, at)

    async def delete(self, source_id: str) -> None:
        self.store.delete(source_id)

    async def leave_filter(self, source_id: str, at: datetime) -> None:
        """Let the merchant archive the order, which takes it out of every list."""
        order = self.store.order_of(source_id)
        assert order is not None
        self.store.change_order(order.id, at=at, is_deleted=True)

    async def revoke(self) -> None:
        self.store.revoke()

    async def throttle(self, seconds: float) -> None:
        self.simulator.inject("throttled", seconds=seconds)

    def _connection(self, company_id: str, store: Store) -> Connection:
        settings = {
            "store_hash": store.hash,
            "base_url": self.simulator.base_url,
            "allow_http": True,
            "options": {"page_size": self.page_size},
        }
        return Connection(company_id, f"bc-{store.hash}", settings, {"access_token": store.token})
