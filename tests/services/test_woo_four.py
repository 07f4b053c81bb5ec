"""The four ways in which a WooCommerce store loses carts or sends wrong mail, each over the whole line."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from backend.models import carts, quarantine
from simulator.woocommerce import Item
from tests.services.acts import cart, change, messages, outbox, states
from tests.services.line import Line
from tests.services.woo import ADA, running_woo


async def sent_cart(line: Line) -> dict[str, Any]:
    """Return the one cart of the one message."""
    (row,) = await outbox(line)
    (found,) = orjson.loads(row.body)["abandoned_carts"]
    assert isinstance(found, dict)
    return found


class TestDraftsDryUp:
    """1. Drafts of the block checkout: without contact at first, deleted after a day."""

    @pytest.mark.parametrize("version", ["10.6.2", "11.0.1"])
    async def test_a_draft_with_contact_is_handed_off(self, line: Line, version: str) -> None:
        async with running_woo(line, version=version) as woo:
            order = woo.order(status="checkout-draft", created_via="store-api")
            await woo.poll()
            await woo.poll(minutes=31)
            await woo.deliver()
            assert line.effects() == [str(order.id)]

    async def test_a_draft_is_handed_off_once_its_contact_comes(self, line: Line) -> None:
        async with running_woo(line, version="10.6.2") as woo:
            order = woo.order(status="checkout-draft", created_via="store-api", billing={})
            await woo.poll(minutes=31)
            before = await outbox(line)
            woo.site.put(order.id, billing=dict(ADA))
            await woo.poll()
            await woo.poll(minutes=31)
            await woo.deliver()
            assert (before, line.effects()) == ([], [str(order.id)])

    async def test_a_draft_that_is_deleted_before_its_time_is_not_handed_off(self, line: Line) -> None:
        async with running_woo(line, deletes_drafts=True) as woo:
            await woo.threshold(25 * 60)
            order = woo.order(status="checkout-draft", created_via="store-api")
            await woo.poll()
            await woo.sweep(hours=25.5)
            await woo.poll()
            await woo.deliver()
            assert (await states(line), messages(line)) == ({str(order.id): "excluded"}, 0)
            assert (await cart(line, str(order.id))).exclusion == "gone"

    async def test_a_draft_that_was_placed_is_bought(self, line: Line) -> None:
        async with running_woo(line) as woo:
            order = woo.order(status="checkout-draft", created_via="store-api")
            await woo.poll()
            woo.site.move(order.id, "processing")
            await woo.poll(minutes=31)
            await woo.deliver()
            assert (await states(line), messages(line)) == ({str(order.id): "converted"}, 0)


class TestPendingTurnsCancelled:
    """2. The store cancels an unpaid order after an hour by itself: its shopper did not."""

    async def test_a_delay_longer_than_the_store_s_timer_loses_no_cart(self, line: Line) -> None:
        async with running_woo(line, hold_stock_minutes=60) as woo:
            await woo.threshold(90)
            order = woo.order()
            await woo.poll()
            await woo.poll(minutes=61)
            await woo.sweep(minutes=30)
            await woo.poll()
            await woo.deliver()
            assert (order.status, line.effects()) == ("cancelled", [str(order.id)])

    async def test_the_timer_does_not_put_the_abandonment_off(self, line: Line) -> None:
        async with running_woo(line, hold_stock_minutes=60) as woo:
            await woo.threshold(90)
            order = woo.order()
            await woo.poll()
            await woo.poll(minutes=61)
            assert (await cart(line, str(order.id))).last_activity_at == order.created_at

    async def test_a_link_that_takes_no_money_is_not_handed_on(self, line: Line) -> None:
        async with running_woo(line, hold_stock_minutes=60) as woo:
            await woo.threshold(90)
            woo.order()
            await woo.poll()
            await woo.sweep(minutes=95)
            await woo.poll()
            assert (await sent_cart(line))["recovery_url"] is None

    async def test_a_cart_handed_off_before_stays_as_it_is(self, line: Line) -> None:
        async with running_woo(line, hold_stock_minutes=60) as woo:
            order = woo.order()
            await woo.poll()
            await woo.poll(minutes=31)
            await woo.deliver()
            await woo.poll(minutes=31)
            await woo.sweep(minutes=31)
            await woo.deliver()
            assert (order.status, await states(line), messages(line)) == ("cancelled", {str(order.id): "abandoned"}, 1)

    async def test_an_order_paid_and_then_cancelled_is_not_handed_off(self, line: Line) -> None:
        async with running_woo(line) as woo:
            order = woo.order()
            await woo.poll()
            woo.site.move(order.id, "processing")
            woo.site.move(order.id, "cancelled")
            await woo.poll(minutes=31)
            await woo.deliver()
            assert (await states(line), messages(line)) == ({str(order.id): "excluded"}, 0)


class TestShiftedQuestions:
    """3. A question with a zone would be shifted by the site's offset."""

    @pytest.mark.parametrize("zone", ["Australia/Adelaide", "America/Los_Angeles", "UTC"])
    async def test_no_cart_between_two_polls_is_missed(self, line: Line, zone: str) -> None:
        async with running_woo(line, zone=ZoneInfo(zone)) as woo:
            await woo.poll()
            orders = []
            for _ in range(8):
                line.clock.move(minutes=1)
                orders.append(str(woo.order().id))
            await woo.poll()
            assert sorted(await states(line)) == sorted(orders)

    @pytest.mark.parametrize("zone", ["Australia/Adelaide", "America/Los_Angeles"])
    async def test_what_is_old_is_not_read_again(self, line: Line, zone: str) -> None:
        async with running_woo(line, zone=ZoneInfo(zone)) as woo:
            woo.order(120)
            await woo.poll()
            report = await line.run()
            assert report["carts_seen"] == 0


