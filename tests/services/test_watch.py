"""Stuck is visible: a store that should advance and does not is told within one objective, once, and until it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import structlog

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database
from backend.models import alerts, deliveries, destinations, integrations
from backend.services.metrics import Metrics
from backend.services.watch import Movements, Watch
from backend.store.cycles import InstallationStore
from backend.store.work import MOST_CLAIMS
from tests.factories import make_agent, make_company, make_destination
from tests.services.acts import add_store, change, poll
from tests.services.line import Line

OBJECTIVE = timedelta(seconds=180)
SECOND = timedelta(seconds=1)


def watch_of(line: Line, database: Database | None = None) -> Watch:
    """Return the watch of a process on the line's database."""
    return Watch(line.base.settings, database or line.base.database, line.clock, Metrics())


async def sign_in(line: Line, **fields: Any) -> None:
    """Let a worker say that it lives."""
    now = line.clock.now()
    row = {"id": "w1", "host": "h", "pid": 1, "role": "worker", "runs_loops": True, "started_at": now, "seen_at": now}
    async with line.base.database.work() as tx:
        await InstallationStore(tx).sign_in(row | fields)


async def begun(line: Line) -> Watch:
    """Want polling, poll the store once, and return a watch."""
    await line.engine.poller.start(30)
    await poll(line)
    return watch_of(line)


