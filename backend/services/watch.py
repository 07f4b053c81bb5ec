"""The watch: looks at every store, destination, lane and worker, and tells who is stuck in a row, a line and a figure.

Every process may run one at the same time: an alert is opened and closed by whoever comes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database
from backend.domain.health import (
    WORKER_ALIVE,
    WORKERS_MISSED,
    Kind,
    Outlook,
    destination_troubles,
    lane_limit,
    objective,
    store_trouble,
)
from backend.domain.lanes import LANE_NAMES
from backend.domain.work import Scope
from backend.errors import Unavailable
from backend.services.integration_words import alert_words
from backend.services.metrics import Metrics
from backend.store.alerts import MOST_LOOKED_AT, UNTIL_FORGOTTEN, Alarm, AlertStore
from backend.store.cycles import InstallationStore
from backend.store.status import Queue, StatusStore
from backend.store.work import MOST_CLAIMS

log = structlog.get_logger()

LOOK_EVERY = 10.0  # seconds; a store's objective leaves at least a minute
SEEN_EVERY = timedelta(minutes=1)


class Movements:
    """Remembers the watermarks of stores that are late by their row, to tell a slow clock from a standstill."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[datetime | None, datetime, bool]] = {}

    def note(self, rows: Iterable[Any], now: datetime) -> None:
        """Take note of every late store's watermark, and forget the others'."""
        seen = {}
        for row in rows:
            before = self._seen.get(row.id)
            is_same = before is not None and before[0] == row.watermark
            seen[row.id] = before if before and is_same else (row.watermark, now, before is not None)
        self._seen = seen

    def moves(self, row: Any, now: datetime, allowed: timedelta) -> bool | None:
        """Whether a store's watermark moved lately; None before that can be known."""
        _, since, has_moved = self._seen.get(row.id, (None, now, False))
        if now - since >= allowed:
            return False
        return True if has_moved else None


@dataclass(frozen=True, slots=True)
class _Sight:
    """What one look saw."""

    outlook: Outlook
    stores: list[Any]
    destinations: list[Any]
    open_ones: list[Any]
    queues: list[Queue]
    attended: frozenset[str]


