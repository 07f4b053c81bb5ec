"""BigCommerce: whatever one of its answers says, the poll gets a page or one of the decisions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import orjson
import pytest

from backend.domain.carts import CartPage
from backend.domain.limits import fitted
from backend.domain.skew import aligned
from backend.errors import PlatformError
from simulator.bigcommerce import Customer, Item
from tests.hostile.fuzz import bent
from tests.platforms.bigcommerce_kit import HOUR, MINUTE, NOW, Shop, running_shop

SEEDS = range(150)
ANSWERS = {
    "incomplete orders": "/v2/orders?status_id=0",
    "all orders": "/v2/orders?include=consignments.line_items&consignment_structure=object",
    "cart": "/v3/carts/00000000-0000-4000-8000-00000000000a",
    "customers": "/v3/customers?id:in=9",
    "products": "/v3/catalog/products?id:in=77&include=primary_image",
}
MATCHES = {"incomplete orders": "status_id=0", "all orders": "consignments"}


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """A store with an open cart, of a customer, with a product without a picture; and a bought one."""
    async with running_shop() as running:
        running.store.customers[9] = Customer(9, "ada@example.com")
        running.store.images[77] = "https://cdn.example.com/77.png"
        cart_id = ANSWERS["cart"].rpartition("/")[2]
        running.store.abandon(at=NOW - MINUTE, id=cart_id, customer_id=9, items=[Item(image_url="")])
        running.store.complete(running.store.abandon(at=NOW - HOUR).id, NOW - MINUTE)
        yield running


async def sound(shop: Shop, path: str) -> Any:
    """Return what the store answers at `path` when nothing is wrong."""
    url = f"{shop.simulator.base_url}/stores/{shop.store.hash}{path}"
    async with aiohttp.ClientSession() as client, client.get(url, headers={"X-Auth-Token": shop.store.token}) as answer:
        assert answer.status == 200
        return await answer.json()


async def polled(shop: Shop) -> list[CartPage]:
    """Poll as the poller does; nothing for a decision."""
    try:
        pages = await shop.walk()
    except PlatformError:
        return []
    return [aligned(fitted(page), timedelta(days=1), NOW) for page in pages]


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_bent_answer_is_a_page_or_a_decision(shop: Shop, name: str) -> None:
    answer, carts = await sound(shop, ANSWERS[name]), 0
    for seed in SEEDS:
        shop.simulator.faults.clear()
        body = orjson.dumps(bent(answer, seed)).decode()
        match = MATCHES.get(name) or ANSWERS[name].partition("?")[0]
        shop.simulator.inject("status", status=200, body=body, match=match, times=9)
        carts += sum(len(page.carts) for page in await polled(shop))
    assert carts > len(SEEDS)  # most of what is bent is a field of one record, and the other record is read