async def look_for(line: Line, watch: Watch, seconds: int, act: Callable[[], Any] | None = None) -> None:
    """Look every ten seconds for so long, doing something before each look."""
    for _ in range(seconds // 10):
        line.clock.move(seconds=10)
        if act is not None:
            await act()
        await watch.look()


async def open_alerts(line: Line) -> list[tuple[str, str]]:
    """Return (subject, kind) of the open alerts."""
    return sorted((row.subject_id, row.kind) for row in await line.rows(alerts, alerts.c.closed_at.is_(None)))


async def status(line: Line) -> Any:
    return await line.engine.poller.status()


class TestStores:
    async def test_a_store_that_nobody_polls_any_more_is_told_within_one_objective(self, line: Line) -> None:
        watch = await begun(line)
        stopped_at = line.clock.now()
        await look_for(line, watch, 180)
        (alert,) = await line.rows(alerts)
        assert (alert.subject, alert.subject_id, alert.kind) == ("integration", line.integration, "not_advancing")
        assert alert.opened_at - stopped_at <= OBJECTIVE

    async def test_a_store_that_is_polled_and_fails_is_told_within_one_objective(self, line: Line) -> None:
        watch = await begun(line)
        stopped_at = line.clock.now()
        line.store.tenants["s0"].refused = True
        await look_for(line, watch, 180, lambda: poll_now(line))
        (alert,) = await line.rows(alerts)
        assert alert.opened_at - stopped_at <= OBJECTIVE
        assert "Last error: " in alert.words

    async def test_a_store_that_is_polled_and_advances_is_never_told(self, line: Line) -> None:
        watch = await begun(line)
        await look_for(line, watch, 600, lambda: poll_now(line))
        assert await line.rows(alerts) == []

    async def test_a_store_that_never_was_polled_is_told_within_one_objective(self, line: Line) -> None:
        await line.engine.poller.start(30)
        began_at = line.clock.now()
        await look_for(line, watch_of(line), 190)
        (alert,) = await line.rows(alerts)
        assert alert.opened_at - began_at <= OBJECTIVE + 10 * SECOND
        assert "never read" in alert.words

    async def test_an_alert_ends_when_the_store_advances_again(self, line: Line) -> None:
        watch = await begun(line)
        await look_for(line, watch, 200)
        await poll(line)
        await watch.look()
        (alert,) = await line.rows(alerts)
        assert alert.closed_at == line.clock.now()

    @pytest.mark.parametrize(
        "values", [{"status": "paused", "pause_reason": "paused by operator"}, {"status": "inactive"}]
    )
    async def test_an_alert_ends_when_the_store_is_paused_or_removed(self, line: Line, values: dict[str, str]) -> None:
        watch = await begun(line)
        await look_for(line, watch, 200)
        await change(line, integrations, **values)
        await watch.look()
        assert await open_alerts(line) == []

    async def test_an_alert_ends_when_polling_is_stopped(self, line: Line) -> None:
        watch = await begun(line)
        await look_for(line, watch, 200)
        await line.engine.poller.stop()
        await watch.look()
        assert await open_alerts(line) == []

    async def test_stopping_and_starting_again_at_once_hides_no_trouble(self, line: Line) -> None:
        watch = await begun(line)
        await look_for(line, watch, 180)
        await line.engine.poller.stop()
        line.clock.move(seconds=1)
        await line.engine.poller.start(30)
        await watch.look()
        (store,) = (await status(line))["integrations"]
        assert (await open_alerts(line), store["is_stuck"]) == ([(line.integration, "not_advancing")], True)

    async def test_nothing_is_told_while_polling_is_not_wanted(self, line: Line) -> None:
        await line.run()
        await look_for(line, watch_of(line), 400)
        assert await line.rows(alerts) == []

    async def test_a_long_stop_is_not_held_against_a_store_when_polling_starts_again(self, line: Line) -> None:
        watch = await begun(line)
        await line.engine.poller.stop()
        line.clock.move(days=3)
        await line.engine.poller.start()
        await watch.look()
        assert await line.rows(alerts) == []

    @pytest.mark.parametrize(("claims", "kind"), [(4, "polls_without_result"), (MOST_CLAIMS, "left_alone")])
    async def test_polls_that_never_end_are_told_at_once(self, line: Line, claims: int, kind: str) -> None:
        watch = await begun(line)
        await change(line, integrations, claims=claims)
        await watch.look()
        assert await open_alerts(line) == [(line.integration, kind)]

    async def test_rejected_credentials_are_told_with_what_to_do(self, line: Line) -> None:
        watch = await begun(line)
        await change(line, integrations, status="paused", pause_reason="credentials_rejected")
        await watch.look()
        (alert,) = await line.rows(alerts)
        assert alert.kind == "credentials_rejected"
        assert "Save new credentials" in alert.words

    async def test_only_the_store_in_trouble_is_told(self, line: Line) -> None:
        other = await add_store(line, "other")
        watch = await begun(line)
        line.store.tenants["other"].refused = True
        await look_for(line, watch, 180, lambda: poll_now(line))
        assert await open_alerts(line) == [(other, "not_advancing")]

    async def test_answers_of_one_and_the_same_time_are_told(self, line: Line) -> None:
        watch = await begun(line)
        line.clock.move(seconds=200)
        await change(line, integrations, last_success_at=line.clock.now(), last_polled_at=line.clock.now())
        await watch.look()
        (alert,) = await line.rows(alerts)
        assert "carry the same time" in alert.words


async def poll_now(line: Line) -> None:
    """Poll what is due at this moment."""
    await line.engine.poller.ring("polls")


class TestMovements:
    ROW = type("Row", (), {"id": "i", "watermark": 1})

    def test_a_watermark_seen_once_tells_nothing(self, line: Line) -> None:
        moves, now = Movements(), line.clock.now()
        moves.note([self.ROW], now)
        assert moves.moves(self.ROW, now, OBJECTIVE) is None

    def test_one_that_stays_for_an_objective_does_not_move(self, line: Line) -> None:
        moves, now = Movements(), line.clock.now()
        for at in (now, now + OBJECTIVE):
            moves.note([self.ROW], at)
        assert moves.moves(self.ROW, now + OBJECTIVE, OBJECTIVE) is False

    def test_one_that_changed_moves(self, line: Line) -> None:
        moves, now = Movements(), line.clock.now()
        moves.note([self.ROW], now)
        later = type("Row", (), {"id": "i", "watermark": 2})
        moves.note([later], now + SECOND)
        assert moves.moves(later, now + 2 * SECOND, OBJECTIVE) is True


class TestManyProcesses:
    async def test_two_that_look_at_once_open_one_alert_and_log_it_once(self, line: Line) -> None:
        first = await begun(line)
        line.clock.move(seconds=200)
        database = Database(line.world.settings)
        with structlog.testing.capture_logs() as logs:
            await asyncio.gather(first.look(), watch_of(line, database).look())
        await database.close()
        assert [entry["event"] for entry in logs].count("alert.opened") == 1
        assert len(await line.rows(alerts)) == 1

    async def test_two_that_look_at_once_close_it_once(self, line: Line) -> None:
        first = await begun(line)
        await look_for(line, first, 200)
        await line.engine.poller.stop()
        database = Database(line.world.settings)
        with structlog.testing.capture_logs() as logs:
            await asyncio.gather(first.look(), watch_of(line, database).look())
        await database.close()
        assert [entry["event"] for entry in logs].count("alert.closed") == 1

    async def test_an_alert_that_lasts_stays_one_row_and_is_seen_again(self, line: Line) -> None:
        watch = await begun(line)
        await look_for(line, watch, 400)
        (alert,) = await line.rows(alerts)
        assert timedelta(0) <= line.clock.now() - alert.seen_at <= timedelta(seconds=60)
        assert alert.opened_at < alert.seen_at

    async def test_the_same_trouble_later_is_another_alert(self, line: Line) -> None:
        watch = await begun(line)
        await look_for(line, watch, 200)
        await poll(line)
        await watch.look()
        await look_for(line, watch, 200)
        assert [row.closed_at is None for row in sorted(await line.rows(alerts), key=lambda row: row.opened_at)] == [
            False,
            True,
        ]


class TestDestinations:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ({"status": "disabled", "status_reason": "it answered 410 Gone"}, "destination_gone"),
            ({"failures": 8}, "destination_failing"),
        ],
    )
    async def test_a_destination_in_trouble_is_told_and_ends_when_it_is_over(
        self, line: Line, values: dict[str, Any], kind: str
    ) -> None:
        watch = watch_of(line)
        await change(line, destinations, **values)
        await watch.look()
        assert await open_alerts(line) == [(line.destination, kind)]
        await change(line, destinations, status="active", failures=0)
        await watch.look()
        assert await open_alerts(line) == []

    async def test_a_delivery_that_was_given_up_is_told_for_a_day(self, line: Line) -> None:
        line.add("c1", minutes_ago=60)
        await line.run()
        await change(line, deliveries, state="dead", finished_at=line.clock.now())
        watch = watch_of(line)
        await watch.look()
        assert await open_alerts(line) == [(line.destination, "dead_letters")]
        line.clock.move(hours=25)
        await watch.look()
        assert await open_alerts(line) == []


