"""The WooCommerce adapter walks page by page, whatever moves meanwhile, and says which statuses a store lacks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.domain.carts import SeenCart, SourceStatus
from backend.errors import FixCredentials
from tests.platforms.woocommerce_kit import HOUR, MINUTE, NOW, SECOND, Shop, asked, ids, running_shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with running_shop() as running:
        yield running


async def test_a_still_store_gives_each_order_once(shop: Shop) -> None:
    orders = [shop.site.add(at=NOW - HOUR + minute * MINUTE) for minute in range(23)]
    pages = await shop.walk(NOW - 2 * HOUR, page_size=5)
    assert ids(pages) == [str(order.id) for order in orders]


@pytest.mark.parametrize("storage", ["hpos", "posts"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 12, 100])
async def test_a_second_that_overfills_pages_gives_each_order_once(shop: Shop, storage: Any, size: int) -> None:
    shop.site.storage = storage
    orders = [shop.site.add(at=NOW - MINUTE) for _ in range(12)]
    orders += [shop.site.add(at=NOW - MINUTE + SECOND) for _ in range(12)]
    pages = await shop.walk(NOW - HOUR, page_size=size)
    assert ids(pages) == [str(order.id) for order in orders]


async def test_orders_in_the_very_second_of_the_window_are_seen(shop: Shop) -> None:
    order = shop.site.add(at=NOW - HOUR)
    assert ids([await shop.page(window=HOUR)]) == [str(order.id)]


@pytest.mark.parametrize("change", ["touched", "deleted", "left"])
async def test_a_record_that_moves_behind_the_walk_hides_no_neighbour(shop: Shop, change: str) -> None:
    orders = [shop.site.add(at=NOW - HOUR + minute * MINUTE) for minute in range(12)]
    window = NOW - 2 * HOUR
    pages = [await shop.platform(page_size=4).fetch_page(window, None)]
    for order in orders[:2]:
        if change == "touched":
            shop.site.put(order.id, at=NOW)
        elif change == "deleted":
            shop.site.delete(order.id)
        else:
            shop.site.move(order.id, "refunded", at=NOW)
    while (token := pages[-1].next_page_token) is not None:
        pages.append(await shop.platform(page_size=4).fetch_page(window, token))
    assert set(ids(pages)) >= {str(order.id) for order in orders}


async def test_a_record_that_leaves_an_overfull_second_hides_no_neighbour(shop: Shop) -> None:
    orders = [shop.site.add(at=NOW - HOUR) for _ in range(12)]
    platform = shop.platform(page_size=4)
    pages = [await platform.fetch_page(NOW - 2 * HOUR, None)]
    pages.append(await platform.fetch_page(NOW - 2 * HOUR, pages[-1].next_page_token))
    for order in orders[:3]:
        shop.site.put(order.id, at=NOW)
    while (token := pages[-1].next_page_token) is not None:
        pages.append(await platform.fetch_page(NOW - 2 * HOUR, token))
    assert set(ids(pages)) == {str(order.id) for order in orders}


async def test_an_order_changed_in_mid_walk_is_seen_as_it_is_now(shop: Shop) -> None:
    first, *_ = [shop.site.add(at=NOW - HOUR + minute * MINUTE) for minute in range(6)]
    page = await shop.platform(page_size=3).fetch_page(NOW - 2 * HOUR, None)
    shop.site.move(first.id, "completed", at=NOW)
    carts: list[SeenCart] = []
    while page.next_page_token is not None:
        page = await shop.platform(page_size=3).fetch_page(NOW - 2 * HOUR, page.next_page_token)
        carts += page.carts
    assert [cart.status for cart in carts if cart.source_cart_id == str(first.id)] == [SourceStatus.COMPLETED]


@pytest.mark.parametrize("storage", ["hpos", "posts"])
@pytest.mark.parametrize("size", [2, 5, 100])
async def test_no_order_is_lost_in_the_hour_a_clock_repeats(shop: Shop, storage: Any, size: int) -> None:
    shop.site.storage, began = storage, datetime(2026, 4, 4, 15, 0, tzinfo=UTC)  # Adelaide repeats 15:30 to 17:30 UTC
    orders = [shop.site.add(at=began + 7 * minute * MINUTE) for minute in range(30)]
    orders += [shop.site.add(at=began + HOUR + minute * MINUTE) for minute in range(60)]
    pages = await shop.walk(began - HOUR, page_size=size)
    assert set(ids(pages)) == {str(order.id) for order in orders}


async def test_a_retried_page_is_the_same_page(shop: Shop) -> None:
    for minute in range(6):
        shop.site.add(at=NOW - HOUR + minute * MINUTE)
    platform = shop.platform(page_size=3)
    token = (await platform.fetch_page(NOW - 2 * HOUR, None)).next_page_token
    assert await platform.fetch_page(NOW - 2 * HOUR, token) == await platform.fetch_page(NOW - 2 * HOUR, token)


async def test_the_server_s_time_is_the_answer_s_date(shop: Shop) -> None:
    shop.simulator.clock_skew = 3 * MINUTE
    assert (await shop.page()).server_time == NOW + 3 * MINUTE


async def test_an_unknown_status_is_dropped_and_said(shop: Shop) -> None:
    shop.site.knows_drafts = False
    orders = [shop.site.add(at=NOW - HOUR + minute * MINUTE) for minute in range(4)]
    pages = await shop.walk(NOW - 2 * HOUR, page_size=2)
    assert ids(pages) == [str(order.id) for order in orders]
    assert {page.notices for page in pages} == {("unknown_status_dropped:checkout-draft",)}


async def test_an_unknown_status_is_asked_once_in_a_walk(shop: Shop) -> None:
    for minute in range(5):
        shop.site.add(at=NOW - HOUR + minute * MINUTE)
    await shop.walk(NOW - 2 * HOUR, page_size=2, statuses=["pending", "nope", "nada"])
    assert ["nope" in query["status"] for query in asked(shop)].count(True) == 1


async def test_a_custom_status_can_be_an_open_cart(shop: Shop) -> None:
    shop.site.custom_statuses = ["quote"]
    shop.site.add(status="quote")
    assert (await shop.cart(statuses=["quote"])).status is SourceStatus.OPEN


async def test_a_store_that_ignores_modified_after_is_named(shop: Shop) -> None:
    for day in range(1, 4):
        shop.site.add(at=NOW - timedelta(days=day))
    shop.site.ignores = frozenset({"modified_after"})
    with pytest.raises(FixCredentials) as caught:
        await shop.page(page_size=2)
    assert caught.value.code == "modified_after_ignored"


async def test_what_is_older_than_the_window_is_dropped(shop: Shop) -> None:
    shop.site.add(at=NOW - timedelta(days=1))
    order = shop.site.add()
    shop.site.ignores = frozenset({"modified_after"})
    page = await shop.page()
    assert (ids([page]), page.notices) == ([str(order.id)], ("modified_after_ignored",))


async def test_a_store_that_cannot_sort_by_modified_time_is_too_old(shop: Shop) -> None:
    shop.site.knows_modified = False
    with pytest.raises(FixCredentials) as caught:
        await shop.page()
    assert caught.value.code == "woocommerce_too_old"


async def test_orders_too_large_for_one_answer_come_in_smaller_pages(shop: Shop) -> None:
    note = {"key": "design", "value": "x" * 1_000_000}
    orders = [shop.site.add(at=NOW - HOUR + minute * MINUTE, meta=[note]) for minute in range(24)]
    assert ids(await shop.walk(NOW - 2 * HOUR)) == [str(order.id) for order in orders]
