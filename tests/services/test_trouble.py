"""Stores in trouble: refused credentials, rate limits, back-off, our own bugs; and that none stops another."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import structlog

from backend.models import integrations, poll_runs
from backend.store.work import MOST_CLAIMS
from tests.factories import make_integration
from tests.services.acts import add_store, change, doing_at, poll, store_row
from tests.services.line import NOON, Line

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def refuse(line: Line, *, refused: bool = True, tenant: str = "s0") -> None:
    """Let the store take the credentials back, or give them again."""
    line.store.tenants[tenant].refused = refused


async def beat_when_due(line: Line) -> timedelta:
    """Wait until the store is due again, let a beat poll it, and return how long the wait was."""
    row = await store_row(line)
    wait: timedelta = row.next_poll_at - line.clock.now()
    line.clock.at = row.next_poll_at - 30 * SECOND
    await poll(line)
    return wait


def minutes(*waits: timedelta) -> list[int]:
    return [round(wait / MINUTE) for wait in waits]


class TestRefusedCredentials:
    async def test_one_refusal_is_tried_again_soon(self, line: Line) -> None:
        refuse(line)
        await line.run()
        row = await store_row(line)
        assert (row.status, row.refusals, row.next_poll_at) == ("active", 1, NOON + 30 * SECOND)

    async def test_three_refusals_over_ten_minutes_pause_the_store(self, line: Line) -> None:
        refuse(line)
        await line.run()
        waits = [await beat_when_due(line), await beat_when_due(line)]
        row = await store_row(line)
        assert (row.status, row.pause_reason, row.refusals, minutes(*waits)) == (
            "paused",
            "credentials_rejected",
            3,
            [0, 10],
        )

    async def test_each_try_is_signed_afresh(self, line: Line) -> None:
        store = await make_integration(
            line.world,
            line.company,
            line.agent,
            settings={"base_url": f"{line.store.base_url}/h", "allow_http": True, "options": {"auth": "hmac"}},
            credentials={"secret": "token-h"},
        )
        line.store.add_tenant("h", auth="hmac", refused=True)
        await line.run()
        line.clock.move(seconds=31)
        await line.run()
        asked = [seen for seen in line.store.requests if "/h/" in seen.path]
        signatures = {value for seen in asked for name, value in seen.headers.items() if name.lower() == "x-signature"}
        (row,) = await line.rows(integrations, integrations.c.id == store)
        assert (len(signatures), row.refusals) == (2, 2)

    async def test_a_paused_store_is_probed_ever_more_seldom(self, line: Line) -> None:
        refuse(line)
        await line.run()
        for _ in range(2):
            await beat_when_due(line)
        waits = [await beat_when_due(line) for _ in range(5)]
        assert minutes(*waits) == [15, 60, 360, 1440, 1440]

    async def test_the_company_is_told_once(self, line: Line) -> None:
        refuse(line)
        with structlog.testing.capture_logs() as logs:
            await line.run()
            for _ in range(4):
                await beat_when_due(line)
        assert [entry["event"] for entry in logs].count("integration.paused") == 1

    async def test_a_store_that_accepts_them_again_goes_on_with_nothing_lost(self, line: Line) -> None:
        line.add("c1", 45)
        await line.run()
        watermark = (await store_row(line)).watermark
        line.clock.move(minutes=1)
        refuse(line)
        await line.run()
        for _ in range(3):
            await beat_when_due(line)
        line.add("c2", 26)  # touched while we were refused
        kept = (await store_row(line)).watermark
        refuse(line, refused=False)
        await beat_when_due(line)
        await line.run()
        line.clock.move(minutes=31)
        await line.run()
        row = await store_row(line)
        assert (kept, row.status, row.refusals, row.first_refused_at) == (watermark, "active", 0, None)
        assert line.effects() == ["c1", "c2"]

    async def test_a_probe_that_fails_otherwise_keeps_the_pause(self, line: Line) -> None:
        refuse(line)
        await line.run()
        for _ in range(2):
            await beat_when_due(line)
        line.store.inject("status", status=500)
        await beat_when_due(line)
        row = await store_row(line)
        assert (row.status, row.refusals) == ("paused", 3)

    async def test_a_one_off_run_tells_that_it_waits_and_why(self, line: Line) -> None:
        refuse(line)
        await line.run()
        for _ in range(2):
            await beat_when_due(line)
        test_once, once = await line.run(), await line.engine.poller.run_once("once")
        assert [part["why"] for part in test_once["waiting"]] == ["credentials_rejected"]
        assert (test_once["ok"], once["ok"]) == (True, False)

    async def test_the_store_says_what_to_do(self, line: Line) -> None:
        refuse(line)
        report = await line.run()
        (part,) = report["integrations"]
        assert (part["outcome"], bool(part["remedy"]), report["ok"]) == ("fix_credentials", True, False)


class TestLater:
    async def test_a_busy_store_is_left_alone_as_long_as_it_says(self, line: Line) -> None:
        line.store.inject("status", status=429, headers={"Retry-After": "77"})
        await line.run()
        row = await store_row(line)
        assert (row.waiting_until, row.waiting_for) == (NOON + 77 * SECOND, "the time the store named")

    async def test_nobody_asks_before_that_time(self, line: Line) -> None:
        line.store.inject("status", status=429, headers={"Retry-After": "77"})
        await line.run()
        line.clock.move(seconds=76)
        waited = await line.run()
        line.clock.move(seconds=1)
        asked = await line.run()
        assert ([part["until"] for part in waited["waiting"]], len(line.store.requests)) == (
            ["2026-11-20T12:01:17.000Z"],
            2,
        )
        assert asked["ok"]

    async def test_a_failing_store_is_asked_ever_more_seldom(self, line: Line) -> None:
        line.store.inject("status", status=500, times=9)
        await line.run()
        waits = [(await beat_when_due(line)).total_seconds() for _ in range(8)]
        floors = [30, 60, 120, 240, 480, 960, 1920, 3600]
        assert all(floor <= wait <= floor * 1.2 for floor, wait in zip(floors, waits, strict=True))

    async def test_a_success_ends_the_back_off(self, line: Line) -> None:
        line.store.inject("status", status=500, times=3)
        await line.run()
        for _ in range(3):
            await beat_when_due(line)
        row = await store_row(line)
        assert (row.failures, row.waiting_until, row.waiting_for, row.last_error) == (0, None, None, None)

    @pytest.mark.parametrize("kind", ["html", "truncated", "nan", "deep", "reset", "cut"])
    async def test_a_sick_answer_is_tried_again_with_the_cursor_kept(self, line: Line, kind: str) -> None:
        line.add("c1", 45)
        line.store.inject(kind, times=2)  # a connection that was reset is tried once more at once
        report = await line.run()
        row = await store_row(line)
        assert (report["polls_failed"], row.watermark, row.failures) == (1, None, 1)
        line.store.faults.clear()
        line.clock.move(minutes=1)
        await line.run()
        assert line.effects() == ["c1"]

    async def test_a_failed_poll_leaves_a_row_with_its_reason(self, line: Line) -> None:
        line.store.inject("status", status=500)
        await line.run()
        (run,) = await line.rows(poll_runs)
        assert (run.outcome, run.error_code == (await store_row(line)).last_error_code) == ("later", True)

    async def test_a_blocked_address_is_ours_and_no_failure_of_the_store(self, line: Line) -> None:
        await change(line, integrations, settings={"base_url": "http://10.1.2.3:8080/x", "allow_http": True})
        report = await line.run()
        assert (report["integrations"][0]["outcome"], (await store_row(line)).failures) == ("ours", 0)


class TestOthersGoOn:
    async def test_one_failing_store_of_many_does_not_stop_the_others(self, line: Line) -> None:
        for number in range(1, 5):
            await add_store(line, f"s{number}")
            line.store.add_cart(f"s{number}", f"x{number}", NOON - 45 * MINUTE)
        line.store.inject("status", status=500, match="/s0/", times=99)
        refuse(line, tenant="s1")
        line.store.inject("truncated", match="/s2/", times=99)
        report = await line.run()
        assert (report["polls_failed"], line.effects()) == (3, ["x3", "x4"])

    async def test_our_own_bug_leaves_its_lease_to_run_out_and_the_others_go_on(self, line: Line) -> None:
        await add_store(line, "s1")
        line.store.add_cart("s1", "x", NOON - 45 * MINUTE)
        broken = {integrations.c.id == line.integration}
        async with line.world.database.work() as tx:
            await tx.execute(integrations.update().where(*broken).values(credentials_sealed=b"damaged"))
        report = await line.run()
        row = await store_row(line)
        outcomes = {part["integration_id"]: part["outcome"] for part in report["integrations"]}
        assert (outcomes[line.integration], line.effects()) == ("bug", ["x"])
        assert (row.lease_expires_at, row.claims, row.failures) == (NOON + 9 * SECOND, 1, 0)  # nine tenths of the lease

    async def test_a_store_that_always_meets_our_bug_is_left_alone_in_the_end(self, line: Line) -> None:
        await change(line, integrations, credentials_sealed=b"damaged")
        for _ in range(MOST_CLAIMS + 2):
            await line.run()
            line.clock.move(seconds=11)
        status = await line.engine.poller.status()
        assert (await store_row(line)).claims == MOST_CLAIMS
        assert "Left alone" in status["integrations"][0]["state_in_words"]

    async def test_a_bug_makes_the_run_fail(self, line: Line) -> None:
        await change(line, integrations, credentials_sealed=b"damaged")
        assert not (await line.run())["ok"]

    async def test_a_poll_whose_lease_was_taken_changes_nothing(self, line: Line) -> None:
        line.add("c1", 45)

        async def taken() -> None:
            await change(line, integrations, lease_token="another")

        report = await doing_at(line, "page_fetched", taken).poller.run_once()
        row = await store_row(line)
        assert (report["integrations"][0]["outcome"], row.watermark, row.polls, line.effects()) == (
            "lease_lost",
            None,
            0,
            [],
        )

    async def test_a_pause_in_mid_poll_stands(self, line: Line) -> None:
        line.add("c1", 45)

        async def pause() -> None:
            await change(line, integrations, status="paused", pause_reason="paused by operator", lease_token=None)

        await doing_at(line, "page_fetched", pause).poller.run_once()
        assert (await store_row(line)).status == "paused"


async def test_a_slow_store_holds_up_no_other(line: Line) -> None:
    await add_store(line, "s1")
    line.store.add_cart("s1", "x", NOON - 45 * MINUTE)
    order: list[Any] = []
    line.store.inject("slow", match="/s0/", seconds=0.3)
    with structlog.testing.capture_logs() as logs:
        await line.run()
    order = [entry["integration_id"] for entry in logs if entry["event"] == "poll.finished"]
    assert order[-1] == line.integration
