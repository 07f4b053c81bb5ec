"""The poll cycle: start, stop, status, one-off runs and beats."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from backend.errors import BadInput
from backend.models import installation_state, integrations, poll_cycle_counts, poll_cycles
from backend.services.poller import Rhythm
from tests.services.acts import add_store, another, change, doing_at, store_row
from tests.services.line import NOON, Line

SECOND = timedelta(seconds=1)


def rhythm(interval: int = 30) -> Rhythm:
    return Rhythm(is_wanted=True, interval=interval, since=NOON)


class TestWantedState:
    async def test_nothing_is_wanted_before_the_first_start(self, line: Line) -> None:
        assert (await line.engine.poller.status())["running"] is False

    async def test_start_wants_it_and_stop_does_not(self, line: Line) -> None:
        poller = line.engine.poller
        await poller.start(60)
        started = await poller.status()
        await poller.stop()
        stopped = await poller.status()
        assert (started["running"], started["interval_seconds"], stopped["running"]) == (True, 60, False)

    async def test_starting_again_changes_the_interval_and_nothing_else(self, line: Line) -> None:
        answers = [await line.engine.poller.start(each) for each in (60, 60, None, 90)]
        assert [(each["interval_seconds"], each["changed"]) for each in answers] == [
            (60, True),
            (60, False),
            (60, False),
            (90, True),
        ]
        assert len(await line.rows(installation_state)) == 1

    async def test_stopping_twice_is_harmless_and_keeps_the_interval(self, line: Line) -> None:
        await line.engine.poller.start(60)
        answers = [await line.engine.poller.stop() for _ in range(2)]
        assert [(each["running"], each["interval_seconds"]) for each in answers] == [(False, 60)] * 2

    @pytest.mark.parametrize("interval", [4, 0, -1, 86_401])
    async def test_an_interval_out_of_bounds_is_refused_and_changes_nothing(self, line: Line, interval: int) -> None:
        with pytest.raises(BadInput) as problem:
            await line.engine.poller.start(interval)
        assert (problem.value.field, await line.rows(installation_state)) == ("interval", [])

    @pytest.mark.parametrize("interval", [5, 86_400])
    async def test_the_bounds_themselves_are_accepted(self, line: Line, interval: int) -> None:
        assert (await line.engine.poller.start(interval))["interval_seconds"] == interval

    async def test_two_starts_at_once_make_one_state(self, line: Line) -> None:
        await asyncio.gather(*(line.engine.poller.start(each) for each in (60, 90, 120)))
        (row,) = await line.rows(installation_state)
        assert row.interval_seconds in {60, 90, 120}


class TestOneOff:
    async def test_it_leaves_the_wanted_state_as_it_was(self, line: Line) -> None:
        await line.engine.poller.start(60)
        before = await line.rows(installation_state)
        await line.run()
        assert await line.rows(installation_state) == before

    async def test_it_leaves_the_next_poll_as_it_was(self, line: Line) -> None:
        line.add("c1", 45)
        due = NOON + timedelta(hours=5)
        await change(line, integrations, next_poll_at=due)
        report = await line.run()
        assert (report["integrations_polled"], (await store_row(line)).next_poll_at) == (1, due)

    async def test_a_failed_poll_settles_like_any_other(self, line: Line) -> None:
        line.store.inject("status", status=429, headers={"Retry-After": "50"})
        await line.run()
        assert (await store_row(line)).next_poll_at == NOON + 50 * SECOND

    async def test_what_another_worker_holds_is_listed_and_no_failure(self, line: Line) -> None:
        await change(line, integrations, lease_token="another", lease_expires_at=NOON + 5 * SECOND)
        report = await line.run()
        assert [part["integration_id"] for part in report["held_elsewhere"]] == [line.integration]
        assert (report["ok"], report["integrations_polled"]) == (True, 0)

    async def test_what_waits_is_listed_with_its_time(self, line: Line) -> None:
        await change(line, integrations, waiting_until=NOON + 50 * SECOND, waiting_for="back-off after a failure")
        report = await line.run()
        assert [(part["until"], part["why"]) for part in report["waiting"]] == [
            ("2026-11-20T12:00:50.000Z", "back-off after a failure")
        ]
        assert report["ok"]

    async def test_two_at_once_poll_each_store_once(self, line: Line) -> None:
        for number in range(1, 6):
            await add_store(line, f"s{number}")
        reports = await asyncio.gather(line.run(), line.run())
        assert sum(report["integrations_polled"] for report in reports) == 6
        assert len(line.store.requests) == 6

    async def test_it_sweeps_and_delivers(self, line: Line) -> None:
        line.add("c1", 29)
        await line.run()
        line.clock.move(minutes=15)
        line.store.inject("status", status=500)  # the store itself is of no help
        report = await line.run()
        assert (report["carts_abandoned"], report["deliveries_succeeded"], line.effects()) == (1, 1, ["c1"])

    async def test_its_cycle_is_marked_as_such(self, line: Line) -> None:
        reports = [await line.engine.poller.run_once(kind) for kind in ("test_once", "once")]
        kinds = {row.id: row.kind for row in await line.rows(poll_cycles)}
        assert kinds == {reports[0]["cycle_id"]: "test_once", reports[1]["cycle_id"]: "once"}

    async def test_the_report_adds_up(self, line: Line) -> None:
        line.add("c1", 45, total="159.98")
        line.add("c2", 45, total="99.99")
        line.add("c3", 45, total="200.00", currency="EUR")
        line.add("c4", 5)
        report = await line.run()
        shown = {name: report[name] for name in ("carts_seen", "carts_new", "carts_abandoned", "deliveries_made")}
        assert shown == {"carts_seen": 4, "carts_new": 4, "carts_abandoned": 3, "deliveries_made": 2}
        assert report["total_recovery_value"] == {"EUR": 200.0, "USD": 259.97}
        assert (report["delivery_success_rate"], report["platforms_processed"]) == (1.0, ["custom"])

    async def test_a_failed_delivery_makes_the_run_fail(self, line: Line) -> None:
        line.add("c1", 45)
        line.partner.inject("status", status=500)
        report = await line.run()
        assert (report["ok"], report["deliveries_failed"]) == (False, 1)

    async def test_a_delivery_is_attempted_once_at_most(self, line: Line) -> None:
        line.add("c1", 45)
        line.partner.inject("status", status=500, times=9)
        report = await line.run()
        assert report["deliveries_failed"] == 1


class TestBeats:
    async def test_as_many_cycles_as_beats(self, line: Line) -> None:
        for _ in range(4):
            await line.engine.poller.run_beat(rhythm())
            line.clock.move(seconds=30)
        assert len(await line.rows(poll_cycles)) == len(line.store.requests) == 4

    async def test_a_bell_that_rings_twice_is_one_cycle(self, line: Line) -> None:
        for _ in range(3):
            await line.engine.poller.run_beat(rhythm())
        assert (len(await line.rows(poll_cycles)), len(line.store.requests)) == (1, 1)

    async def test_two_processes_take_part_in_one_cycle(self, line: Line) -> None:
        await add_store(line, "s1")
        async with another(line) as other:
            await asyncio.gather(other.poller.run_beat(rhythm()), line.engine.poller.run_beat(rhythm()))
        assert (len(await line.rows(poll_cycles)), len(line.store.requests)) == (1, 2)

    async def test_a_slow_store_neither_stops_the_next_beat_nor_is_polled_twice_at_once(self, line: Line) -> None:
        line.store.inject("slow", seconds=0.3)
        slow = asyncio.create_task(line.engine.poller.run_beat(rhythm()))
        while not line.store.requests:  # noqa: ASYNC110  the simulator tells nobody
            await asyncio.sleep(0.01)
        line.clock.move(seconds=5)
        await line.engine.poller.run_beat(rhythm(5))
        begun_meanwhile = len(await line.rows(poll_cycles))
        await slow
        assert (begun_meanwhile, len(line.store.requests)) == (2, 1)

    async def test_a_store_is_polled_at_its_own_period(self, line: Line) -> None:
        await change(line, integrations, poll_interval_seconds=90)
        asked = []
        for _ in range(7):
            await line.engine.poller.run_beat(rhythm())
            asked.append(len(line.store.requests))
            line.clock.move(seconds=30)
        assert asked == [1, 1, 1, 2, 2, 2, 3]

    async def test_a_period_below_the_interval_acts_as_the_interval(self, line: Line) -> None:
        await change(line, integrations, poll_interval_seconds=5)
        for _ in range(3):
            await line.engine.poller.run_beat(rhythm())
            line.clock.move(seconds=30)
        assert len(line.store.requests) == 3

    async def test_a_walk_whose_turn_is_over_gives_way_and_goes_on_in_the_same_beat(self, line: Line) -> None:
        await change(line, integrations, poll_interval_seconds=3600)
        line.store.tenants["s0"].largest_page = 1
        line.add("c1", 45)
        line.add("c2", 46)

        async def late() -> None:
            line.clock.move(minutes=5)  # longer than one poll may take
            await change(line, integrations, lease_expires_at=NOON + timedelta(hours=1))

        await doing_at(line, "after_commit", late).poller.run_beat(rhythm())
        row = await store_row(line)
        assert (row.polls, row.page_token, len(line.store.requests)) == (2, None, 2)

    async def test_cycles_are_kept_for_thirty_days(self, line: Line) -> None:
        await line.engine.poller.run_beat(rhythm())
        line.clock.move(days=31)
        await line.engine.poller.run_beat(rhythm())
        assert (len(await line.rows(poll_cycles)), len(await line.rows(poll_cycle_counts))) == (1, 1)

    async def test_a_delivery_whose_cycle_is_forgotten_is_still_settled(self, line: Line) -> None:
        line.add("c1", 45)
        await line.engine.poller.run_beat(rhythm())
        async with line.world.database.work() as tx:
            await tx.execute(poll_cycles.delete())
        await line.engine.poller.deliver()
        assert (line.effects(), await still_due(line)) == (["c1"], 0)


async def still_due(line: Line) -> int:
    pending: int = (await line.engine.poller.status())["deliveries"]["pending"]
    return pending


class TestStatus:
    async def test_each_company_sees_its_own_stores(self, line: Line) -> None:
        other = await add_store(line, "s1")
        shown: dict[str, Any] = await line.engine.poller.status(frozenset({line.company}))
        assert {part["integration_id"] for part in shown["integrations"]} == {line.integration, other}
        assert (await line.engine.poller.status(frozenset({"another"})))["integrations"] == []

    async def test_it_tells_the_watermark_s_age_against_its_objective(self, line: Line) -> None:
        await line.run()
        line.clock.move(minutes=1)
        fresh = (await line.engine.poller.status())["integrations"][0]
        line.clock.move(hours=1)
        stale = (await line.engine.poller.status())["integrations"][0]
        assert (fresh["watermark_age_seconds"], fresh["is_behind"], stale["is_behind"]) == (120, False, True)

    async def test_it_counts_what_waits_to_be_delivered(self, line: Line) -> None:
        line.add("c1", 45)
        line.partner.inject("status", status=500)
        await line.run()
        line.clock.move(minutes=10)
        shown = (await line.engine.poller.status())["deliveries"]
        assert (shown["pending"], shown["oldest_due_seconds"] > 500) == (1, True)
