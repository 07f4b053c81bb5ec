"""BigCommerce over the whole line: from the payment page to a hand-off, and what stops one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from backend.models import integrations
from simulator.bigcommerce import BigCommerceSimulator, Cart, Customer, Store
from simulator.bigcommerce.store import Quota
from tests.factories import make_integration
from tests.services.acts import cart, messages, poll, states
from tests.services.line import Line, running_line
from tests.worlds import World


@dataclass(slots=True)
class Shop:
    """The line with one BigCommerce store in place of its custom one."""

    line: Line
    simulator: BigCommerceSimulator
    store: Store

    def ago(self, minutes: float) -> datetime:
        return (self.line.clock.now() - timedelta(minutes=minutes)).replace(microsecond=0)

    def abandon(self, minutes_ago: float = 0, **fields: object) -> Cart:
        return self.store.abandon(at=self.ago(minutes_ago), **{"email": "ada@example.test", **fields})  # type: ignore[arg-type]  # any field of a cart

    async def poll(self, **later: float) -> None:
        """Move the clock, then let the next beat poll the store and send what is due."""
        self.line.clock.move(**later)
        await poll(self.line)
        await self.line.engine.poller.deliver()


@pytest.fixture
async def line(world: World) -> AsyncIterator[Line]:
    """The line of an installation that polls BigCommerce."""
    settings = world.settings.model_copy(update={"platforms": ("bigcommerce",)})
    async with running_line(replace(world, settings=settings)) as line:
        yield line


@asynccontextmanager
async def running(line: Line) -> AsyncIterator[Shop]:
    """Serve a store of the smallest plan."""
    simulator = BigCommerceSimulator(line.clock.now)
    async with simulator.running() as base_url:
        store = simulator.add_store("abc123", quota=Quota(150))
        async with line.world.database.work() as tx:
            await tx.execute(update(integrations).values(status="inactive"))
        await make_integration(
            line.world,
            line.company,
            line.agent,
            platform="bigcommerce",
            settings={"store_hash": "abc123", "base_url": base_url, "allow_http": True},
            credentials={"access_token": store.token},
        )
        yield Shop(line, simulator, store)


async def test_a_cart_left_at_the_payment_page_is_handed_off_once(line: Line) -> None:
    async with running(line) as shop:
        left = shop.abandon()
        await shop.poll()
        before = line.effects()
        await shop.poll(minutes=31)
        await shop.poll(minutes=5)
        assert (before, line.effects(), messages(line)) == ([], [left.id], 1)


async def test_a_cart_bought_in_the_last_moment_is_not_handed_off(line: Line) -> None:
    async with running(line) as shop:
        left = shop.abandon()
        await shop.poll()
        shop.store.complete(left.id, shop.ago(-30))
        await shop.poll(minutes=31)
        assert (line.effects(), await states(line)) == ([], {left.id: "converted"})


async def test_a_purchase_after_the_hand_off_is_a_recovery(line: Line) -> None:
    async with running(line) as shop:
        left = shop.abandon()
        await shop.poll()
        await shop.poll(minutes=31)
        line.clock.move(minutes=20)
        order = shop.store.complete(left.id)
        await shop.poll(minutes=1)
        row = await cart(line, left.id)
        assert (row.state, row.order_ref, row.completed_at) == ("recovered", str(order.id), order.modified_at)


async def test_a_cart_that_was_emptied_is_not_handed_off(line: Line) -> None:
    async with running(line) as shop:
        left = shop.abandon()
        await shop.poll()
        shop.store.empty(left.id)
        await shop.poll(minutes=31)
        assert (line.effects(), (await cart(line, left.id)).exclusion) == ([], "gone")


async def test_a_customer_who_wants_no_such_mail_is_not_handed_off(line: Line) -> None:
    async with running(line) as shop:
        shop.store.customers[9] = Customer(9, "ada@example.test", accepts_emails=False)
        left = shop.abandon(customer_id=9)
        await shop.poll()
        await shop.poll(minutes=31)
        assert (line.effects(), await states(line)) == ([], {left.id: "abandoned"})


async def test_a_purchase_that_is_undone_later_stays_a_purchase(line: Line) -> None:
    async with running(line) as shop:
        left = shop.abandon()
        await shop.poll()
        order = shop.store.complete(left.id)
        await shop.poll(minutes=1)
        shop.store.change_order(order.id, at=shop.ago(-1), status_id=5)
        await shop.poll(minutes=2)
        assert await states(line) == {left.id: "converted"}


async def test_the_stores_own_limit_is_kept_with_the_integration(line: Line) -> None:
    async with running(line) as shop:
        shop.abandon()
        await shop.poll()
        (row,) = await line.rows(integrations, integrations.c.platform == "bigcommerce")
        assert (row.failures, row.budget["maximum"], row.budget["restored_per_second"]) == (0, 75, 2.5)
