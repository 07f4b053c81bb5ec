"""One poll of one store, start to end: re-reads first, then page by page, each saved before the next is fetched."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from backend.clock import Clock
from backend.db import Database
from backend.domain import cursor as cursors
from backend.domain.cards import stripped
from backend.domain.carts import CartPage
from backend.domain.cursor import Cursor
from backend.domain.limits import fitted
from backend.domain.skew import aligned, settled
from backend.domain.walks import ENDS_WALK, WalkGuard, is_bad_all_through
from backend.domain.work import PollWork, Tally
from backend.errors import FixCredentials, LeaseLost, OurFault, TryLater, Unavailable
from backend.platforms.base import Platform
from backend.platforms.registry import PLATFORMS
from backend.services.adapters import Adapters
from backend.services.budgets import Budgets, BudgetSpent, Paced
from backend.services.cart_intake import CartIntake, Intake
from backend.services.empty_polls import EmptyPolls
from backend.services.keyring import Keyring
from backend.services.metrics import Metrics
from backend.services.poll_reports import CycleRef, PollReport, blame
from backend.services.poll_settling import (
    after_failure,
    after_pause,
    after_success,
    changed_something,
    empty_poll,
    run_values,
)
from backend.store.carts import CartStore
from backend.store.cycles import add_counts
from backend.store.polls import PollStore, cursor_values

log = structlog.get_logger()

REREAD_AT_ONCE, MOST_REREADS = 100, 1000


@dataclass(frozen=True, slots=True)
class PollNeeds:
    """What polls work with."""

    database: Database
    clock: Clock
    keyring: Keyring
    budgets: Budgets
    intake: CartIntake
    metrics: Metrics


class StorePolls:
    """Polls claimed stores; one method call is one poll."""

    def __init__(self, needs: PollNeeds) -> None:
        self._database = needs.database
        self._clock = needs.clock
        self._adapters = Adapters(needs.database, needs.keyring, needs.clock)
        self._budgets = needs.budgets
        self._intake = needs.intake
        self._metrics = needs.metrics
        self._empty = EmptyPolls(needs.database)

    async def poll(self, work: PollWork, cycle: CycleRef, turn: timedelta) -> PollReport:
        """Poll a claimed store, for a turn, and settle what it came to. Never raises for what a store does."""
        report, began = PollReport(work), time.perf_counter()
        door = self._budgets.open(work)
        try:
            await self._walk(work, cycle, report, (door, turn))
        except BudgetSpent as spent:
            blame(report, "waits", spent)
        except (TryLater, OurFault) as error:
            blame(report, "later" if isinstance(error, TryLater) else "ours", error)
        except FixCredentials as error:
            blame(report, "fix_credentials", error)
        except (LeaseLost, Unavailable) as error:
            blame(report, "lease_lost", error)
        except Exception as error:  # our bug: nothing is settled, the lease runs out, others go on
            blame(report, "bug", error)
            log.exception("poll.failed", integration_id=work.integration_id, company_id=work.company_id)
        report.seconds["total"] = time.perf_counter() - began
        report.budget = door.carried()
        if report.is_settled:
            try:
                await self._settle(work, cycle, report)
            except (LeaseLost, Unavailable) as error:
                blame(report, "lease_lost", error)
        return self._logged(report, cycle)

    async def _walk(self, work: PollWork, cycle: CycleRef, report: PollReport, how: tuple[Paced, timedelta]) -> None:
        door, turn = how
        adapter = await self._adapters.open(work, door)
        if work.has_waiting and adapter.capabilities.rereads:
            await self._reread(adapter, work, cycle, report)
        report.walk = cursors.begin(
            work.cursor, now=self._clock.now(), overlap=adapter.capabilities.overlap, lookback=work.initial_lookback
        )
        guard, deadline = WalkGuard(), self._clock.now() + turn
        while not report.is_drained and self._clock.now() < deadline:
            began_at, began, asked = self._clock.now(), time.perf_counter(), report.walk
            if asked.window_from is None:
                raise RuntimeError("a walk needs a window")
            page = self._storable(await adapter.fetch_page(asked.window_from, asked.page_token))
            report.seconds["fetch"] += time.perf_counter() - began
            report.walk = cursors.in_store_time(asked, server_time=page.server_time, now=began_at)
            if report.walk != asked:
                continue  # the very first window was reckoned by our clock, and the store's is another
            guard.saw(asked, page)
            report.walk = cursors.advance(
                asked, next_page_token=page.next_page_token, server_time=page.server_time, now=began_at
            )
            page = aligned(page, report.walk.clock_offset, self._clock.now())
            await self._keep(page, (work, cycle, report), began_at)

    def _storable(self, page: CartPage) -> CartPage:
        """Return the page as it may be stored: what fits, and no payment card's number."""
        clean, found = stripped(fitted(page))
        if found:
            self._metrics.cards_removed(found)
        return clean

    async def _keep(self, page: CartPage, poll: tuple[PollWork, CycleRef, PollReport], read_began_at: datetime) -> None:
        """Save a page with the cursor behind it. Raises `TryLater` for one that is bad all through."""
        report = poll[2]
        if _is_empty(page):
            report.empty_pages += 1
            report.cursor = report.walk
            report.notices.update(page.notices)
        else:
            is_bad = is_bad_all_through(page)  # then the cursor stays, so that it is asked for again
            await self._save(page, None if is_bad else report.walk, poll, read_began_at)
            if is_bad:
                raise _bad_page(page)
        report.is_drained = page.next_page_token is None

    async def _reread(self, adapter: Platform, work: PollWork, cycle: CycleRef, report: PollReport) -> None:
        """Read again the carts that wait for it, before anything else, so that none is handed off on old news."""
        async with self._database.reading(work.company_id) as tx:
            waiting = await CartStore(tx, work.company_id).waiting(work.integration_id, self._clock.now(), MOST_REREADS)
        ids = [row.source_cart_id for row in waiting]
        for start in range(0, len(ids), REREAD_AT_ONCE):
            began_at, began = self._clock.now(), time.perf_counter()
            found = self._storable(await adapter.reread(ids[start : start + REREAD_AT_ONCE]))
            offset = settled(work.cursor.clock_offset, found.server_time, began_at)
            page = aligned(found, offset, self._clock.now())
            report.seconds["fetch"] += time.perf_counter() - began
            await self._save(page, None, (work, cycle, report), began_at)

    async def _save(
        self,
        page: CartPage,
        cursor: Cursor | None,
        poll: tuple[PollWork, CycleRef, PollReport],
        read_began_at: datetime,
    ) -> None:
        work, cycle, report = poll
        began = time.perf_counter()
        saved = await self._intake.save_page(
            Intake(
                work=work,
                page=page,
                cursor=cursor,
                read_began_at=read_began_at,
                now=self._clock.now(),
                cycle_id=cycle.id,
                worker_id=cycle.worker_id,
                rereads=PLATFORMS[work.platform].capabilities.rereads,
            )
        )
        report.seconds["save"] += time.perf_counter() - began
        saved.tally.counts["pages"] += 1
        report.tally.merge(saved.tally)
        if saved.is_counted:
            saved.tally.counts.clear()
            saved.tally.counts["pages"] = 1
            saved.tally.value.clear()
        report.uncounted.merge(saved.tally)
        report.waits_for_read |= saved.waits_for_read
        report.notices.update(page.notices)

    async def _settle(self, work: PollWork, cycle: CycleRef, report: PollReport) -> None:
        """Give the lease back with the next due time and the cycle's counts; alone, or together with other empty polls.

        Raises `LeaseLost` with nothing changed.
        """
        now = self._clock.now()
        if report.outcome == "ok" and report.cursor is not None and not (work.has_trouble or report.tally.counts):
            done = empty_poll(work, cycle, report, now)
            report.tally.counts.update(polls_succeeded=1, pages=done.pages)
            if not await self._empty.settle(done):
                raise LeaseLost(f"the lease on integration {work.integration_id} ran out")
            return
        await self._settle_alone(work, cycle, report, now)

    async def _settle_alone(self, work: PollWork, cycle: CycleRef, report: PollReport, now: datetime) -> None:
        """Settle a poll with its run's row, in one commit."""
        for tally in (report.tally, report.uncounted):
            _count_poll(tally, report)
        async with self._database.transaction(work.company_id) as tx:
            store = PollStore(tx, work)
            is_empty = report.outcome == "ok" and not changed_something(report)
            await store.settle(now, is_empty=is_empty, **_values(work, cycle, report, now))
            await add_counts(tx, work.company_id, (cycle.id, cycle.worker_id), report.uncounted)
            if not is_empty:
                await store.add_run(cycle.id, cycle.worker_id, run_values(report, now))
        if report.is_newly_paused:
            self._metrics.integration_paused("credentials_rejected")

    def _logged(self, report: PollReport, cycle: CycleRef) -> PollReport:
        work, counts = report.work, report.tally.counts
        self._metrics.poll_finished(report.outcome, report.seconds)
        self._metrics.count(report.tally)
        log.info(
            "poll.finished",
            cycle_id=cycle.id,
            company_id=work.company_id,
            integration_id=work.integration_id,
            platform=work.platform,
            outcome=report.outcome,
            error_code=report.error_code,
            **{name: counts[name] for name in ("pages", "carts_seen", "carts_new", "carts_changed", "deliveries_made")},
            elapsed_ms=round(report.seconds["total"] * 1000),
            fetch_ms=round(report.seconds["fetch"] * 1000),
            save_ms=round(report.seconds["save"] * 1000),
        )
        return report


