"""What `GET /polling/status` says: workers, the last cycle, each store's watermark against its objective."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database
from backend.domain.health import (
    STUCK_KINDS,
    WORKER_ALIVE,
    Kind,
    Outlook,
    lane_limit,
    objective,
    read_up_to,
    store_trouble,
)
from backend.domain.work import Scope
from backend.services.alerts import alert_row
from backend.services.fleet_words import fleet_words
from backend.services.held import held_words
from backend.services.integration_words import integration_words
from backend.services.reports import CycleFacts, cycle_report, iso
from backend.services.watch import attended, installation_troubles
from backend.store.alerts import AlertStore
from backend.store.cycles import CycleStore, InstallationStore
from backend.store.status import Queue, StatusStore
from backend.store.work import MOST_CLAIMS

ALERTS_SHOWN = 50
NAMED = 5  # stuck stores that the summary names
# Who sees some companies only is told nothing of hosts and processes.
OWN_ONLY: Mapping[str, Any] = {"workers": [], "loops_note": "", "fleet": None}


class PollingStatus:
    """Read-only answers about polling."""

    def __init__(
        self, settings: Settings, database: Database, clock: Clock, budgets: Callable[[], Awaitable[str]]
    ) -> None:
        self._settings = settings
        self._budgets = budgets  # looks where they are kept at this moment
        self._database = database
        self._clock = clock
        # Set by the process that runs, or could not run, the background loops.
        self.loops_here = False
        self.loops_note = "this process does not run the background loops"

    async def report(
        self, scope: Scope, only: frozenset[str] | None, *, is_wanted: bool, interval: int
    ) -> dict[str, Any]:
        """Return the status as the API gives it: of the companies in `only`, None for the whole installation."""
        now, budgets = self._clock.now(), await self._budgets()
        async with self._database.seeing(only) as tx:
            cycles = await CycleStore(tx).latest(1, "beat")
            counts = await CycleStore(tx).counts([row.id for row in cycles], only)
            totals = await CycleStore(tx).totals(only)
            workers = await InstallationStore(tx).workers()
            installation = await InstallationStore(tx).state()
            store = StatusStore(tx, only)
            integrations = await store.integrations(scope)
            deliveries = await store.deliveries(now)
            queues = await store.queues(scope, now)
            open_ones = await AlertStore(tx).listed(only, is_open=True, limit=ALERTS_SHOWN)
            alert_counts = await AlertStore(tx).counts(only)
        last = cycles[0] if cycles else None
        next_beat = last.started_at + timedelta(seconds=interval) if last is not None and is_wanted else None
        facts = CycleFacts(last.id, last.kind, last.started_at, last.finished_at) if last is not None else None
        outlook = Outlook(now, installation.changed_at if installation and is_wanted else None, interval, MOST_CLAIMS)
        stores = [self._integration(row, outlook) for row in integrations]
        troubles = dict(installation_troubles(queues, outlook, attended=attended(workers, now)))
        return {
            "running": is_wanted,
            "summary": _summary(stores, outlook, troubles, alert_counts),
            "interval_seconds": interval,
            "last_beat_at": iso(last.started_at) if last is not None else None,
            "next_beat_at": iso(max(next_beat, now)) if next_beat is not None else None,
            "last_cycle": cycle_report(facts, [tally for _, _, tally in counts]) if facts else None,
            "totals": totals,
            "loops_here": self.loops_here,
            "lanes": [_lane(queue, outlook) for queue in queues],
            "alerts": [alert_row(row) for row in open_ones],
            "alerts_open": sum(alert_counts.values()),
            "integrations": stores,
            "deliveries": deliveries,
            "deliveries_held": held_words(installation, is_whole=only is None),
            **(OWN_ONLY if only is not None else self._of_installation(workers, budgets, now)),
        }

    def _of_installation(self, workers: Sequence[Any], budgets: str, now: datetime) -> dict[str, Any]:
        """Return what is told of the processes, to those only whose grant covers all companies."""
        return {
            "workers": [_worker(row, now) for row in workers],
            "loops_note": self.loops_note,
            "fleet": fleet_words(workers, budgets, now, WORKER_ALIVE),
        }

    def _integration(self, row: Any, outlook: Outlook) -> dict[str, Any]:
        now, allowed = outlook.now, objective(row.poll_interval_seconds, outlook.interval)
        read = read_up_to(row)
        age = now - read if read is not None else None
        # Whether an old watermark that is read again and again stands still is what the watch found out.
        is_known = row.alert_kind == Kind.NOT_ADVANCING
        trouble = store_trouble(row, outlook, moves=row.alert_kind is None, is_known=is_known)
        is_stuck = trouble in STUCK_KINDS
        return {
            "company_id": row.company_id,
            "company": row.company_name,
            "agent": row.agent_name,
            "integration_id": row.id,
            "name": row.name,
            "platform": row.platform,
            "is_mock": row.platform == "mock",
            "status": row.status,
            "state_in_words": integration_words(row, now, allowed, trouble if is_stuck else None),
            "watermark": iso(row.watermark),
            "watermark_age_seconds": round(age.total_seconds()) if age is not None else None,
            "objective_seconds": round(allowed.total_seconds()),
            "is_behind": age is not None and age > allowed,
            "is_stuck": is_stuck,
            "next_poll_at": iso(row.next_poll_at),
            "last_success_at": iso(row.last_success_at),
            "last_error": row.last_error,
            "remedy": row.last_remedy,
            "polls": row.polls,
            "empty_polls": row.empty_polls,
        }


def _worker(row: Any, now: datetime) -> dict[str, Any]:
    return {
        "id": row.id,
        "host": row.host,
        "pid": row.pid,
        "role": row.role,
        "runs_loops": row.runs_loops,
        "lanes": row.lanes.split(",") if row.lanes else [],
        "bell": row.bell,
        "started_at": iso(row.started_at),
        "seen_at": iso(row.seen_at),
        "alive": now - row.seen_at < WORKER_ALIVE,
    }


def _lane(queue: Queue, outlook: Outlook) -> dict[str, Any]:
    waited = outlook.now - queue.oldest_at if queue.oldest_at else timedelta(0)
    return {
        "lane": queue.lane,
        "due": queue.due,
        "oldest_due_seconds": max(round(waited.total_seconds()), 0),
        "leases": queue.leased,
        "is_behind": outlook.wanted_since is not None and waited > lane_limit(queue.lane, outlook.interval),
    }


def _summary(
    stores: list[dict[str, Any]], outlook: Outlook, troubles: dict[str, str], alert_counts: dict[str, int]
) -> str:
    """Return how polling stands as a whole, in words."""
    if outlook.wanted_since is None:
        return "Polling is stopped: nothing is polled, and nothing is stuck."
    stuck, count = [store["name"] for store in stores if store["is_stuck"]], len(stores)
    said = [f"Polling is wanted for {count} {'store' if count == 1 else 'stores'}."]
    said.extend(troubles.values())
    if stuck:
        named = ", ".join(stuck[:NAMED]) + (", ..." if len(stuck) > NAMED else "")
        said.append(f"Stuck: {len(stuck)} of them ({named}).")
    elif count and not troubles:
        said.append("None of them is stuck.")
    if alerts := sum(alert_counts.values()):
        said.append(f"{alerts} {'alert is' if alerts == 1 else 'alerts are'} open.")
    return " ".join(said)