class Watch:
    """Looks, and raises and closes alerts. One per process."""

    def __init__(self, settings: Settings, database: Database, clock: Clock, metrics: Metrics) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._scope = Scope(settings.target_template_slug, settings.platforms)
        self._movements = Movements()
        self._told: set[str] = set()  # troubles of the installation that this process has logged

    @asynccontextmanager
    async def running(self, every: float = LOOK_EVERY) -> AsyncIterator[None]:
        """Look every so many seconds while the block lasts."""
        task = asyncio.create_task(self._run(every), name="watch")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            try:
                await self.look()
            except Unavailable as error:
                log.warning("watch.failed", problem=str(error))
            except Exception:  # our bug, or a connection lost in mid-query: the next look may see
                log.exception("watch.failed")

    async def look(self) -> None:
        """Look once: open, renew and close alerts, and log what concerns the whole installation."""
        sight = await self._see()
        now = sight.outlook.now
        wanted = {alarm.key: alarm for alarm in self._alarms(sight)}
        known = {(row.company_id, row.subject_id, row.kind): row for row in sight.open_ones}
        new = [alarm for key, alarm in wanted.items() if key not in known]
        gone = [row.id for key, row in known.items() if key not in wanted and _was_seen(row, sight)]
        again = {
            row.id: wanted[key].words
            for key, row in known.items()
            if key in wanted and (row.words != wanted[key].words or now - row.seen_at >= SEEN_EVERY)
        }
        if new or gone or again:
            await self._save(new, gone, again, now)
        self._tell_of_installation(sight)

    async def _see(self) -> _Sight:
        now = self._clock.now()
        async with self._database.overview() as tx:
            state = await InstallationStore(tx).state()
            interval = state.interval_seconds if state else self._settings.polling_interval
            wanted_since = state.changed_at if state and state.is_wanted else None
            store = AlertStore(tx)
            workers = await InstallationStore(tx).workers()
            return _Sight(
                outlook=Outlook(now, wanted_since, interval, MOST_CLAIMS),
                stores=await store.stores(self._scope, now, interval),
                destinations=await store.destinations(now),
                open_ones=await store.open_ones(),
                queues=await StatusStore(tx, None).queues(self._scope, now),
                attended=attended(workers, now),
            )

    def _alarms(self, sight: _Sight) -> Iterable[Alarm]:
        outlook, known = sight.outlook, {(row.company_id, row.subject_id, row.kind) for row in sight.open_ones}
        self._movements.note((row for row in sight.stores if row.is_watched and row.status == "active"), outlook.now)
        for row in sight.stores:
            allowed = objective(row.poll_interval_seconds, outlook.interval)
            moves = self._movements.moves(row, outlook.now, allowed)
            is_known = (row.company_id, row.id, Kind.NOT_ADVANCING.value) in known
            trouble = store_trouble(row, outlook, moves=moves, is_known=is_known) if row.is_watched else None
            if trouble is not None:
                words = alert_words(row, trouble, outlook.now, allowed)
                yield Alarm(row.company_id, "integration", row.id, trouble.value, words)
        for row in sight.destinations:
            for kind in destination_troubles(row):
                words = alert_words(row, kind, outlook.now, timedelta(0))
                yield Alarm(row.company_id, "destination", row.id, kind.value, words)

    async def _save(self, new: list[Alarm], gone: list[str], again: Mapping[str, str], now: datetime) -> None:
        async with self._database.work() as tx:
            store = AlertStore(tx)
            opened = await store.raise_all(new, now)
            closed = await store.close(gone, now)
            await store.see_again(again, now)
            if closed:
                await store.forget(now - UNTIL_FORGOTTEN)
        for row in opened:
            self._metrics.alert_opened(row.kind)
            log.error("alert.opened", **_told(row))
        for row in closed:
            self._metrics.alert_closed(row.kind)
            log.info("alert.closed", open_seconds=round((now - row.opened_at).total_seconds()), **_told(row))

    def _tell_of_installation(self, sight: _Sight) -> None:
        """Log once when a lane falls behind or nobody works, and once when that is over."""
        told = dict(installation_troubles(sight.queues, sight.outlook, attended=sight.attended))
        for name in sorted(told.keys() - self._told):
            log.error("installation.trouble", trouble=name, words=told[name])
        for name in sorted(self._told - told.keys()):
            log.info("installation.trouble_over", trouble=name)
        self._told = set(told)


def attended(workers: Iterable[Any], now: datetime) -> frozenset[str]:
    """Return the lanes that some process works on which signed in a moment ago; one that does not say works on all."""
    alive = [row for row in workers if row.runs_loops and now - row.seen_at < WORKER_ALIVE]
    return frozenset(lane for row in alive for lane in (row.lanes.split(",") if row.lanes else LANE_NAMES))


def installation_troubles(
    queues: Iterable[Queue], outlook: Outlook, *, attended: frozenset[str]
) -> Iterable[tuple[str, str]]:
    """Yield name and words of what is wrong with the whole installation; nothing while polling is not wanted."""
    now, since = outlook.now, outlook.wanted_since
    if since is None:
        return
    missed = [lane for lane in LANE_NAMES if lane not in attended] if now - since > WORKERS_MISSED else []
    if len(missed) == len(LANE_NAMES):
        yield "no_worker", "Polling is wanted, but no worker is alive: start one; the last one's end is in its log."
    else:
        for lane in missed:
            yield f"no_worker_for_{lane}", f"No worker for the {lane} lane is alive: start one."
    for queue in queues:
        if queue.oldest_at is None:
            continue
        waited = now - max(queue.oldest_at, since)
        if waited > lane_limit(queue.lane, outlook.interval):
            minutes = int(waited.total_seconds() // 60)
            words = f"The {queue.lane} lane is behind: {queue.due} due, the oldest for {minutes} min."
            yield f"lane_{queue.lane}_behind", f"{words} More workers help, unless the log tells of errors."


def _was_seen(alert: Any, sight: _Sight) -> bool:
    """Whether the look covered an alert's subject, so that its absence means that its trouble is over."""
    rows = sight.stores if alert.subject == "integration" else sight.destinations
    return len(rows) < MOST_LOOKED_AT or any(row.id == alert.subject_id for row in rows)


def _told(row: Any) -> dict[str, Any]:
    return {
        "alert_id": row.id,
        "kind": row.kind,
        "company_id": row.company_id,
        f"{row.subject}_id": row.subject_id,
        "words": row.words,
    }
