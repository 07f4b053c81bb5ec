"""The control routes of the simulated WooCommerce host do from another process what attributes do in this one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import ClientSession

from simulator.woocommerce import WooCommerceSimulator

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
async def simulator() -> AsyncIterator[WooCommerceSimulator]:
    running = WooCommerceSimulator(lambda: NOW)
    running.add_site("/s0")
    async with running.running():
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as opened:
        yield opened


async def test_orders_are_made_moved_and_deleted(simulator: WooCommerceSimulator, session: ClientSession) -> None:
    control = f"{simulator.base_url}/_control/orders"
    made = {"site": "/s0", "total": "20.00", "at": "2026-11-20T11:00:00"}
    async with session.post(control, json=made) as answer:
        order_id = (await answer.json())["id"]
    async with session.patch(f"{control}/{order_id}", json={"site": "/s0", "status": "processing"}) as answer:
        changed = await answer.json()
    assert (changed["status"], changed["total"], changed["date_paid_gmt"]) == (
        "processing",
        "20.00",
        "2026-11-20T12:00:00",
    )
    async with session.delete(f"{control}/{order_id}?site=/s0") as answer:
        assert (answer.status, simulator.sites["/s0"].orders) == (204, {})


async def test_the_contact_of_an_order_is_changed(simulator: WooCommerceSimulator, session: ClientSession) -> None:
    order = simulator.sites["/s0"].add()
    change = {"site": "/s0", "billing": {"email": "ada@example.test"}, "at": "2026-11-20T12:30:00"}
    async with session.patch(f"{simulator.base_url}/_control/orders/{order.id}", json=change) as answer:
        changed = await answer.json()
    assert (changed["billing"]["email"], changed["date_modified_gmt"]) == ("ada@example.test", "2026-11-20T12:30:00")


async def test_a_site_is_opened(simulator: WooCommerceSimulator, session: ClientSession) -> None:
    async with session.post(f"{simulator.base_url}/_control/sites", json={"prefix": "/s9"}) as answer:
        assert (await answer.json())["home_url"] == f"{simulator.base_url}/s9"
