"""The simulated WooCommerce store, as the shared contract suite drives every store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

from backend.platforms.base import Connection
from simulator.base import SeenRequest
from simulator.woocommerce import ApiKey, Item, Site, WooCommerceSimulator


class ContractStore:
    """Two tenants' sites on one host and port. `page_size` records come per page."""

    page_size = 5

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self.simulator = WooCommerceSimulator(now)
        self._running = AsyncExitStack()
        # The site's own timers are off: the suite decides what becomes of a cart.
        self.site = self.simulator.add_site("/s0", hold_stock_minutes=None, deletes_drafts=False)
        self._second = self.simulator.add_site(
            "/s1", hold_stock_minutes=None, deletes_drafts=False, keys={"ck_second": ApiKey("cs_second")}, next_id=900
        )

    @property
    def requests(self) -> list[SeenRequest]:
        """What the host was asked."""
        return self.simulator.requests

    async def start(self) -> None:
        await self._running.enter_async_context(self.simulator.running())

    async def stop(self) -> None:
        await self._running.aclose()

    async def connection(self, company_id: str = "c1") -> Connection:
        """Return how the first tenant is reached."""
        return self._connection(company_id, self.site, "ck_key", "cs_secret")

    async def second_tenant(self) -> Connection:
        """Return how another company's store on the same host and port is reached."""
        return self._connection("c2", self._second, "ck_second", "cs_second")

    async def add(
        self, cart_id_hint: str, updated_at: datetime, *, email: str | None = "a@example.com", total: str = "10.00"
    ) -> str:
        """Put an unpaid order in; WooCommerce gives the id, the hint becomes the shopper's name."""
        billing = {"first_name": cart_id_hint, "email": email or ""}
        return str(self.site.add(at=updated_at, total=total, billing=billing).id)

    async def touch(self, source_id: str, updated_at: datetime, total: str) -> None:
        """Change what the shopper sees."""
        self.site.put(int(source_id), at=updated_at, items=[Item(total=Decimal(total), id=int(source_id) * 100)])

    async def complete(self, source_id: str, at: datetime) -> None:
        self.site.move(int(source_id), "processing", at=at)

    async def delete(self, source_id: str) -> None:
        self.site.delete(int(source_id))

    async def leave_filter(self, source_id: str, at: datetime) -> None:
        """Move the order to a status that the poll does not ask for."""
        self.site.move(int(source_id), "refunded", at=at)

    async def revoke(self) -> None:
        self.site.keys.clear()

    async def throttle(self, seconds: float) -> None:
        self.simulator.inject("status", status=429, headers={"Retry-After": f"{seconds:g}"})

    def signature_of(self, request: SeenRequest) -> str:
        """Return the OAuth signature of one request."""
        return dict(parse_qsl(urlsplit(request.path).query))["oauth_signature"]

    def _connection(self, company_id: str, site: Site, key: str, secret: str) -> Connection:
        settings = {
            "base_url": self.simulator.home_url(site),
            "allow_http": True,
            "options": {"page_size": self.page_size},
        }
        credentials = {"consumer_key": key, "consumer_secret": secret}
        return Connection(company_id, f"woo{site.prefix.replace('/', '-')}", settings, credentials)
