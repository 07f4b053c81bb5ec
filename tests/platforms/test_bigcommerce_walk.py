"""BigCommerce: no order is lost between pages, whatever the store's dates and limits do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from backend.errors import TryLater
from backend.platforms.bigcommerce.walk import Stamp, Walk
from tests.platforms.bigcommerce_kit import MINUTE, NOW, SECOND, Shop, ids, running_shop


@pytest.fixture(params=[True, False], ids=["inclusive", "exclusive"])
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    """A store whose ``min_date_modified`` includes its own second, and one where it does not."""
    async with running_shop(includes_second=request.param) as running:
        yield running


def fill(shop: Shop, *seconds: int) -> set[str]:
    """Let shoppers stop at the payment page so many seconds after half past eleven; return the carts."""
    return {shop.store.abandon(at=NOW - 30 * MINUTE + second * SECOND).id for second in seconds}


async def test_every_order_of_crowded_seconds_is_seen(shop: Shop) -> None:
    expected = fill(shop, *[0] * 11, *[1] * 7, 2, *[3] * 4, *[4] * 13)
    assert set(ids(await shop.walk(page_size=3))) == expected


async def test_an_order_in_the_very_first_second_of_the_window_is_seen(shop: Shop) -> None:
    cart = shop.store.abandon(at=NOW - MINUTE)
    page = await shop.platform().fetch_page(NOW - MINUTE, None)
    assert ids([page]) == [cart.id]


async def test_orders_that_move_out_of_a_crowded_second_shift_nobody_over_a_page(shop: Shop) -> None:
    expected = fill(shop, *[0] * 12)
    platform = shop.platform(page_size=3)
    pages = [await platform.fetch_page(NOW - 40 * MINUTE, None)]
    while (token := pages[-1].next_page_token) is not None:
        for cart in ids(pages[-1:])[:1]:
            shop.store.touch(cart, NOW, "77.00")
        pages.append(await platform.fetch_page(NOW - 40 * MINUTE, token))
        assert len(pages) < 60
    assert set(ids(pages)) == expected


async def test_a_bulk_change_of_many_orders_in_one_second_does_not_pass_for_a_walk_without_end(shop: Shop) -> None:
    expected = fill(shop, *[0] * 40)
    for cart in expected:
        shop.store.complete(cart, NOW - 5 * MINUTE)
    assert set(ids(await shop.walk(page_size=3))) == expected


async def test_an_order_dated_in_the_future_does_not_end_the_walk_before_the_others(shop: Shop) -> None:
    expected = fill(shop, 1, 2, 3, 4)
    shop.store.abandon(at=NOW.replace(year=2099))
    assert set(ids(await shop.walk(page_size=2))) == expected


async def test_a_page_of_nothing_but_the_future_is_the_last_of_its_walk(shop: Shop) -> None:
    for _ in range(4):
        shop.store.abandon(at=NOW.replace(year=2099))
    pages = await shop.walk(page_size=2)
    assert {record.reason for page in pages for record in page.unreadable} == {"dated_in_the_future"}


async def test_a_page_that_has_to_wait_for_a_cart_goes_on_behind_the_last_one(shop: Shop) -> None:
    carts = [shop.store.abandon(at=NOW - MINUTE).id for _ in range(5)]
    shop.simulator.inject("throttled", seconds=9, after=2, match="/v3/carts/")
    first = await shop.page()
    assert (ids([first]), first.notices) == (carts[:2], ("page_cut_short",))
    rest = await shop.platform().fetch_page(NOW - 60 * MINUTE, first.next_page_token)
    assert ids([rest]) == carts[2:]


async def test_a_page_that_has_to_wait_for_its_first_cart_says_so(shop: Shop) -> None:
    shop.store.abandon(at=NOW - MINUTE)
    shop.simulator.inject("throttled", seconds=9, match="/v3/carts/")
    with pytest.raises(TryLater):
        await shop.page()


async def test_hundreds_of_orders_that_nobody_finished_do_not_pass_for_a_walk_without_end(shop: Shop) -> None:
    expected = fill(shop, *range(200))
    assert set(ids(await shop.walk(page_size=5))) == expected


async def test_a_walk_that_has_to_wait_among_orders_that_lead_to_nothing_keeps_its_place(shop: Shop) -> None:
    fill(shop, *range(9))
    pages = [await shop.page()]
    shop.simulator.inject("throttled", seconds=9, after=2, match="consignments")
    asked = len(shop.asked())
    pages.append(await shop.platform(page_size=3).fetch_page(NOW - 60 * MINUTE, _small(pages[0].next_page_token)))
    assert (pages[1].notices, len(shop.asked()) - asked) == (("page_cut_short",), 3)
    pages.append(await shop.platform().fetch_page(NOW - 60 * MINUTE, pages[1].next_page_token))
    assert (pages[2].carts, pages[2].next_page_token) == ((), None)


def _small(token: str | None) -> str:
    assert token is not None
    return replace(Walk.read(token), size=3).token


async def test_the_servers_time_is_that_of_the_first_answer(shop: Shop) -> None:
    shop.simulator.inject("date", seconds=3600, after=1)
    assert (await shop.page()).server_time == NOW


def test_a_walk_is_the_same_after_its_token_was_kept() -> None:
    walk = Walk("all", NOW, 7, frozenset({3, 4}), 12, is_inclusive=True)
    assert Walk.read(walk.token) == walk


def test_the_zone_of_the_question_is_named() -> None:
    assert Walk.begin(NOW, 5).question["min_date_modified"] == "2026-11-20T11:59:59+00:00"


def test_an_answer_with_the_second_that_was_asked_from_shows_that_it_is_included() -> None:
    ahead = Walk.begin(NOW, 2).after([Stamp(1, NOW - SECOND), Stamp(2, NOW)])
    assert ahead is not None
    assert (ahead.is_inclusive, ahead.question["min_date_modified"]) == (True, NOW.isoformat())
