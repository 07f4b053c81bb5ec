"""What `/metrics` says: every figure of the cycle report, the queues, the stock, and what this process counted."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database
from backend.domain.health import Kind
from backend.domain.work import Tally
from backend.errors import SetupProblem
from backend.models import alerts, deliveries, integrations
from backend.services.exposition import Exposition
from backend.services.metrics import Metrics
from backend.services.metrics_server import metrics_server
from backend.services.watch import Watch
from tests.services.acts import change, poll
from tests.services.line import Line

SECONDS = {"total": 0.2, "fetch": 0.15, "save": 0.03}


def exposition_of(line: Line, metrics: Metrics | None = None) -> Exposition:
    return Exposition(line.base.settings, line.base.database, line.clock, metrics or Metrics())


async def figures(exposition: Exposition) -> dict[str, float]:
    """Return every sample by its name and labels, written as Prometheus writes them: `name{label}`."""
    text = (await exposition.render()).decode()
    return {
        sample.name + (f"{{{','.join(sample.labels.values())}}}" if sample.labels else ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class TestLastCycle:
    @pytest.fixture
    async def shown(self, line: Line) -> dict[str, float]:
        line.add("c1", minutes_ago=60, total="25.00")
        line.add("c2", minutes_ago=1, total="10.00")
        await line.run()
        return await figures(exposition_of(line))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("cart_last_cycle_agents_found", 1),
            ("cart_last_cycle_platforms_processed{custom}", 1),
            ("cart_last_cycle_polls{succeeded}", 1),
            ("cart_last_cycle_polls{failed}", 0),
            ("cart_last_cycle_pages", 1),
            ("cart_last_cycle_carts{seen}", 2),
            ("cart_last_cycle_carts{new}", 2),
            ("cart_last_cycle_carts{changed}", 0),
            ("cart_last_cycle_carts{abandoned}", 1),
            ("cart_last_cycle_deliveries{made}", 1),
            ("cart_last_cycle_deliveries{succeeded}", 1),
            ("cart_last_cycle_deliveries{failed}", 0),
            ("cart_last_cycle_success_ratio{polls}", 1),
            ("cart_last_cycle_success_ratio{deliveries}", 1),
            ("cart_last_cycle_recovery_value{USD}", 25),
        ],
    )
    async def test_a_figure_of_the_report_is_shown(self, shown: dict[str, float], name: str, value: float) -> None:
        assert shown[name] == value

    @pytest.mark.parametrize("stage", ["total", "poll", "fetch", "save", "deliver"])
    async def test_the_time_of_each_stage_is_shown(self, shown: dict[str, float], stage: str) -> None:
        assert shown[f"cart_last_cycle_stage_seconds{{{stage}}}"] >= 0

    async def test_every_count_of_a_cycle_has_its_figure(self, shown: dict[str, float], line: Line) -> None:
        report = await line.run()
        names = {name.partition("{")[0].removeprefix("cart_last_cycle_") for name in shown}
        missing = {
            name for name, value in report.items()
            if isinstance(value, int) and name not in names and name.partition("_")[0] not in names
        }  # fmt: skip
        assert missing == {"ok", "integrations_polled"}  # both are told by the polls and their outcomes

    async def test_before_the_first_cycle_there_is_none(self, line: Line) -> None:
        assert not [name for name in await figures(exposition_of(line)) if "last_cycle" in name]


class TestInstallation:
    async def test_queues_are_shown_with_the_age_of_the_oldest_row(self, line: Line) -> None:
        line.add("c1", minutes_ago=20)
        await line.engine.poller.start(30)
        await poll(line)
        line.clock.move(minutes=12)
        shown = await figures(exposition_of(line))
        assert {
            lane: (shown[f"cart_lane_due{{{lane}}}"], shown[f"cart_lane_oldest_seconds{{{lane}}}"])
            for lane in ("polls", "sweep", "deliveries")
        } == {"polls": (1, 690), "sweep": (1, 150), "deliveries": (0, 0)}
        assert (shown["cart_lane_pending{sweep}"], shown["cart_lane_pending{polls}"]) == (1, 1)

    async def test_what_workers_hold_is_shown(self, line: Line) -> None:
        await change(line, integrations, lease_token="t", lease_expires_at=line.clock.now() + timedelta(seconds=10))
        assert (await figures(exposition_of(line)))["cart_lane_leases{polls}"] == 1

    async def test_a_stuck_store_is_shown(self, line: Line) -> None:
        await line.engine.poller.start(30)
        await poll(line)
        line.clock.move(seconds=200)
        metrics = Metrics()
        await Watch(line.base.settings, line.base.database, line.clock, metrics).look()
        shown = await figures(exposition_of(line, metrics))
        assert shown["cart_alerts_open{not_advancing}"] == 1
        assert shown["cart_alerts_opened_total{not_advancing}"] == 1
        assert (shown["cart_integrations_behind"], shown["cart_watermark_age_seconds"]) == (1, 260)
        assert shown["cart_installation_trouble{no_worker}"] == 1

    async def test_an_installation_in_order_shows_zeroes_rather_than_nothing(self, line: Line) -> None:
        shown = await figures(exposition_of(line))
        assert [shown[f"cart_alerts_open{{{kind}}}"] for kind in Kind] == [0] * len(Kind)
        assert (shown["cart_integrations_behind"], shown["cart_workers_alive"]) == (0, 0)

    async def test_value_is_shown_per_currency_as_handed_off_and_as_recovered(self, line: Line) -> None:
        line.add("c1", minutes_ago=60, total="25.00")
        line.add("c2", minutes_ago=60, total="1000.00", currency="JPY")
        await line.run()
        line.clock.move(minutes=1)
        line.store.complete("s0", "c1", line.clock.now())
        await line.run()
        shown = await figures(exposition_of(line))
        values = {name: value for name, value in shown.items() if name.startswith("cart_value")}
        assert values == {
            "cart_value{USD,handed_off}": 25, "cart_value{USD,recovered}": 25, "cart_value{JPY,handed_off}": 1000,
        }  # fmt: skip
        assert (shown["cart_carts_stored{recovered}"], shown["cart_deliveries{delivered}"]) == (1, 2)

    async def test_no_label_names_a_company_or_a_person(self, line: Line) -> None:
        line.add("c1", minutes_ago=60)
        await line.run()
        await change(line, deliveries, state="dead", finished_at=line.clock.now())
        await Watch(line.base.settings, line.base.database, line.clock, Metrics()).look()
        assert len(await line.rows(alerts)) == 1
        page = (await exposition_of(line).render()).decode()
        assert [word for word in (line.company, "Acme", line.integration, "@", "s0") if word in page] == []

    async def test_a_database_that_is_down_is_a_figure(self, tmp_path: Any) -> None:
        settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/no-tables.db")
        database = Database(settings)
        shown = await figures(Exposition(settings, database, Clock(), Metrics()))
        await database.close()
        assert shown["cart_database_up"] == 0
        assert "cart_polling_wanted" not in shown

    async def test_a_database_that_answers_is_one_too(self, line: Line) -> None:
        assert (await figures(exposition_of(line)))["cart_database_up"] == 1

    async def test_the_process_itself_is_shown(self, line: Line) -> None:
        shown = await figures(exposition_of(line))
        assert shown["process_resident_memory_bytes"] > 0
        assert shown["process_open_fds"] > 0

    async def test_two_pages_in_one_process_do_not_mix(self, line: Line) -> None:
        first, second = Metrics(), Metrics()
        first.poll_finished("ok", SECONDS)
        assert "cart_polls_total{ok}" not in await figures(exposition_of(line, second))
        assert (await figures(exposition_of(line, first)))["cart_polls_total{ok}"] == 1


class TestProcess:
    async def test_polls_are_counted_by_outcome_and_timed_by_stage(self, line: Line) -> None:
        metrics = Metrics()
        for outcome in ("ok", "ok", "later"):
            metrics.poll_finished(outcome, SECONDS)
        shown = await figures(exposition_of(line, metrics))
        assert (shown["cart_polls_total{ok}"], shown["cart_polls_total{later}"]) == (2, 1)
        assert shown["cart_poll_seconds_count{fetch}"] == 3
        assert shown["cart_poll_seconds_sum{total}"] == pytest.approx(0.6)
        assert (shown["cart_poll_seconds_bucket{0.1,fetch}"], shown["cart_poll_seconds_bucket{0.25,fetch}"]) == (0, 3)

    async def test_attempts_are_counted_by_outcome_and_timed(self, line: Line) -> None:
        metrics = Metrics()
        metrics.attempt("delivered", 0.05)
        metrics.attempt("timeout", 400)
        shown = await figures(exposition_of(line, metrics))
        assert (shown["cart_attempts_total{delivered}"], shown["cart_attempts_total{timeout}"]) == (1, 1)
        buckets = [shown[f"cart_attempt_seconds_bucket{{{bound}}}"] for bound in ("0.025", "0.05", "300.0", "+Inf")]
        assert buckets == [0, 1, 1, 2]

    async def test_what_polls_came_to_is_counted(self, line: Line) -> None:
        metrics, tally = Metrics(), Tally()
        tally.counts.update({"carts_seen": 5, "carts_new": 2, "pages": 1, "records_quarantined": 1, "poll_ms": 9})
        tally.add_value("USD", Decimal("12.50"))
        metrics.count(tally)
        metrics.count(tally)
        shown = await figures(exposition_of(line, metrics))
        assert (shown["cart_carts_total{seen}"], shown["cart_carts_total{new}"], shown["cart_pages_total"]) == (
            10,
            4,
            2,
        )
        assert (shown["cart_recovery_value_total{USD}"], shown["cart_records_quarantined_total"]) == (25, 2)

    async def test_currencies_that_a_store_makes_up_come_to_an_end(self, line: Line) -> None:
        metrics = Metrics()
        for number in range(100):
            tally = Tally()
            tally.add_value(f"{number:03}", Decimal(1))
            metrics.count(tally)
        shown = await figures(exposition_of(line, metrics))
        assert len([name for name in shown if name.startswith("cart_recovery_value_total")]) == 40


class TestServer:
    async def test_a_process_without_web_serves_its_figures(self, line: Line) -> None:
        async with metrics_server(exposition_of(line), "127.0.0.1", 0) as port, httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{port}/metrics")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert "cart_database_up 1.0" in answer.text

    async def test_it_serves_nothing_else(self, line: Line) -> None:
        async with metrics_server(exposition_of(line), "127.0.0.1", 0) as port, httpx.AsyncClient() as client:
            found = [
                (await client.request(method, f"http://127.0.0.1:{port}{path}")).status_code
                for method, path in (("GET", "/"), ("POST", "/metrics"), ("GET", "/metrics/x"))
            ]
        assert found == [404, 404, 404]

    async def test_one_that_never_asks_does_no_harm(self, line: Line) -> None:
        async with metrics_server(exposition_of(line), "127.0.0.1", 0) as port:
            _, silent = await asyncio.open_connection("127.0.0.1", port)
            silent.write(b"x" * 100_000)
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://127.0.0.1:{port}/metrics")).status_code == 200
            silent.close()

    async def test_a_port_that_is_taken_is_named(self, line: Line) -> None:
        async with metrics_server(exposition_of(line), "127.0.0.1", 0) as port:
            with pytest.raises(SetupProblem, match=f"METRICS_PORT: 127.0.0.1:{port}"):
                async with metrics_server(exposition_of(line), "127.0.0.1", port):
                    pass
