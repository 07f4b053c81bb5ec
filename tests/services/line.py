"""The whole line for tests: simulated stores, the engine on a real database, a partner that verifies and dedupes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, select

from backend.clock import Clock
from backend.domain.signing import make_secret
from backend.services.engine import Base, Engine, build_base, build_engine
from simulator.custom import CustomSimulator
from simulator.partner import PartnerSimulator
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.worlds import World

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class SetClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self, at: datetime = NOON) -> None:
        super().__init__()
        self.at = at

    def now(self) -> datetime:
        """Return the time it was set to."""
        return self.at

    def follow(self, authority: datetime) -> None:
        """Stay where it is."""

    def ticks(self) -> float:
        """Go on by itself, as waits are real, and by as much as the clock is moved."""
        return self.at.timestamp() + super().ticks()

    def move(self, **units: float) -> None:
        """Go forward by a length of time, as `timedelta` takes it."""
        self.at += timedelta(**units)


@dataclass(slots=True)
class Line:
    """One company with one agent, one custom store `s0` and one destination `p`; more can be added."""

    world: World
    clock: SetClock
    store: CustomSimulator
    partner: PartnerSimulator
    base: Base
    engine: Engine
    company: str
    agent: str
    integration: str
    destination: str
    secret: str
    extra: dict[str, Any] = field(default_factory=dict)

    async def run(self) -> dict[str, Any]:
        """Run one whole cycle."""
        return await self.engine.poller.run_once("test_once")

    def add(self, cart_id: str, minutes_ago: float, **fields: Any) -> str:
        """Put a cart into the store, last touched so many minutes ago."""
        return self.store.add_cart("s0", cart_id, self.clock.now() - timedelta(minutes=minutes_ago), **fields)

    async def rows(self, table: Table, *conditions: Any) -> list[Any]:
        """Return all rows of a table, across companies."""
        async with self.world.database.overview() as tx:
            return list(await tx.execute(select(table).where(*conditions)))

    def effects(self) -> list[str]:
        """Return the store's ids of the carts that took effect at the partner, sorted."""
        return sorted(effect.source_cart_id for effect in self.partner.hook("p").effects.values())

    def restart(self) -> None:
        """Begin again as another process would: nothing but the database is kept."""
        self.base = build_base(self.world.settings, clock=self.clock)
        self.engine = build_engine(self.base, _no_defaults)


async def _no_defaults() -> None:
    """Make no default destinations."""


@asynccontextmanager
async def running_line(world: World, **agent: Any) -> AsyncIterator[Line]:
    """Start the line."""
    clock = SetClock()
    world.clock = clock
    store, partner, secret = CustomSimulator(now=clock.now), PartnerSimulator(now=clock.now), make_secret()
    store.add_tenant("s0")
    partner.register("p", [secret])
    async with AsyncExitStack() as stack:
        store_url = await stack.enter_async_context(store.running())
        partner_url = await stack.enter_async_context(partner.running())
        company = await make_company(world)
        agent_id = await make_agent(world, company, **agent)
        integration = await make_integration(
            world,
            company,
            agent_id,
            settings={"base_url": f"{store_url}/s0", "allow_http": True},
            credentials={"token": "token-s0"},
        )
        destination = await make_destination(world, company, agent_id, f"{partner_url}/hook/p", secret)
        base = build_base(world.settings, clock=clock)
        engine = build_engine(base, _no_defaults)
        line = Line(world, clock, store, partner, base, engine, company, agent_id, integration, destination, secret)
        yield line
        await line.base.leases.aclose()
        await line.base.http.aclose()
        await line.base.database.close()