def _is_empty(page: CartPage) -> bool:
    """Whether a page is the last of its walk and tells nothing: its cursor needs no commit of its own."""
    return page.next_page_token is None and not (page.carts or page.exclusions or page.unreadable)


def _bad_page(page: CartPage) -> TryLater:
    return TryLater(
        f"none of the {len(page.unreadable)} records of a page could be read: {page.unreadable[0].reason}",
        code="page_unreadable",
        remedy="The records are in quarantine. Has the store changed the form of its carts?",
    )


def _count_poll(tally: Tally, report: PollReport) -> None:
    if report.outcome != "waits":
        tally.counts["polls_succeeded" if report.outcome == "ok" else "polls_failed"] += 1
    tally.counts["pages"] += report.empty_pages
    tally.platforms.add(report.work.platform_shown)
    for stage in ("fetch", "save"):
        tally.counts[f"{stage}_ms"] += round(report.seconds[stage] * 1000)
    tally.counts["poll_ms"] += round(report.seconds["total"] * 1000)


def _values(work: PollWork, cycle: CycleRef, report: PollReport, now: datetime) -> dict[str, Any]:
    """Return what an integration's row says after a poll."""
    if report.outcome == "ok":
        values = after_success(work, cycle, report, now)
    elif report.outcome == "waits":
        values = after_pause(report, now)
    else:
        values = after_failure(report, now)
    cursor = cursors.without_walk(report.walk) if report.error_code in ENDS_WALK and report.walk else report.cursor
    return values | {"budget": report.budget} | (cursor_values(cursor) if cursor is not None else {})
