"""The poll cycle: start, stop, status, one-off runs, and the beat that the background loops ring."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database
from backend.domain.ids import new_id
from backend.domain.lanes import DELIVERIES, POLLS, SWEEP
from backend.domain.work import Scope, Tally
from backend.errors import BadInput
from backend.platforms.registry import PLATFORMS
from backend.services.audit import INSTALLATION, note
from backend.services.deliveries import DeliveryLane
from backend.services.held import held_words
from backend.services.lanes import Lane, LaneRunner
from backend.services.leases import LeaseKeeper
from backend.services.poll_lane import OneOffPolls, PollLane, PollTools
from backend.services.poll_reports import CycleRef, PollReport
from backend.services.reports import CycleFacts, OneOff, cycle_report, iso
from backend.services.status import PollingStatus
from backend.services.sweep_lane import SweepLane
from backend.store.cycles import CycleStore, InstallationStore
from backend.store.work import PollQueue

log = structlog.get_logger()

LEAST_INTERVAL, MOST_INTERVAL = 5, 86_400
KEEP_CYCLES = timedelta(days=30)
# Platforms whose carts can be read again one by one: the gate waits for such a read.
REREADS = frozenset(name for name, adapter in PLATFORMS.items() if adapter.capabilities.rereads)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The wanted state: whether polling runs, every how many seconds, and since when. The same for every process."""

    is_wanted: bool
    interval: int
    since: datetime

    def beat(self, now: datetime) -> tuple[int, datetime]:
        """Return the number and the time of the latest beat at or before `now`; the first is at `since`."""
        number = max(int((now - self.since).total_seconds() // self.interval), 0)
        return number, self.since + timedelta(seconds=number * self.interval)


@dataclass(frozen=True, slots=True)
class Lanes:
    """What the lanes are made of; one-off runs make lanes of their own with it."""

    polls: PollTools
    sweep: Callable[[], SweepLane]
    deliveries: Callable[[datetime | None], DeliveryLane]
    leases: LeaseKeeper


async def finish_cycle(database: Database, clock: Clock, cycle_id: str) -> datetime:
    """Note that this process is done with a cycle; return when that was."""
    now = clock.now()
    async with database.work() as tx:
        await CycleStore(tx).finish(cycle_id, now)
    return now


class AgentIntegrationPoller:
    """Polls the stores of every active agent of the target template and hands abandonments off."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        lanes: Lanes,
        status: PollingStatus,
        make_defaults: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._lanes = lanes
        self._leases = lanes.leases
        self._status = status
        self._make_defaults = make_defaults
        self._joining = asyncio.Lock()
        self.scope = Scope(settings.target_template_slug, settings.platforms)
        self._polls = PollLane(lanes.polls, self.scope)
        self._sweep = lanes.sweep()
        self._runners: dict[str, LaneRunner[Any]] = {
            lane.name: LaneRunner(lane, lanes.leases) for lane in (self._polls, self._sweep, lanes.deliveries(None))
        }

    # -- the wanted state ----------------------------------------------------------------------------------------

    async def start(self, interval: int | None = None) -> dict[str, Any]:
        """Want polling to run, at `interval` seconds if given. Starting twice changes the interval only."""
        if interval is not None and not LEAST_INTERVAL <= interval <= MOST_INTERVAL:
            raise BadInput(
                f"interval must be {LEAST_INTERVAL} to {MOST_INTERVAL} seconds, not {interval}",
                field="interval",
                remedy="leave it out to keep the present one",
            )
        return await self._want(is_wanted=True, interval=interval)

    async def stop(self) -> dict[str, Any]:
        """Want polling to stop. What is in flight ends by itself; stopping twice is harmless."""
        return await self._want(is_wanted=False, interval=None)

    async def _want(self, *, is_wanted: bool, interval: int | None) -> dict[str, Any]:
        async with self._database.work() as tx:
            store = InstallationStore(tx)
            before = await store.state()
            kept = before.interval_seconds if before else self._settings.polling_interval
            wanted = (is_wanted, interval or kept)
            changed = before is None or (before.is_wanted, before.interval_seconds) != wanted
            if changed:
                now, deed = self._clock.now(), "polling.started" if is_wanted else "polling.stopped"
                await store.want(is_wanted=wanted[0], interval=wanted[1], now=now)
                await note(tx, INSTALLATION, now, deed, "polling", interval_seconds=wanted[1])
        log.info("polling.wanted", running=wanted[0], interval_seconds=wanted[1], changed=changed)
        return {"running": wanted[0], "interval_seconds": wanted[1], "changed": changed}

    async def rhythm(self) -> Rhythm:
        """Return the wanted state."""
        async with self._database.overview() as tx:
            state = await InstallationStore(tx).state()
        if state is None:
            return Rhythm(is_wanted=False, interval=self._settings.polling_interval, since=self._clock.now())
        return Rhythm(state.is_wanted, state.interval_seconds, state.changed_at)

    async def status(self, only: frozenset[str] | None = None) -> dict[str, Any]:
        """Return what is going on at the companies in `only`; tells of watermarks, not of a loop's mood."""
        rhythm = await self.rhythm()
        return await self._status.report(self.scope, only, is_wanted=rhythm.is_wanted, interval=rhythm.interval)

    # -- cycles --------------------------------------------------------------------------------------------------

    async def ring(self, lane: str) -> bool:
        """Look at a lane now and work until nothing is due.

        Return whether more may be due. Nothing is done while polling is not wanted; while another ring of this process
        works on the lane, it only makes that one look again.
        """
        rhythm = await self.rhythm()
        if not rhythm.is_wanted:
            return False
        await self._join_beat(rhythm)
        is_more = await self._runners[lane].drain()
        if lane == POLLS:
            await self._polls.end_cycles()
        return is_more

    async def run_beat(self, rhythm: Rhythm) -> None:
        """Take part in the present beat: poll what is due until nothing is left for this worker.

        No store is polled twice in it; the beat before may still be under way with a slow store.
        """
        await self._join_beat(rhythm)
        await self._runners[POLLS].drain()
        await self._polls.end_cycles()

    async def sweep(self) -> None:
        """Ring the sweep lane; what it does counts for the latest beat this process took part in."""
        await self._runners[SWEEP].drain()

    async def deliver(self) -> None:
        """Ring the delivery lane."""
        await self._runners[DELIVERIES].drain()

    async def _join_beat(self, rhythm: Rhythm) -> None:
        """Make the present beat this process's cycle, storing it if no other process did."""
        number, beat_at = rhythm.beat(self._clock.now())
        cycle_id = f"beat_{rhythm.since:%Y%m%dT%H%M%S.%f}_{rhythm.interval}_{number}"
        async with self._joining:
            if self._polls.cycle is None or self._polls.cycle.id != cycle_id:
                await self._begin(cycle_id, "beat", rhythm.interval, beat_at)
                self._polls.begin(self._cycle(cycle_id, rhythm.interval, beat_at))
                self._sweep.cycle_id = cycle_id

    def _cycle(self, cycle_id: str, interval: int, beat_at: datetime) -> CycleRef:
        return CycleRef(cycle_id, self._leases.worker_id, timedelta(seconds=interval), beat_at)

    async def run_once(self, kind: str = "test_once") -> dict[str, Any]:
        """Run one whole cycle now: poll every store that may be, sweep, attempt what is due; return its report.

        The background loops stay as they were. `kind` is test_once (API) or once (command line).
        """
        interval = (await self.rhythm()).interval
        started_at, cycle_id = self._clock.now(), f"{kind}_{new_id()}"
        await self._begin(cycle_id, kind, interval, started_at)
        cycle = replace(self._cycle(cycle_id, interval, started_at), keeps_schedule=True)
        polls, sweep = OneOffPolls(self._lanes.polls, self.scope, cycle), self._lanes.sweep()
        sweep.cycle_id = cycle_id
        await self._drain(polls)
        await self._drain(sweep)
        # An attempt that fails is due again later than now: each delivery is attempted at most once.
        deliveries = self._lanes.deliveries(self._clock.now())
        await self._drain(deliveries)
        finished_at = await finish_cycle(self._database, self._clock, cycle_id)
        async with self._database.overview() as tx:
            counted = [tally for _cycle, _company, tally in await CycleStore(tx).counts([cycle_id])]
        extra = await self._unpolled(list(polls.reports.values()), kind)
        facts = CycleFacts(cycle_id, kind, started_at, finished_at)
        report = cycle_report(facts, [*counted, *_older(deliveries.tallies, counted)], extra)
        log.info("cycle.finished", **{name: value for name, value in report.items() if not isinstance(value, list)})
        return report

    async def _drain(self, lane: Lane[Any]) -> None:
        await LaneRunner(lane, self._leases).drain()

    async def _begin(self, cycle_id: str, kind: str, interval: int, started_at: datetime) -> None:
        """Store the cycle; whoever is first counts the agents and makes missing default destinations."""
        async with self._database.work() as tx:
            store = CycleStore(tx)
            if not await store.begin(cycle_id, kind, interval, started_at):
                return
            found = await PollQueue(tx).agents_found(self.scope)
            await store.add_agents(cycle_id, self._leases.worker_id, found)
            await store.prune(self._clock.now() - KEEP_CYCLES)
            if kind != "beat":
                await note(tx, INSTALLATION, started_at, f"polling.{kind}", cycle_id)
        await self._make_defaults()

    async def _unpolled(self, polls: Sequence[PollReport], kind: str) -> OneOff:
        """Say which stores were not polled and why; for --once, rejected credentials are a failure."""
        now = self._clock.now()
        mine = {report.work.integration_id for report in polls}
        async with self._database.overview() as tx:
            store = PollQueue(tx)
            held = [row for row in await store.held(self.scope, now) if row.id not in mine]
            waiting = [row for row in await store.waiting(self.scope, now) if row.id not in mine]
            hold = held_words(await InstallationStore(tx).state())
        rejected = any(row.pause_reason == "credentials_rejected" for row in waiting)
        return OneOff(
            polls=polls,
            waiting=[
                {
                    "integration_id": row.id,
                    "name": row.name,
                    "until": iso(row.waiting_until),
                    "why": row.pause_reason or row.waiting_for,
                }
                for row in waiting
            ],
            held_elsewhere=[{"integration_id": row.id, "name": row.name} for row in held],
            hold=hold,
            fails=(kind == "once" and rejected) or any(report.outcome == "bug" for report in polls),
        )


def _older(delivered: Sequence[Tally], counted: Sequence[Tally]) -> list[Tally]:
    """Return what this run delivered of earlier cycles' making, which the cycle's own counts do not hold."""
    total, own = Tally(), Tally()
    for tally in delivered:
        total.merge(tally)
    for tally in counted:
        own.merge(tally)
    rest = Tally()
    for name in ("deliveries_succeeded", "deliveries_failed"):
        rest.counts[name] = max(total.counts[name] - own.counts[name], 0)
    return [rest]