class TestModifiedDateStands:
    """4. On the posts table date_modified stays when contact, lines or total change: the cart is read again."""

    @pytest.mark.parametrize("storage", ["posts", "hpos"])
    async def test_the_hand_off_has_the_lines_as_they_are(self, line: Line, storage: str) -> None:
        async with running_woo(line, storage=storage) as woo:
            order = woo.order(total="10.00")
            await woo.poll()
            woo.site.put(order.id, items=[Item(name="Pot", total=order.total * 3)])
            await woo.sweep(minutes=31)
            await woo.poll()
            found = await sent_cart(line)
            assert (found["total_value"], found["items"][0]["title"]) == (30.0, "Pot")

    async def test_a_contact_that_moved_no_date_is_seen(self, line: Line) -> None:
        async with running_woo(line, storage="posts") as woo:
            order = woo.order(billing={})
            await woo.poll()
            woo.site.put(order.id, billing=dict(ADA))
            await woo.sweep(minutes=31)
            await woo.poll()
            assert (await sent_cart(line))["customer"]["email"] == "ada@example.test"


class TestFreshRead:
    """No cart is handed off on news older than its abandonment."""

    async def test_the_sweep_writes_nothing_and_makes_the_store_due(self, line: Line) -> None:
        async with running_woo(line) as woo:
            order = woo.order()
            await woo.poll()
            await woo.sweep(minutes=31)
            row = await cart(line, str(order.id))
            assert (row.state, row.awaits_read, await outbox(line)) == ("abandoned", True, [])
            assert (await woo.row()).next_poll_at <= line.clock.now()

    async def test_the_poll_that_follows_reads_it_by_id_first_and_hands_it_off(self, line: Line) -> None:
        async with running_woo(line) as woo:
            order = woo.order()
            await woo.poll()
            await woo.sweep(minutes=31)
            woo.simulator.requests.clear()
            await woo.poll()
            await woo.deliver()
            assert f"include={order.id}" in woo.simulator.requests[0].path
            assert (line.effects(), (await cart(line, str(order.id))).awaits_read) == ([str(order.id)], False)

    async def test_a_cart_bought_in_time_is_never_mailed(self, line: Line) -> None:
        async with running_woo(line) as woo:
            order = woo.order()
            await woo.poll()
            await woo.sweep(minutes=31)
            woo.site.move(order.id, "processing")
            await woo.poll()
            await woo.deliver()
            assert (await states(line), messages(line), await outbox(line)) == ({str(order.id): "converted"}, 0, [])

    async def test_a_store_that_is_down_keeps_its_carts_waiting(self, line: Line) -> None:
        async with running_woo(line) as woo:
            order = woo.order()
            await woo.poll()
            await woo.sweep(minutes=31)
            woo.simulator.inject("database_down", times=99)
            await woo.poll()
            await woo.deliver()
            down = (await outbox(line), (await cart(line, str(order.id))).awaits_read)
            woo.simulator.faults.clear()
            await woo.poll(minutes=2)
            await woo.deliver()
            assert (down, line.effects()) == (([], True), [str(order.id)])

    async def test_a_cart_seen_late_is_read_after_its_abandonment_anyway(self, line: Line) -> None:
        async with running_woo(line) as woo:
            order = woo.order(45)
            await woo.poll()
            await woo.deliver()
            assert line.effects() == [str(order.id)]

    async def test_a_cart_trashed_in_the_meantime_is_excluded(self, line: Line) -> None:
        async with running_woo(line) as woo:
            order = woo.order()
            await woo.poll()
            woo.site.trash(order.id)
            await woo.sweep(minutes=31)
            await woo.poll()
            await woo.deliver()
            assert (await states(line), messages(line)) == ({str(order.id): "excluded"}, 0)

    async def test_many_waiting_carts_are_all_read(self, line: Line) -> None:
        async with running_woo(line) as woo:
            for _ in range(130):
                woo.order()
            await woo.poll()
            await woo.sweep(minutes=31)
            await woo.poll()
            await woo.deliver()
            assert len(line.effects()) == 130


async def test_a_record_that_turns_out_to_be_no_cart_closes_its_quarantine_row(line: Line) -> None:
    async with running_woo(line) as woo:
        order = woo.order(currency="??")
        await woo.poll()
        opened = [row.is_open for row in await line.rows(quarantine)]
        woo.site.put(order.id, created_via="admin")
        await woo.poll()
        assert (opened, [row.is_open for row in await line.rows(quarantine)]) == ([True], [False])


async def test_a_cart_that_waits_is_read_once_even_if_the_answer_is_an_old_one(line: Line) -> None:
    async with running_woo(line) as woo:
        order = woo.order()
        await woo.poll()
        await change(line, carts, source_updated_at=line.clock.now() + timedelta(minutes=5))  # a replica lags behind
        await woo.sweep(minutes=31)
        await woo.poll()
        await woo.deliver()
        assert (line.effects(), (await cart(line, str(order.id))).awaits_read) == ([str(order.id)], False)
