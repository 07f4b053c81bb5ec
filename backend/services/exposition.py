"""`/metrics`: this process's own figures and what the database tells of the whole installation, as Prometheus reads it.

What comes from the database is the same from every process that is asked; alert on it with `max`, not `sum`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database, Transaction
from backend.domain.health import WORKER_ALIVE, Kind, Outlook, destination_troubles, objective, read_up_to
from backend.domain.lanes import LANE_NAMES
from backend.domain.work import COUNTS, Scope, Tally
from backend.errors import Unavailable
from backend.services.metrics import MOST_CURRENCIES, Metrics
from backend.services.watch import attended, installation_troubles
from backend.store.alerts import AlertStore
from backend.store.cycles import CycleStore, InstallationStore
from backend.store.gauges import GaugeStore, Stock
from backend.store.status import Queue, StatusStore
from backend.store.work import MOST_CLAIMS

log = structlog.get_logger()

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Seconds that what was read stays good: the state of affairs, and the counts of all that is stored.
FRESH, STOCK_FRESH = 3.0, 60.0
TROUBLES = ("no_worker", *(what for lane in LANE_NAMES for what in (f"no_worker_for_{lane}", f"lane_{lane}_behind")))
STAGES = ("total", "poll", "fetch", "save", "deliver")

# name -> (labels, meaning)
GAUGES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "cart_database_up": ((), "1 when the database answered; 0 and no other figure of the installation when not."),
    "cart_polling_wanted": ((), "1 while polling is wanted."),
    "cart_polling_interval_seconds": ((), "Seconds between two beats."),
    "cart_deliveries_held": ((), "1 while all deliveries are on hold after a restore."),
    "cart_workers_alive": ((), "Processes that run the loops and signed in within 15 seconds."),
    "cart_installation_trouble": (("trouble",), "1 for what is wrong with the whole installation now."),
    "cart_lane_due": (
        ("lane",),
        "Rows that are due now and nobody holds; up to 10,000 of each company or destination.",
    ),
    "cart_lane_oldest_seconds": (("lane",), "How long the oldest due row has waited."),
    "cart_lane_leases": (("lane",), "Stores, carts and destinations that workers hold."),
    "cart_lane_pending": (("lane",), "Rows that wait for their time, the due ones among them."),
    "cart_alerts_open": (("kind",), "Open alerts."),
    "cart_integrations": (("status",), "Stores by status."),
    "cart_integrations_behind": ((), "Stores that should be polled and whose watermark is older than its objective."),
    "cart_watermark_age_seconds": ((), "Age of the oldest watermark of the stores that are behind; 0 when none is."),
    "cart_destinations": (("status",), "Destinations by status."),
    "cart_destinations_failing": ((), "Destinations with a run of failures, or disabled by their partner."),
    "cart_companies": (("status",), "Companies by status."),
    "cart_agents": (("status",), "Agents by status."),
    "cart_carts_stored": (("state",), "Carts by state."),
    "cart_deliveries": (("state",), "Deliveries by state."),
    "cart_quarantine_open": ((), "Records that could not be read and are not settled."),
    "cart_value": (("currency", "what"), "Value of stored carts that were handed_off, and that were recovered."),
    "cart_last_cycle_started_timestamp_seconds": ((), "When the last finished cycle began."),
    "cart_last_cycle_agents_found": ((), "Agents found by the last finished cycle."),
    "cart_last_cycle_platforms_processed": (("platform",), "1 for each platform that the last finished cycle polled."),
    "cart_last_cycle_polls": (("outcome",), "Polls of the last finished cycle that succeeded and failed."),
    "cart_last_cycle_pages": ((), "Pages read in the last finished cycle."),
    "cart_last_cycle_carts": (
        ("what",),
        "Carts seen, new, changed, abandoned and excluded in the last finished cycle.",
    ),
    "cart_last_cycle_records_quarantined": ((), "Records that the last finished cycle could not read."),
    "cart_last_cycle_deliveries": (("what",), "Deliveries made, succeeded and failed, caused by the last cycle."),
    "cart_last_cycle_success_ratio": (("what",), "Share of polls and of delivery attempts that succeeded, 0 to 1."),
    "cart_last_cycle_recovery_value": (("currency",), "Value of the carts whose hand-off was allowed."),
    "cart_last_cycle_stage_seconds": (("stage",), "Time per stage, summed over stores; total is the cycle itself."),
}


class Sheet:
    """One set of gauges, filled step by step."""

    def __init__(self) -> None:
        self._families = {
            name: GaugeMetricFamily(name, words, labels=labels) for name, (labels, words) in GAUGES.items()
        }

    def put(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._families[name].add_metric(labels, float(value))

    def spread(self, name: str, values: Mapping[str, int]) -> None:
        """Set a gauge for each value of its one label."""
        for label, value in sorted(values.items()):
            self.put(name, value, label)

    def families(self) -> Iterable[Metric]:
        """Return them all, empty ones too."""
        return self._families.values()


class _Shown(Collector):
    """The gauges of this moment."""

    def __init__(self) -> None:
        self.sheet = Sheet()

    def collect(self) -> Iterable[Metric]:
        return self.sheet.families()


class Exposition:
    """Renders the metrics of one process. It has a registry of its own, so that several may live in one process."""

    def __init__(self, settings: Settings, database: Database, clock: Clock, metrics: Metrics) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._scope = Scope(settings.target_template_slug, settings.platforms)
        self._shown = _Shown()
        self._read_at = -FRESH
        self._stock: tuple[Stock, dict[str, int]] | None = None
        self._stock_at = -STOCK_FRESH
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self._shown)
        self._registry.register(metrics)
        ProcessCollector(registry=self._registry)

    async def render(self) -> bytes:
        """Return the page. A database that does not answer is one of the figures."""
        if time.monotonic() - self._read_at >= FRESH:
            self._shown.sheet = await self._read()
            self._read_at = time.monotonic()
        return generate_latest(self._registry)

    def families(self) -> Iterable[Metric]:
        """Return every metric there is, with what was last read."""
        return self._registry.collect()

    async def _read(self) -> Sheet:
        sheet, down = Sheet(), Sheet()
        down.put("cart_database_up", 0)
        try:
            async with self._database.overview() as tx:
                await self._put_state(tx, sheet)
                await self._put_cycle(tx, sheet)
                await self._put_stock(tx, sheet)
        except Unavailable as error:
            log.warning("metrics.database_failed", problem=str(error))
            return down
        except Exception:  # lost in mid-query, or our bug: whoever watches must hear of it from here
            log.exception("metrics.database_failed")
            return down
        sheet.put("cart_database_up", 1)
        return sheet

    async def _put_state(self, tx: Transaction, sheet: Sheet) -> None:
        now, installation = self._clock.now(), InstallationStore(tx)
        state = await installation.state()
        interval = state.interval_seconds if state else self._settings.polling_interval
        outlook = Outlook(now, state.changed_at if state and state.is_wanted else None, interval, MOST_CLAIMS)
        workers = await installation.workers()
        queues = await StatusStore(tx, None).queues(self._scope, now)
        sheet.put("cart_polling_wanted", outlook.wanted_since is not None)
        sheet.put("cart_polling_interval_seconds", interval)
        sheet.put("cart_deliveries_held", state is not None and state.hold_reason is not None)
        sheet.put("cart_workers_alive", sum(row.runs_loops and now - row.seen_at < WORKER_ALIVE for row in workers))
        for queue in queues:
            _put_queue(sheet, queue, outlook)
        found = {name for name, _ in installation_troubles(queues, outlook, attended=attended(workers, now))}
        for name in TROUBLES:
            sheet.put("cart_installation_trouble", name in found, name)
        await self._put_alerts(tx, sheet, outlook)

    async def _put_alerts(self, tx: Transaction, sheet: Sheet, outlook: Outlook) -> None:
        store = AlertStore(tx)
        sheet.spread("cart_alerts_open", dict.fromkeys(Kind, 0) | await store.counts())
        sheet.spread("cart_integrations", await GaugeStore(tx).integrations())
        ages = _late_ages(await store.stores(self._scope, outlook.now, outlook.interval), outlook)
        sheet.put("cart_integrations_behind", len(ages))
        sheet.put("cart_watermark_age_seconds", max(ages, default=timedelta(0)).total_seconds())
        failing = sum(bool(destination_troubles(row)) for row in await store.destinations(outlook.now))
        sheet.put("cart_destinations_failing", failing)

    async def _put_cycle(self, tx: Transaction, sheet: Sheet) -> None:
        cycle = await GaugeStore(tx).last_finished()
        if cycle is None:
            return
        total = Tally()
        for _cycle, _company, tally in await CycleStore(tx).counts([cycle.id]):
            total.merge(tally)
        sheet.put("cart_last_cycle_started_timestamp_seconds", cycle.started_at.timestamp())
        seconds = {stage: total.counts[f"{stage}_ms"] / 1000 for stage in STAGES[1:]}
        seconds["total"] = (cycle.finished_at - cycle.started_at).total_seconds()
        for stage in STAGES:
            sheet.put("cart_last_cycle_stage_seconds", seconds[stage], stage)
        _put_tally(sheet, total)

    async def _put_stock(self, tx: Transaction, sheet: Sheet) -> None:
        if self._stock is None or time.monotonic() - self._stock_at >= STOCK_FRESH:
            store = GaugeStore(tx)
            self._stock = (await store.stock(), await store.pending(self._scope))
            self._stock_at = time.monotonic()
        stock, pending = self._stock
        sheet.spread("cart_lane_pending", pending)
        sheet.spread("cart_carts_stored", stock.carts)
        sheet.spread("cart_deliveries", stock.deliveries)
        sheet.spread("cart_destinations", stock.destinations)
        sheet.spread("cart_companies", stock.companies)
        sheet.spread("cart_agents", stock.agents)
        sheet.put("cart_quarantine_open", stock.quarantined)
        shown = sorted({currency for currency, _ in stock.value})[:MOST_CURRENCIES]
        for (currency, what), amount in sorted(stock.value.items()):
            if currency in shown:
                sheet.put("cart_value", float(amount), currency, what)


def _put_queue(sheet: Sheet, queue: Queue, outlook: Outlook) -> None:
    waited = (outlook.now - queue.oldest_at).total_seconds() if queue.oldest_at else 0
    sheet.put("cart_lane_due", queue.due, queue.lane)
    sheet.put("cart_lane_oldest_seconds", max(waited, 0), queue.lane)
    sheet.put("cart_lane_leases", queue.leased, queue.lane)


def _put_tally(sheet: Sheet, total: Tally) -> None:
    counts = {name: total.counts[name] for name in COUNTS}
    sheet.put("cart_last_cycle_agents_found", counts["agents_found"])
    sheet.put("cart_last_cycle_pages", counts["pages"])
    sheet.put("cart_last_cycle_records_quarantined", counts["records_quarantined"])
    for platform in sorted(total.platforms):
        sheet.put("cart_last_cycle_platforms_processed", 1, platform)
    for what in ("seen", "new", "changed", "abandoned", "excluded"):
        sheet.put("cart_last_cycle_carts", counts[f"carts_{what}"], what)
    sheet.put("cart_last_cycle_deliveries", counts["deliveries_made"], "made")
    for name, gauge in (("polls", "cart_last_cycle_polls"), ("deliveries", "cart_last_cycle_deliveries")):
        good, bad = counts[f"{name}_succeeded"], counts[f"{name}_failed"]
        sheet.put(gauge, good, "succeeded")
        sheet.put(gauge, bad, "failed")
        if good + bad:
            sheet.put("cart_last_cycle_success_ratio", good / (good + bad), name)
    for currency, amount in sorted(total.value.items())[:MOST_CURRENCIES]:
        sheet.put("cart_last_cycle_recovery_value", float(amount), currency)


def _late_ages(rows: Iterable[Any], outlook: Outlook) -> list[timedelta]:
    """Return how old the watermarks are that are older than their objective, of stores that should be polled."""
    ages = []
    for row in rows:
        age = outlook.now - (read_up_to(row) or row.created_at)
        is_polled = row.is_watched and row.status == "active"
        if is_polled and age > objective(row.poll_interval_seconds, outlook.interval):
            ages.append(age)
    return ages