class TestInstallation:
    async def looked(self, line: Line, watch: Watch) -> list[str]:
        with structlog.testing.capture_logs() as logs:
            await watch.look()
        return [f"{entry['event']} {entry['trouble']}" for entry in logs if "trouble" in entry]

    async def test_wanted_polling_without_a_worker_is_told_once(self, line: Line) -> None:
        watch = await begun(line)
        line.clock.move(seconds=31)
        assert await self.looked(line, watch) == ["installation.trouble no_worker"]
        assert await self.looked(line, watch) == []

    async def test_a_worker_that_comes_back_is_told(self, line: Line) -> None:
        watch = await begun(line)
        line.clock.move(seconds=31)
        await watch.look()
        await sign_in(line)
        assert await self.looked(line, watch) == ["installation.trouble_over no_worker"]

    async def test_a_process_that_only_serves_pages_is_no_worker(self, line: Line) -> None:
        watch = await begun(line)
        line.clock.move(seconds=31)
        await sign_in(line, runs_loops=False)
        assert await self.looked(line, watch) == ["installation.trouble no_worker"]

    async def test_a_lane_that_no_worker_works_on_is_told(self, line: Line) -> None:
        watch = await begun(line)
        line.clock.move(seconds=31)
        await sign_in(line, lanes="polls,sweep")
        assert await self.looked(line, watch) == ["installation.trouble no_worker_for_deliveries"]

    async def test_a_lane_whose_oldest_row_waits_for_minutes_is_told(self, line: Line) -> None:
        line.add("c1", minutes_ago=20)
        watch = await begun(line)
        line.clock.move(minutes=16)
        await sign_in(line)
        assert "installation.trouble lane_sweep_behind" in await self.looked(line, watch)

    async def test_a_destination_that_is_left_alone_holds_up_no_lane(self, line: Line) -> None:
        line.add("c1", minutes_ago=60)
        await line.engine.poller.start(30)
        await poll(line)
        now = line.clock.now()
        await change(line, destinations, held_until=now + timedelta(hours=1))
        line.clock.move(minutes=30)
        (lane,) = [lane for lane in (await status(line))["lanes"] if lane["lane"] == "deliveries"]
        assert (lane["due"], lane["is_behind"]) == (0, False)


