"""The four ways in which WooCommerce stores lose carts or cause wrong mail, each met by the adapter."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from backend.domain.carts import Exclusion, SourceStatus
from simulator.woocommerce import Item
from tests.platforms.woocommerce_kit import HOUR, MINUTE, NOW, SECOND, ids, running_shop


class TestDraftsDryUp:
    """1. Drafts of the block checkout: rare on new stores, without contact on old ones, deleted after a day."""

    @pytest.mark.parametrize("version", ["10.6.2", "11.0.1"])
    async def test_a_draft_is_seen_though_any_may_not_hold_it(self, version: str) -> None:
        async with running_shop(version=version) as shop:
            order = shop.site.add(status="checkout-draft", created_via="store-api")
            assert (await shop.cart()).source_cart_id == str(order.id)

    async def test_a_draft_without_contact_gets_it_later(self) -> None:
        async with running_shop(version="10.6.2") as shop:
            order = shop.site.add(status="checkout-draft", created_via="store-api")
            before = await shop.cart()
            shop.site.put(order.id, billing={"email": "ada@example.test"})
            after = await shop.cart()
            assert (before.shopper.email, after.shopper.email) == (None, "ada@example.test")

    async def test_a_draft_deleted_by_the_daily_job_is_gone_and_no_purchase(self) -> None:
        async with running_shop(deletes_drafts=True) as shop:
            order = shop.site.add(status="checkout-draft", created_via="store-api")
            shop.at += 25 * HOUR
            page = await shop.platform().reread([str(order.id)])
            assert (page.carts, page.exclusions) == ((), (Exclusion(str(order.id), "gone"),))

    async def test_a_draft_that_was_placed_is_the_same_cart_bought(self) -> None:
        async with running_shop() as shop:
            order = shop.site.add(status="checkout-draft", created_via="store-api")
            shop.site.move(order.id, "processing")
            cart = await shop.cart()
            assert (cart.source_cart_id, cart.status) == (str(order.id), SourceStatus.COMPLETED)


class TestPendingTurnsCancelled:
    """2. Stock management cancels unpaid orders after an hour: that is no shopper who cancelled."""

    @pytest.mark.parametrize("via", ["checkout", "store-api"])
    async def test_an_order_the_timer_cancelled_is_still_an_open_cart(self, via: str) -> None:
        async with running_shop(hold_stock_minutes=60) as shop:
            order = shop.site.add(created_via=via, total="20.00")
            shop.at += 61 * MINUTE
            cart = await shop.cart(window=2 * HOUR)
            assert (order.status, cart.status, cart.total) == ("cancelled", SourceStatus.OPEN, Decimal("20.00"))

    async def test_its_payment_link_refuses_so_there_is_none(self) -> None:
        async with running_shop(hold_stock_minutes=60) as shop:
            shop.site.add()
            before = await shop.cart()
            shop.at += 61 * MINUTE
            after = await shop.cart(window=2 * HOUR)
            assert (before.recovery_url is None, after.recovery_url is None) == (False, True)

    async def test_a_paid_order_that_was_cancelled_is_none(self) -> None:
        async with running_shop(hold_stock_minutes=60) as shop:
            order = shop.site.add()
            shop.site.move(order.id, "processing")
            shop.site.move(order.id, "cancelled")
            page = await shop.page()
            assert (page.carts, page.exclusions) == ((), (Exclusion(str(order.id), "cancelled_after_payment"),))

    async def test_an_invoice_that_was_cancelled_is_none(self) -> None:
        async with running_shop() as shop:
            order = shop.site.add(created_via="admin", status="cancelled")
            assert (await shop.page()).exclusions == (Exclusion(str(order.id), "made_by_admin"),)


class TestShiftedQuestions:
    """3. A time with a zone, together with dates_are_gmt, is shifted by the site's offset."""

    @pytest.mark.parametrize("storage", ["hpos", "posts"])
    @pytest.mark.parametrize("zone", ["Australia/Adelaide", "America/Los_Angeles", "UTC", "Asia/Kathmandu"])
    async def test_the_window_holds_just_what_it_names(self, storage: Any, zone: str) -> None:
        async with running_shop(storage=storage) as shop:
            shop.site.zone = shop.site.zone.__class__(zone)
            shop.site.add(at=NOW - HOUR - SECOND)
            first = shop.site.add(at=NOW - HOUR)
            second = shop.site.add(at=NOW)
            assert ids([await shop.page(window=HOUR)]) == [str(first.id), str(second.id)]

    async def test_no_page_of_a_walk_carries_a_zone(self) -> None:
        async with running_shop() as shop:
            for minute in range(9):
                shop.site.add(at=NOW - timedelta(minutes=minute))
            await shop.walk(NOW - HOUR, page_size=2)
            asked = [seen.path.partition("modified_after=")[2].partition("&")[0] for seen in shop.simulator.requests]
            assert len(asked) > 4
            assert all(len(value.replace("%3A", ":")) == len("2026-11-20T11:00:00") for value in asked)


class TestModifiedDateStands:
    """4. On the posts table date_modified stays when contact, lines or total change: only a re-read sees it."""

    async def test_a_poll_does_not_see_the_change(self) -> None:
        async with running_shop(storage="posts") as shop:
            order = shop.site.add(at=NOW - 2 * HOUR)
            shop.site.put(order.id, billing={"email": "ada@example.test"})
            assert (await shop.page(window=HOUR)).carts == ()

    @pytest.mark.parametrize("storage", ["hpos", "posts"])
    async def test_a_reread_shows_contact_lines_and_total_as_they_are(self, storage: Any) -> None:
        async with running_shop(storage=storage) as shop:
            order = shop.site.add(at=NOW - 2 * HOUR, total="10.00")
            items = [Item(name="Two", quantity=2, total=Decimal("30.00"))]
            shop.site.put(order.id, billing={"email": "ada@example.test"}, items=items)
            (cart,) = (await shop.platform().reread([str(order.id)])).carts
            assert (cart.shopper.email, cart.total, cart.lines[0].title) == (
                "ada@example.test",
                Decimal("30.00"),
                "Two",
            )

    async def test_a_reread_keeps_the_store_s_own_date(self) -> None:
        async with running_shop(storage="posts") as shop:
            order = shop.site.add(at=NOW - 2 * HOUR)
            shop.site.put(order.id, billing={"email": "ada@example.test"})
            (cart,) = (await shop.platform().reread([str(order.id)])).carts
            assert cart.updated_at == NOW - 2 * HOUR
