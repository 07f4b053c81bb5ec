"""The Magento adapter walks page by page, whatever moves meanwhile, and around quotes that the store cannot load."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from backend.domain.carts import CartPage, SourceStatus
from backend.domain.cursor import Cursor
from backend.domain.walks import WalkGuard
from backend.errors import FixCredentials, TryLater
from backend.outbound import Outbound, OutboundPolicy
from backend.platforms.magento.walk import Stamp, Walk
from simulator.magento import Quote
from tests.platforms.magento_kit import HOUR, MINUTE, NOW, SECOND, Shop, ids, running_shop, set_aside


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with running_shop() as running:
        yield running


def fill(shop: Shop, count: int, step: timedelta = MINUTE) -> list[Quote]:
    return [shop.store.add(at=NOW - HOUR + number * step, id=1000 + 37 * number) for number in range(count)]


@asynccontextmanager
async def door(shop: Shop, policy: OutboundPolicy) -> AsyncIterator[None]:
    """Let the shop be asked through a door of this policy."""
    usual, shop.http = shop.http, Outbound(policy)
    try:
        yield
    finally:
        await shop.http.aclose()
        shop.http = usual


def names(quotes: list[Quote]) -> list[str]:
    return [str(quote.id) for quote in quotes]


@pytest.mark.parametrize("size", [1, 2, 7, 12, 100])
async def test_quotes_of_one_second_over_several_pages_come_once_each(shop: Shop, size: int) -> None:
    quotes = fill(shop, 12, 0 * SECOND) + [shop.store.add(at=NOW - MINUTE) for _ in range(12)]
    assert ids(await shop.walk(NOW - 2 * HOUR, page_size=size)) == names(quotes)


async def test_quotes_in_the_very_second_of_the_window_are_seen(shop: Shop) -> None:
    quote = shop.store.add(at=NOW - HOUR)
    assert ids([await shop.page()]) == [str(quote.id)]


async def test_the_last_page_that_magento_repeats_is_never_asked_for(shop: Shop) -> None:
    fill(shop, 10)
    pages = await shop.walk(NOW - 2 * HOUR, page_size=5)
    assert (len(pages), {asked["searchCriteria[currentPage]"] for asked in shop.asked()}) == (2, {"1"})


@pytest.mark.parametrize("change", ["touched", "deleted", "bought"])
async def test_a_quote_that_moves_behind_the_walk_hides_no_neighbour(shop: Shop, change: str) -> None:
    quotes = fill(shop, 12)
    window = NOW - 2 * HOUR
    pages = [await shop.platform(page_size=4).fetch_page(window, None)]
    for quote in quotes[:2]:
        if change == "touched":
            shop.store.put(quote.id)
        elif change == "deleted":
            shop.store.delete(quote.id)
        else:
            shop.store.place(quote.id)
    while (token := pages[-1].next_page_token) is not None:
        pages.append(await shop.platform(page_size=4).fetch_page(window, token))
    assert set(ids(pages)) == set(names(quotes))


async def test_only_the_views_that_are_wanted_are_asked_for(shop: Shop) -> None:
    wanted = [shop.store.add(at=NOW - MINUTE * number, store_id=2) for number in (3, 2, 1)]
    shop.store.add(at=NOW - MINUTE, store_id=1)
    assert ids(await shop.walk(NOW - HOUR, store_ids=[2, 3], page_size=2)) == names(wanted)


async def test_a_store_that_drops_the_criteria_is_named(shop: Shop) -> None:
    for number in range(30):
        shop.store.add(at=NOW - timedelta(days=9, minutes=number))
    shop.store.drops_criteria = True
    with pytest.raises(FixCredentials) as caught:
        await shop.page()
    assert caught.value.code == "filter_ignored"


async def test_what_is_older_than_the_window_is_dropped(shop: Shop) -> None:
    shop.store.add(at=NOW - timedelta(days=9))
    quote = shop.store.add(at=NOW)
    shop.store.drops_criteria = True
    page = await shop.page()
    assert (ids([page]), page.notices) == ([str(quote.id)], ("filter_ignored",))


async def test_a_smaller_limit_of_the_stores_own_is_kept_to(shop: Shop) -> None:
    shop.store.largest_page = 10
    quotes = fill(shop, 25)
    assert ids(await shop.walk(NOW - 2 * HOUR)) == names(quotes)


# --- quotes that break their page ---


@pytest.mark.parametrize("kind", ["500", "404", "400", "message"])
@pytest.mark.parametrize("position", [0, 3, 11])
@pytest.mark.parametrize("size", [1, 4, 100])
async def test_only_the_quote_that_breaks_its_page_is_set_aside(
    shop: Shop, kind: Any, position: int, size: int
) -> None:
    quotes = fill(shop, 12)
    bad = quotes.pop(position)
    bad.breaks = kind
    pages = await shop.walk(NOW - 2 * HOUR, page_size=size)
    assert (ids(pages), set_aside(pages)) == (names(quotes), [(str(bad.id), "store_cannot_load_it")])


@pytest.mark.parametrize("places", [(0, 1), (2, 9), (10, 11), (0, 4, 5, 11), tuple(range(12))])
async def test_several_quotes_that_break_their_pages_are_each_set_aside(shop: Shop, places: tuple[int, ...]) -> None:
    quotes = fill(shop, 12, SECOND * 0)
    for place in places:
        quotes[place].breaks = "500"
    pages = await shop.walk(NOW - 2 * HOUR, page_size=5)
    good = [quote for quote in quotes if quote.breaks is None]
    bad = [(str(quote.id), "store_cannot_load_it") for quote in quotes if quote.breaks]
    assert (ids(pages), sorted(set_aside(pages))) == (names(good), bad)


async def test_walking_around_a_bad_quote_is_no_walk_without_end(shop: Shop) -> None:
    for quote in fill(shop, 300, SECOND)[50:250:50]:
        quote.breaks = "500"
    guard = WalkGuard()
    token: str | None = None
    for _ in range(100):
        page = await shop.platform().fetch_page(NOW - 2 * HOUR, token)
        guard.saw(Cursor(page_token=token), page)
        token = page.next_page_token
        if token is None:
            break
    assert token is None


async def test_what_the_store_said_of_a_bad_quote_is_kept(shop: Shop) -> None:
    shop.store.add(at=NOW, breaks="404")
    (record,) = [record for page in await shop.walk(NOW - HOUR) for record in page.unreadable]
    assert b"doesn't exist" in record.raw


async def test_a_quote_that_never_answers_is_found_too(shop: Shop) -> None:
    good, bad = fill(shop, 2)
    bad.breaks = "hang"
    async with door(shop, OutboundPolicy(allow_loopback=True, longest=timedelta(seconds=0.2))):
        pages = await shop.walk(NOW - 2 * HOUR)
    assert (ids(pages), set_aside(pages)) == ([str(good.id)], [(str(bad.id), "store_cannot_load_it")])


async def test_a_store_that_is_ill_for_a_moment_loses_no_quote(shop: Shop) -> None:
    quotes = fill(shop, 12)
    shop.simulator.inject("status", status=500, match="carts/search", times=1)
    pages = await shop.walk(NOW - 2 * HOUR)
    assert (ids(pages), set_aside(pages)) == (names(quotes), [])


@pytest.mark.parametrize("after", [3, 12, 30, 35, 36])
async def test_a_store_that_falls_ill_on_the_hunt_has_no_good_quote_set_aside(shop: Shop, after: int) -> None:
    good, bad = fill(shop, 2)
    bad.breaks = "500"
    shop.simulator.inject("status", status=500, match="carts/search", after=after, times=4)
    pages: list[CartPage] = []
    token: str | None = None
    for _ in range(60):
        try:
            pages.append(await shop.platform(page_size=1).fetch_page(NOW - 2 * HOUR, token))
        except TryLater:
            continue
        token = pages[-1].next_page_token
        if token is None:
            break
    assert (ids(pages), set_aside(pages)) == ([str(good.id)], [(str(bad.id), "store_cannot_load_it")])


async def test_a_store_that_is_ill_is_tried_later_and_not_searched(shop: Shop) -> None:
    fill(shop, 12)
    shop.simulator.inject("status", status=500, times=99)
    with pytest.raises(TryLater):
        await shop.page()
    assert len(shop.simulator.requests) == 2


async def test_more_bad_quotes_than_can_be_named_stop_the_store(monkeypatch: pytest.MonkeyPatch, shop: Shop) -> None:
    monkeypatch.setattr("backend.platforms.magento.walk.MOST_SKIPPED", 2)
    for quote in fill(shop, 3):
        quote.breaks = "500"
    with pytest.raises(TryLater) as caught:
        await shop.walk(NOW - 2 * HOUR, page_size=1)
    assert (caught.value.code, bool(caught.value.remedy)) == ("carts_unreadable", True)


async def test_a_page_too_large_to_take_in_comes_in_smaller_ones(shop: Shop) -> None:
    quotes = fill(shop, 24)
    for quote in quotes:
        quote.items[0].name = "x" * 20_000
    async with door(shop, OutboundPolicy(allow_loopback=True, raw_limit=100_000, inflated_limit=100_000)):
        pages = await shop.walk(NOW - 2 * HOUR)
    assert ids(pages) == names(quotes)


async def test_a_bad_quote_read_again_stops_none_of_the_others(shop: Shop) -> None:
    quotes = fill(shop, 9)
    bad = quotes.pop(4)
    bad.breaks = "500"
    page = await shop.platform().reread([*names(quotes), str(bad.id), "999999"])
    gone = [(out.source_cart_id, out.reason) for out in page.exclusions]
    assert (ids([page]), set_aside([page]), gone) == (
        names(quotes),
        [(str(bad.id), "store_cannot_load_it")],
        [("999999", "gone")],
    )


async def test_a_bad_order_sets_its_quote_aside_and_no_other(shop: Shop) -> None:
    quotes = fill(shop, 5)
    orders = [shop.store.place(quote.id, at=quote.updated_at) for quote in quotes]
    orders[2].breaks = "500"
    pages = await shop.walk(NOW - 2 * HOUR)
    assert (len(ids(pages)), set_aside(pages)) == (4, [(str(quotes[2].id), "store_cannot_load_its_order")])


async def test_rights_lost_in_mid_walk_are_the_companys_to_mend(shop: Shop) -> None:
    fill(shop, 12)
    platform = shop.platform(page_size=4)
    token = (await platform.fetch_page(NOW - 2 * HOUR, None)).next_page_token
    shop.store.integrations[0].rights = frozenset()
    with pytest.raises(FixCredentials):
        await platform.fetch_page(NOW - 2 * HOUR, token)


async def test_a_store_that_asks_for_patience_on_the_hunt_gets_it(shop: Shop) -> None:
    shop.store.add(at=NOW, breaks="500")
    platform = shop.platform(page_size=1)
    token = (await platform.fetch_page(NOW - HOUR, None)).next_page_token
    shop.simulator.inject("status", status=429, headers={"Retry-After": "7"}, after=5)
    with pytest.raises(TryLater) as caught:
        await platform.fetch_page(NOW - HOUR, token)
    assert caught.value.retry_after == timedelta(seconds=7)


async def test_a_quote_of_very_many_orders_is_bought(shop: Shop) -> None:
    quotes = [shop.store.add(at=NOW - MINUTE) for _ in range(3)]
    for quote in quotes:
        for _ in range(60):
            shop.store.place(quote.id, at=NOW - MINUTE)
    carts = [cart for page in await shop.walk(NOW - HOUR) for cart in page.carts]
    assert {(cart.source_cart_id, cart.status) for cart in carts} == {
        (str(quote.id), SourceStatus.COMPLETED) for quote in quotes
    }


# --- the key, page by page ---

BEGIN = Walk.begin(NOW, 2)


def test_a_walk_goes_on_behind_the_last_record_that_has_a_key() -> None:
    ahead = BEGIN.after([Stamp(7, NOW), Stamp(8, NOW + SECOND), Stamp(9, None)], 9)
    assert ahead is not None
    assert (ahead.floor, ahead.after_id) == (NOW + SECOND, 8)


def test_records_without_a_time_are_left_out_of_the_next_question() -> None:
    ahead = BEGIN.after([Stamp(7, None), Stamp(8, None)], 9)
    assert ahead is not None
    assert (ahead.floor, ahead.skipped) == (NOW, (7, 8))


@pytest.mark.parametrize("stamps", [[Stamp(None, None)] * 2, [Stamp(3, NOW - HOUR)] * 2])
def test_a_page_that_does_not_lead_on_ends_the_walk(stamps: list[Stamp]) -> None:
    with pytest.raises(TryLater) as caught:
        BEGIN.after(stamps, 9)
    assert caught.value.code == "pagination_loop"


@pytest.mark.parametrize(("count", "total", "more"), [(2, None, True), (1, None, False), (2, 2, False), (1, 3, True)])
def test_the_stores_own_count_ends_a_walk(count: int, total: int | None, more: bool) -> None:
    stamps = [Stamp(number, NOW) for number in range(1, count + 1)]
    assert (BEGIN.after(stamps, total) is not None) == more


def test_a_walk_is_the_same_after_a_restart() -> None:
    walk = BEGIN.smaller().without(5).hunting(3, 99)
    assert Walk.read(walk.token) == walk


def test_pages_grow_again_behind_the_page_that_failed() -> None:
    walk = Walk.begin(NOW, 100).smaller()
    sizes = [walk.size]
    for number in range(10):
        stamps = [Stamp(number * 10 + place, NOW + SECOND) for place in range(1, 11)]
        walk = walk.after(stamps, 500) or walk
        sizes.append(walk.size)
    assert sizes == [10] * 10 + [100]
