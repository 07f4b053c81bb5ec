"""A Magento store over the whole line: quotes are polled, read again before they are handed off, and bought."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import update

from backend.models import integrations, quarantine
from backend.services.engine import build_base, build_engine
from simulator.magento import Integration, MagentoSimulator, Quote, Store
from tests.factories import make_integration
from tests.services.acts import no_defaults, poll, states
from tests.services.line import Line

ADA = {"email": "ada@example.test", "firstname": "Ada"}


@asynccontextmanager
async def running_magento(line: Line) -> AsyncIterator[Store]:
    """Serve a Magento store in place of the line's custom one."""
    simulator = MagentoSimulator(line.clock.now)
    async with simulator.running() as base_url:
        store, known = simulator.add_store("/m"), Integration()
        async with line.world.database.work() as tx:
            await tx.execute(update(integrations).values(status="inactive"))
        names = ("consumer_key", "consumer_secret", "access_token", "access_token_secret")
        await make_integration(
            line.world,
            line.company,
            line.agent,
            platform="magento",
            settings={"base_url": f"{base_url}/m", "allow_http": True},
            credentials={name: getattr(known, name) for name in names},
        )
        usual = line.base
        line.base = build_base(line.world.settings.model_copy(update={"platforms": ("magento",)}), clock=line.clock)
        line.engine = build_engine(line.base, no_defaults)
        await usual.leases.aclose()
        await usual.http.aclose()
        await usual.database.close()
        yield store


def fill(line: Line, store: Store, minutes_ago: float = 0, **fields: Any) -> Quote:
    """Let Ada fill a cart."""
    at = line.clock.now() - timedelta(minutes=minutes_ago)
    return store.add(at=at, **{"customer": ADA, **fields})


async def later(line: Line) -> None:
    """Let the abandonment threshold pass, then poll and deliver."""
    line.clock.move(minutes=31)
    await line.engine.poller.sweep()
    await poll(line)
    await line.engine.poller.deliver()


async def test_a_cart_left_alone_is_handed_off_once(line: Line) -> None:
    async with running_magento(line) as store:
        quote = fill(line, store)
        await poll(line)
        await later(line)
        await later(line)
        assert line.effects() == [str(quote.id)]


async def test_a_purchase_stops_the_hand_off(line: Line) -> None:
    async with running_magento(line) as store:
        quote = fill(line, store)
        await poll(line)
        store.place(quote.id)
        await later(line)
        assert (line.effects(), await states(line)) == ([], {str(quote.id): "converted"})


async def test_a_quote_that_breaks_its_page_is_set_aside_and_its_neighbours_are_handed_off(line: Line) -> None:
    async with running_magento(line) as store:
        quotes = [fill(line, store, minutes) for minutes in (3, 2, 1)]
        quotes[1].breaks = "500"
        await poll(line)
        await later(line)
        assert line.effects() == [str(quotes[0].id), str(quotes[2].id)]
        rows = await line.rows(quarantine)
        assert [(row.reason, row.is_open) for row in rows] == [("store_cannot_load_it", True)]


async def test_a_quote_that_can_be_loaded_again_leaves_quarantine(line: Line) -> None:
    async with running_magento(line) as store:
        quote = fill(line, store)
        quote.breaks = "404"
        await poll(line)
        store.put(quote.id, breaks=None)
        await poll(line)
        assert [row.is_open for row in await line.rows(quarantine)] == [False]