class TestStatus:
    async def test_it_says_in_words_what_is_stuck(self, line: Line) -> None:
        watch = await begun(line)
        await look_for(line, watch, 200)
        await sign_in(line)
        told = await status(line)
        (store,) = told["integrations"]
        assert (store["is_stuck"], store["is_behind"], told["alerts_open"]) == (True, True, 1)
        assert store["state_in_words"].startswith("Stuck: read up to 4 min")
        assert told["summary"].startswith("Polling is wanted for 1 store. Stuck: 1 of them (")
        assert [alert["kind"] for alert in told["alerts"]] == ["not_advancing"]

    async def test_it_says_when_nothing_is_stuck(self, line: Line) -> None:
        watch = await begun(line)
        await sign_in(line)
        await watch.look()
        told = await status(line)
        assert told["summary"] == "Polling is wanted for 1 store. None of them is stuck."
        assert told["integrations"][0]["is_stuck"] is False

    async def test_it_says_that_no_worker_is_alive(self, line: Line) -> None:
        await begun(line)
        line.clock.move(seconds=31)
        assert "no worker is alive" in (await status(line))["summary"]

    async def test_it_says_that_nothing_is_stuck_while_stopped(self, line: Line) -> None:
        await line.run()
        line.clock.move(days=1)
        told = await status(line)
        assert told["summary"].startswith("Polling is stopped")
        assert told["integrations"][0]["is_stuck"] is False

    async def test_a_company_sees_its_own_alerts_only(self, line: Line) -> None:
        other = await make_company(line.world, "Other")
        agent = await make_agent(line.world, other)
        await make_destination(line.world, other, agent, "https://partner.example/hook", status="disabled")
        await watch_of(line).look()
        theirs = await line.engine.poller.status(frozenset({other}))
        ours = await line.engine.poller.status(frozenset({line.company}))
        assert ([alert["kind"] for alert in theirs["alerts"]], ours["alerts"]) == (["destination_gone"], [])
        assert (theirs["alerts_open"], ours["alerts_open"]) == (1, 0)

    async def test_lanes_tell_what_is_due_and_since_when(self, line: Line) -> None:
        line.add("c1", minutes_ago=20)
        await begun(line)
        line.clock.move(minutes=12)
        lanes = {lane["lane"]: (lane["due"], lane["oldest_due_seconds"]) for lane in (await status(line))["lanes"]}
        assert lanes == {"polls": (1, 690), "sweep": (1, 150), "deliveries": (0, 0)}


async def test_a_watch_that_runs_survives_a_look_that_fails(tmp_path: Any) -> None:
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/no-tables.db")
    database = Database(settings)
    with structlog.testing.capture_logs() as logs:
        async with Watch(settings, database, Clock(), Metrics()).running(every=0.01):
            async with asyncio.timeout(30):
                while [entry["event"] for entry in logs].count("watch.failed") < 2:  # noqa: ASYNC110  it tells nobody
                    await asyncio.sleep(0.01)
    await database.close()
