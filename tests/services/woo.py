"""A simulated WooCommerce site on the line, with the line's own clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import update

from backend.models import company_agents, integrations
from simulator.woocommerce import Site, WooCommerceSimulator
from simulator.woocommerce.orders import Order
from tests.factories import make_integration
from tests.services.acts import change, poll
from tests.services.line import Line

ADA = {"email": "ada@example.test", "first_name": "Ada"}


@dataclass(slots=True)
class Woo:
    """The line with one site in place of its custom store."""

    line: Line
    simulator: WooCommerceSimulator
    site: Site
    integration: str

    def order(self, minutes_ago: float = 0, **fields: Any) -> Order:
        """Put an unpaid order of the checkout into the site, with Ada's address unless `billing` says otherwise."""
        at = self.line.clock.now() - timedelta(minutes=minutes_ago)
        return self.site.add(at=at, **{"billing": dict(ADA), **fields})

    async def poll(self, **later: float) -> None:
        """Move the clock, then let the next beat poll the site; nothing is swept or delivered."""
        self.line.clock.move(**later)
        await poll(self.line)

    async def sweep(self, **later: float) -> None:
        """Move the clock, then let the sweep lane look."""
        self.line.clock.move(**later)
        await self.line.engine.poller.sweep()

    async def deliver(self) -> None:
        """Send what is due."""
        await self.line.engine.poller.deliver()

    async def row(self) -> Any:
        """Return the integration's row."""
        (row,) = await self.line.rows(integrations, integrations.c.id == self.integration)
        return row

    async def threshold(self, minutes: int) -> None:
        """Let the agent wait so long."""
        await change(self.line, company_agents, abandonment_threshold_minutes=minutes)


@asynccontextmanager
async def running_woo(line: Line, **options: Any) -> AsyncIterator[Woo]:
    """Serve a site; its own timers are off unless asked for."""
    simulator = WooCommerceSimulator(line.clock.now)
    async with simulator.running():
        site = simulator.add_site("/w", **({"hold_stock_minutes": None, "deletes_drafts": False} | options))
        async with line.world.database.work() as tx:
            await tx.execute(update(integrations).values(status="inactive"))
        integration = await make_integration(
            line.world,
            line.company,
            line.agent,
            platform="woocommerce",
            settings={"base_url": simulator.home_url(site), "allow_http": True},
            credentials={"consumer_key": "ck_key", "consumer_secret": "cs_secret"},
        )
        yield Woo(line, simulator, site, integration)
