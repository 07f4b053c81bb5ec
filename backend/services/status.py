"""What `GET /polling/status` says: workers, the last cycle, each store's watermark against its objective."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database
from backend.services.integration_words import integration_words
from backend.services.reports import CycleFacts, cycle_report, iso
from backend.store.cycles import CycleStore, InstallationStore
from backend.store.status import StatusStore
from backend.store.work import Scope

ALIVE = timedelta(seconds=15)


class PollingStatus:
    """Read-only answers about polling."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        # Set by the process that runs, or could not run, the background loops.
        self.loops_here = False
        self.loops_note = "this process does not run the background loops"

    async def report(self, scope: Scope, company_id: str | None, *, is_wanted: bool, interval: int) -> dict[str, Any]:
        """Return the status as the API gives it."""
        now = self._clock.now()
        async with self._database.overview() as tx:
            cycles = await CycleStore(tx).latest(1, "beat")
            counts = await CycleStore(tx).counts([row.id for row in cycles], company_id)
            totals = await CycleStore(tx).totals(company_id)
            workers = await InstallationStore(tx).workers()
            store = StatusStore(tx, company_id)
            integrations = await store.integrations(scope)
            deliveries = await store.deliveries(now)
        last = cycles[0] if cycles else None
        next_beat = last.started_at + timedelta(seconds=interval) if last is not None and is_wanted else None
        facts = CycleFacts(last.id, last.kind, last.started_at, last.finished_at) if last is not None else None
        return {
            "running": is_wanted,
            "interval_seconds": interval,
            "last_beat_at": iso(last.started_at) if last is not None else None,
            "next_beat_at": iso(max(next_beat, now)) if next_beat is not None else None,
            "last_cycle": cycle_report(facts, [tally for _, _, tally in counts]) if facts else None,
            "totals": totals,
            "workers": [_worker(row, now) for row in workers],
            "loops_here": self.loops_here,
            "loops_note": self.loops_note,
            "integrations": [self._integration(row, now, interval) for row in integrations],
            "deliveries": deliveries,
        }

    def _integration(self, row: Any, now: datetime, interval: int) -> dict[str, Any]:
        period = max(row.poll_interval_seconds or interval, interval)
        objective = timedelta(seconds=2 * period + 120)
        age = now - row.watermark if row.watermark is not None else None
        return {
            "company_id": row.company_id,
            "company": row.company_name,
            "agent": row.agent_name,
            "integration_id": row.id,
            "name": row.name,
            "platform": row.platform,
            "is_mock": row.platform == "mock",
            "status": row.status,
            "state_in_words": integration_words(row, now, objective),
            "watermark": iso(row.watermark),
            "watermark_age_seconds": round(age.total_seconds()) if age is not None else None,
            "objective_seconds": round(objective.total_seconds()),
            "is_behind": age is not None and age > objective,
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
        "started_at": iso(row.started_at),
        "seen_at": iso(row.seen_at),
        "alive": now - row.seen_at < ALIVE,
    }
