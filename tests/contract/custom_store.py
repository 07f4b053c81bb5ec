"""The custom platform's store for the shared contract suite: two tenants on one host, each request signed."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime

from backend.platforms.base import Connection
from simulator.base import SeenRequest
from simulator.custom import CustomSimulator


class ContractStore:
    """One simulated store and its neighbour."""

    page_size = 5

    def __init__(self) -> None:
        self.simulator = CustomSimulator()
        for name in ("s0", "s1"):
            self.simulator.add_tenant(name, "hmac")
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Serve on a free loopback port."""
        await self._stack.enter_async_context(self.simulator.running())

    async def stop(self) -> None:
        """Stop serving."""
        await self._stack.aclose()

    async def connection(self, company_id: str = "c1") -> Connection:
        """Return the connection to the first store."""
        return self._connect("s0", company_id)

    async def second_tenant(self) -> Connection:
        """Return another company's connection to the store next door."""
        return self._connect("s1", "c2")

    async def add(
        self, cart_id_hint: str, updated_at: datetime, *, email: str | None = "a@example.com", total: str = "10.00"
    ) -> str:
        """Add an open cart."""
        return self.simulator.add_cart("s0", cart_id_hint, updated_at, total=total, customer={"email": email})

    async def touch(self, source_id: str, updated_at: datetime, total: str) -> None:
        """Let the shopper change the cart."""
        self.simulator.touch("s0", source_id, updated_at, total=total)

    async def complete(self, source_id: str, at: datetime) -> None:
        """Let the shopper buy."""
        self.simulator.complete("s0", source_id, at)

    async def delete(self, source_id: str) -> None:
        """Remove the cart."""
        self.simulator.delete("s0", source_id)

    async def leave_filter(self, source_id: str, at: datetime) -> None:
        """Remove the cart: the contract lists every cart whatever its state, so there is nothing to fall out of."""
        self.simulator.delete("s0", source_id)

    async def revoke(self) -> None:
        """Refuse the first store's credentials from now on."""
        self.simulator.tenants["s0"].refused = True

    async def throttle(self, seconds: float) -> None:
        """Tell the next request to wait."""
        self.simulator.inject("status", status=429, headers={"Retry-After": f"{seconds:g}"})

    @property
    def requests(self) -> list[SeenRequest]:
        """The requests seen so far."""
        return self.simulator.requests

    def signature_of(self, request: SeenRequest) -> str:
        """Return the signature of one request."""
        return request.headers["x-signature"]

    def _connect(self, name: str, company_id: str) -> Connection:
        settings = {
            "base_url": f"{self.simulator.base_url}/{name}",
            "allow_http": True,
            "options": {"auth": "hmac", "page_size": self.page_size},
        }
        return Connection(company_id, f"i-{name}", settings, {"secret": self.simulator.tenants[name].token})
