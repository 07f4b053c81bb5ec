"""A page becomes rows in one commit: cursor, carts, events, abandonments and deliveries."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from backend.models import (
    abandonment_log,
    cart_events,
    cart_items,
    carts,
    customers,
    deliveries,
    delivery_carts,
    integrations,
    poll_runs,
    quarantine,
)
from simulator.custom import Tenant
from tests.factories import make_destination
from tests.services.acts import buy, cart, change, doing_at, fill, messages, outbox, states, stopping_at, store_row
from tests.services.line import Line

WRITTEN = [carts, cart_items, cart_events, customers, abandonment_log, deliveries, delivery_carts]


def in_pages(line: Line, size: int) -> Tenant:
    """Let the store show so many carts at once."""
    tenant = line.store.tenants["s0"]
    tenant.largest_page = size
    return tenant


class TestOneCommit:
    @pytest.mark.parametrize("moment", ["page_fetched", "before_commit"])
    async def test_a_crash_before_the_commit_leaves_nothing(self, line: Line, moment: str) -> None:
        line.add("c1", 45)
        before = await store_row(line)
        await stopping_at(line, moment).poller.run_once()
        left = {table.name: len(await line.rows(table)) for table in WRITTEN}
        after = await store_row(line)
        assert (set(left.values()), after.watermark, after.page_token) == ({0}, before.watermark, before.page_token)

    async def test_a_crash_after_the_commit_leaves_all_of_it(self, line: Line) -> None:
        line.add("c1", 45)
        await stopping_at(line, "after_commit").poller.run_once()
        left = {table.name: len(await line.rows(table)) for table in WRITTEN}
        assert left | {"cart_events": 2} == dict.fromkeys([table.name for table in WRITTEN], 1) | {"cart_events": 2}
        assert (await store_row(line)).watermark is not None

    async def test_what_a_crash_left_arrives_once(self, line: Line) -> None:
        line.add("c1", 45)
        await stopping_at(line, "after_commit").poller.run_once()
        line.clock.move(seconds=11)  # the dead worker's lease
        await line.run()
        assert (line.effects(), messages(line)) == (["c1"], 1)

    async def test_each_page_is_saved_with_its_own_cursor(self, line: Line) -> None:
        in_pages(line, 2)
        for number in range(5):
            line.add(f"c{number}", 45 + number)
        line.store.inject("status", status=500, after=2)
        await line.run()
        row = await store_row(line)
        assert (len(await line.rows(carts)), row.page_token is not None, row.watermark) == (4, True, None)


class TestWalk:
    async def test_a_walk_goes_on_where_it_stopped(self, line: Line) -> None:
        in_pages(line, 2)
        for number in range(5):
            line.add(f"c{number}", 45 + number)
        line.store.inject("status", status=500, after=2)
        await line.run()
        line.clock.move(minutes=2)
        line.store.requests.clear()
        await line.run()
        assert (len(line.store.requests), line.effects()) == (1, ["c0", "c1", "c2", "c3", "c4"])

    async def test_a_cart_changed_in_mid_walk_is_not_lost_and_neither_are_its_neighbours(self, line: Line) -> None:
        in_pages(line, 2)
        for number in range(6):
            line.add(f"c{number}", 90 - number)
        engine = doing_at(line, "after_commit", lambda: fill(line, "c0", "99.00"))
        await engine.poller.run_once()
        line.clock.move(minutes=5)
        await line.run()
        assert line.effects() == ["c1", "c2", "c3", "c4", "c5"]
        assert str((await cart(line, "c0")).total) == "99.00"

    async def test_the_overlap_is_read_again_without_effect(self, line: Line) -> None:
        line.add("c1", 2)
        await line.run()
        again = await line.run()
        assert (again["carts_seen"], again["carts_changed"], len(await line.rows(cart_events))) == (1, 0, 1)

    async def test_a_cart_twice_in_one_page_counts_by_its_newest_look(self, line: Line) -> None:
        tenant = in_pages(line, 10)
        line.add("c1", 20, total="10.00")
        older = dict(tenant.carts["c1"])
        fill(line, "c1", "30.00", minutes_ago=10)
        tenant.put(older, (line.clock.now() - timedelta(minutes=5), "ghost"))
        await line.run()
        (row,) = await line.rows(carts)
        assert (str(row.total), len(await line.rows(cart_items))) == ("30.00", 1)

    async def test_a_cart_dated_far_ahead_does_not_freeze_the_store(self, line: Line) -> None:
        line.store.add_cart("s0", "future", line.clock.now() + timedelta(days=365 * 70))
        line.add("c1", 45)
        await line.run()
        line.clock.move(hours=1)
        line.add("c2", 45)
        await line.run()
        assert (line.effects(), [row.reason for row in await line.rows(quarantine)]) == (
            ["c1", "c2"],
            ["dated_in_the_future"],
        )

    @pytest.mark.parametrize("hours", [-24, -3, 3, 24])
    async def test_a_store_s_wrong_clock_loses_nothing(self, line: Line, hours: int) -> None:
        line.store.clock_skew = timedelta(hours=hours)
        line.store.add_cart("s0", "c1", line.clock.now() + timedelta(hours=min(hours, 0), minutes=-45))
        await line.run()
        line.store.clock_skew = timedelta(0)  # somebody puts it right
        line.clock.move(minutes=5)
        line.add("c2", 1)
        await line.run()
        line.clock.move(minutes=40)
        await line.run()
        assert line.effects() == ["c1", "c2"]


class TestWhatIsKept:
    async def test_an_empty_poll_leaves_a_count_and_no_row(self, line: Line) -> None:
        await line.run()
        row = await store_row(line)
        assert (row.polls, row.empty_polls, await line.rows(poll_runs)) == (1, 1, [])

    async def test_a_poll_that_brought_something_leaves_a_row(self, line: Line) -> None:
        line.add("c1", 10)
        await line.run()
        (run,) = await line.rows(poll_runs)
        assert (run.outcome, run.counts["carts_new"], (await store_row(line)).empty_polls) == ("ok", 1, 0)

    async def test_one_person_of_many_carts_is_one_customer(self, line: Line) -> None:
        for number in range(3):
            line.add(f"c{number}", 45, customer={"email": "Ada@Example.com ", "first": "Ada"})
        await line.run()
        (person,) = await line.rows(customers)
        assert ({row.customer_id for row in await line.rows(carts)}, person.email) == ({person.id}, "ada@example.com")

    async def test_a_blank_erases_nothing_known(self, line: Line) -> None:
        line.add("c1", 20, customer={"id": "7", "email": "ada@example.com", "phone": "+12025550143"})
        await line.run()
        fill(line, "c1", customer={"id": "7", "first": "Ada"})
        await line.run()
        (person,) = await line.rows(customers)
        assert (person.email, person.phone, person.first_name) == ("ada@example.com", "+12025550143", "Ada")

    async def test_lines_are_replaced_by_those_of_the_newest_look(self, line: Line) -> None:
        line.add("c1", 20)
        await line.run()
        fill(line, "c1", items=[{"title": title, "qty": 1, "unit_price": "5"} for title in ("Pot", "Pan")])
        await line.run()
        assert sorted(row.title for row in await line.rows(cart_items)) == ["Pan", "Pot"]

    async def test_events_are_numbered_without_a_gap(self, line: Line) -> None:
        line.add("c1", 45)
        await line.run()
        fill(line, "c1")
        await line.run()
        buy(line, "c1")
        await line.run()
        events = sorted(await line.rows(cart_events), key=lambda row: row.seq)
        assert [(row.seq, row.type) for row in events] == [
            (1, "cart.created"),
            (2, "cart.abandoned"),
            (3, "cart.updated"),
            (4, "cart.revived"),
            (5, "cart.updated"),
            (6, "cart.converted"),
        ]


class TestEpisodes:
    async def test_a_cart_abandoned_again_is_handed_off_again_under_another_id(self, line: Line) -> None:
        line.add("c1", 45)
        await line.run()
        fill(line, "c1")
        await line.run()
        line.clock.move(minutes=31)
        await line.run()
        effects = line.partner.hook("p").effects
        assert (len(effects), line.partner.hook("p").report()["doubled_effects"]) == (2, 0)
        assert sorted(row.episode for row in await line.rows(abandonment_log)) == [1, 2]

    async def test_contact_alone_is_no_new_episode(self, line: Line) -> None:
        line.add("c1", 45)
        await line.run()
        line.store.touch("s0", "c1", line.clock.now(), customer={"email": "c1@example.com", "phone": "+12025550143"})
        line.clock.move(hours=2)
        await line.run()
        assert (len(line.partner.hook("p").effects), (await cart(line)).episode) == (1, 1)

    async def test_a_cart_past_its_horizon_is_lost_and_not_handed_off(self, line: Line) -> None:
        await change(line, integrations, initial_lookback_days=60)
        line.add("old", 60 * 24 * 40)
        line.add("c1", 60 * 24 * 20)
        await line.run()
        assert (await states(line), line.effects()) == ({"old": "lost", "c1": "abandoned"}, ["c1"])

    async def test_a_cart_bought_before_it_was_seen_is_a_conversion(self, line: Line) -> None:
        line.add("c1", 45)
        buy(line, "c1", 5)
        await line.run()
        assert (await states(line), line.effects()) == ({"c1": "converted"}, [])


class TestQuarantine:
    async def test_a_bad_record_is_kept_sealed_and_its_page_goes_on(self, line: Line) -> None:
        line.add("bad", 45, total="ten dollars for ada@example.com")
        line.add("c1", 45)
        report = await line.run()
        (row,) = await line.rows(quarantine)
        assert (row.source_cart_id, row.reason, row.is_open, report["ok"]) == ("bad", "bad_amount", True, True)
        assert (line.effects(), b"ada@example.com" in row.record_sealed) == (["c1"], False)

    async def test_the_record_opens_with_the_company_s_key(self, line: Line) -> None:
        line.add("bad", 45, total="ten")
        await line.run()
        (row,) = await line.rows(quarantine)
        place = (line.company, "quarantine", "record_sealed", row.id)
        async with line.world.database.reading(line.company) as tx:
            opened = await line.base.keyring.open_json(tx, place, row.record_sealed, row.record_version)
        assert '"total":"ten"' in opened["record"]

    async def test_the_same_bad_record_again_is_counted(self, line: Line) -> None:
        line.add("bad", 2, total="ten")
        for _ in range(3):
            await line.run()
        (row,) = await line.rows(quarantine)
        assert row.times_seen == 3

    @pytest.mark.parametrize("fields", [{}, {"status": "expired"}])
    async def test_a_record_that_becomes_readable_closes_its_row(self, line: Line, fields: dict[str, str]) -> None:
        line.add("bad", 2, total="ten")
        await line.run()
        line.add("bad", 1, **fields)
        await line.run()
        assert [row.is_open for row in await line.rows(quarantine)] == [False]

    async def test_a_record_that_is_bad_again_is_open_again(self, line: Line) -> None:
        line.add("bad", 2, total="ten")
        await line.run()
        good = dict(line.store.tenants["s0"].carts["bad"])
        line.add("bad", 2, total="12.00")
        await line.run()
        line.store.tenants["s0"].put(good, (line.clock.now() - timedelta(minutes=2), "bad"))
        await line.run()
        assert [row.is_open for row in await line.rows(quarantine)] == [True]

    async def test_a_page_bad_all_through_stops_the_store_with_its_cursor_kept(self, line: Line) -> None:
        for number in range(5):
            line.add(f"bad{number}", 45, total="ten")
        report = await line.run()
        row = await store_row(line)
        assert (report["ok"], row.last_error_code, row.watermark, row.page_token) == (
            False,
            "page_unreadable",
            None,
            None,
        )
        assert len(await line.rows(quarantine)) == 5

    async def test_the_store_goes_on_once_its_page_is_readable(self, line: Line) -> None:
        for number in range(5):
            line.add(f"c{number}", 45, total="ten")
        await line.run()
        for number in range(5):
            line.add(f"c{number}", 45)
        line.clock.move(minutes=2)
        await line.run()
        assert Counter(row.is_open for row in await line.rows(quarantine)) == {False: 5}
        assert line.effects() == [f"c{number}" for number in range(5)]


async def test_two_destinations_each_get_the_cart(line: Line) -> None:
    line.partner.register("q", [line.secret])
    url = f"{line.partner.base_url}/hook/q"
    await make_destination(line.world, line.company, line.agent, url, line.secret)
    line.add("c1", 45)
    await line.run()
    ids = [set(line.partner.hook(name).effects) for name in ("p", "q")]
    assert (ids[0] == ids[1], len(ids[0]), len({row.webhook_id for row in await outbox(line)})) == (True, 1, 2)
