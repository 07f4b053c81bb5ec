"""One poll of one store, start to end: re-reads first, then page by page, each saved before the next is fetched."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from backend.clock import Clock
from backend.db import Database
from backend.domain import backoff
from backend.domain import cursor as cursors
from backend.domain.carts import CartPage
from backend.domain.cursor import Cursor
from backend.domain.limits import fitted
from backend.domain.work import PollWork, Tally
from backend.errors import FixCredentials, LeaseLost, OurFault, TryLater, Unavailable
from backend.outbound import Outbound
from backend.platforms.base import Connection, Platform
from backend.platforms.registry import PLATFORMS
from backend.services.cart_intake import CartIntake, Intake
from backend.services.empty_polls import EmptyPolls
from backend.services.keyring import Keyring
from backend.store.carts import CartStore
from backend.store.cycles import add_counts
from backend.store.polls import PollStore, cursor_values
from backend.store.work.settling import EmptyPoll

log = structlog.get_logger()

REREAD_AT_ONCE, MOST_REREADS = 100, 1000
ALL_BAD_FROM = 3  # records; a smaller page that is bad all through is quarantined and passed


# What to do about a store that gave no usable answer, by the error's code.
REMEDIES = {
    "connection_failed": "Check base_url, and that the store is up and reachable from here; it is asked again.",
    "timeout": "The store is slow; it is asked again. A smaller options.page_size may help.",
    "bad_body": "Open the address in a browser: does a notice, a login page or a firewall answer in the store's place?",
    "body_too_large": "Lower options.page_size.",
    "address_blocked": "Use the store's public address, and a port of OUTBOUND_ALLOWED_PORTS.",
    "resolver_down": "Check the name service of the machine this runs on.",
    "our_fault": "Check the settings and credentials of this integration for characters that no address or header has.",
}


@dataclass(frozen=True, slots=True)
class CycleRef:
    """The cycle a poll belongs to. `keeps_schedule`: a success leaves `next_poll_at` as it was (one-off runs)."""

    id: str
    worker_id: str
    interval: timedelta
    beat_at: datetime
    keeps_schedule: bool = False


@dataclass(slots=True)
class PollReport:
    """What one poll came to. `outcome`: ok, later, fix_credentials, lease_lost or bug."""

    work: PollWork
    outcome: str = "ok"
    error_code: str | None = None
    error: str | None = None
    remedy: str | None = None
    retry_after: timedelta | None = None
    tally: Tally = field(default_factory=Tally)
    uncounted: Tally = field(default_factory=Tally)  # not in the cycle's counts yet
    waits_for_read: bool = False
    is_drained: bool = False
    empty_pages: int = 0
    cursor: Cursor | None = None  # of a last page that had nothing in it: saved when the poll is settled
    budget: dict[str, float] | None = None
    notices: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=lambda: {"fetch": 0.0, "save": 0.0, "total": 0.0})

    @classmethod
    def cut_off(cls, work: PollWork) -> PollReport:
        """Return the report of a poll that did not come to its end here."""
        return cls(work, outcome="lease_lost", error_code="lease_lost", error="another worker took this store over")

    @property
    def goes_on(self) -> bool:
        """Whether the walk has more pages, so that the store may be claimed again at once."""
        return self.outcome == "ok" and not self.is_drained


class StorePolls:
    """Polls claimed stores; one method call is one poll."""

    def __init__(self, database: Database, clock: Clock, keyring: Keyring, http: Outbound, intake: CartIntake) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring
        self._http = http
        self._intake = intake
        self._empty = EmptyPolls(database)

    async def poll(self, work: PollWork, cycle: CycleRef, turn: timedelta) -> PollReport:
        """Poll a claimed store, for a turn, and settle what it came to. Never raises for what a store does."""
        report, began = PollReport(work), time.perf_counter()
        try:
            await self._walk(work, cycle, report, turn)
        except (TryLater, OurFault) as error:
            _blame(report, "later" if isinstance(error, TryLater) else "ours", error)
        except FixCredentials as error:
            _blame(report, "fix_credentials", error)
        except (LeaseLost, Unavailable) as error:
            _blame(report, "lease_lost", error)
            return self._logged(report, cycle)
        except Exception as error:  # our bug: nothing is settled, the lease runs out, others go on
            _blame(report, "bug", error)
            log.exception("poll.failed", integration_id=work.integration_id, company_id=work.company_id)
            return self._logged(report, cycle)
        report.seconds["total"] = time.perf_counter() - began
        try:
            await self._settle(work, cycle, report)
        except (LeaseLost, Unavailable) as error:
            _blame(report, "lease_lost", error)
        return self._logged(report, cycle)

    async def _walk(self, work: PollWork, cycle: CycleRef, report: PollReport, turn: timedelta) -> None:
        adapter = await self._adapter(work)
        if work.has_waiting and adapter.capabilities.rereads:
            await self._reread(adapter, work, cycle, report)
        cursor = cursors.begin(
            work.cursor, now=self._clock.now(), overlap=adapter.capabilities.overlap, lookback=work.initial_lookback
        )
        deadline = self._clock.now() + turn
        while not report.is_drained and self._clock.now() < deadline:
            if cursor.window_from is None:
                raise RuntimeError("a walk needs a window")
            began_at, began = self._clock.now(), time.perf_counter()
            page = fitted(await adapter.fetch_page(cursor.window_from, cursor.page_token))
            report.seconds["fetch"] += time.perf_counter() - began
            cursor = cursors.advance(
                cursor, next_page_token=page.next_page_token, server_time=page.server_time, now=began_at
            )
            if _is_empty(page):
                _note(report, page, cursor)
            else:
                await self._save(page, _moved(cursor, page), (work, cycle, report), began_at)
                _refuse_bad_page(page)
            report.is_drained = page.next_page_token is None

    async def _adapter(self, work: PollWork) -> Platform:
        place = (work.company_id, "integrations", "credentials_sealed", work.integration_id)
        sealed, version = work.credentials_sealed, work.credentials_version
        if self._keyring.has_key(work.company_id, version):
            credentials = self._keyring.open_now(place, sealed, version)
        else:
            async with self._database.reading(work.company_id) as tx:
                credentials = await self._keyring.open_json(tx, place, sealed, version)
        connection = Connection(work.company_id, work.integration_id, work.settings, credentials)
        return PLATFORMS[work.platform](connection, self._http, self._clock.now)

    async def _reread(self, adapter: Platform, work: PollWork, cycle: CycleRef, report: PollReport) -> None:
        """Read again the carts that wait for it, before anything else, so that none is handed off on old news."""
        async with self._database.reading(work.company_id) as tx:
            waiting = await CartStore(tx, work.company_id).waiting(work.integration_id, self._clock.now(), MOST_REREADS)
        ids = [row.source_cart_id for row in waiting]
        for start in range(0, len(ids), REREAD_AT_ONCE):
            began_at, began = self._clock.now(), time.perf_counter()
            page = fitted(await adapter.reread(ids[start : start + REREAD_AT_ONCE]))
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
        report.budget = page.budget or report.budget
        report.notices.update(page.notices)

    async def _settle(self, work: PollWork, cycle: CycleRef, report: PollReport) -> None:
        """Give the lease back with the next due time and the cycle's counts; alone, or together with other empty polls.

        Raises `LeaseLost` with nothing changed.
        """
        now = self._clock.now()
        if report.outcome == "ok" and report.cursor is not None and not (work.has_trouble or report.tally.counts):
            done = _empty_poll(work, cycle, report, now)
            report.tally.counts.update(polls_succeeded=1, pages=done.pages)
            if not await self._empty.settle(done):
                raise LeaseLost(f"the lease on integration {work.integration_id} ran out")
            return
        await self._settle_alone(work, cycle, report, now)

    async def _settle_alone(self, work: PollWork, cycle: CycleRef, report: PollReport, now: datetime) -> None:
        """Settle a poll with its run's row, in one commit."""
        outcome = "polls_succeeded" if report.outcome == "ok" else "polls_failed"
        for tally in (report.tally, report.uncounted):
            tally.counts[outcome] += 1
            tally.counts["pages"] += report.empty_pages
            tally.platforms.add(work.platform_shown)
            for stage in ("fetch", "save"):
                tally.counts[f"{stage}_ms"] += round(report.seconds[stage] * 1000)
            tally.counts["poll_ms"] += round(report.seconds["total"] * 1000)
        values = _after_success(work, cycle, report, now) if report.outcome == "ok" else _after_failure(report, now)
        if report.cursor is not None:
            values |= cursor_values(report.cursor)
        is_empty = report.outcome == "ok" and not _changed_something(report)
        async with self._database.transaction(work.company_id) as tx:
            store = PollStore(tx, work)
            await store.settle(now, is_empty=is_empty, **values)
            await add_counts(tx, work.company_id, (cycle.id, cycle.worker_id), report.uncounted)
            if not is_empty:
                await store.add_run(cycle.id, cycle.worker_id, _run_values(report, now))

    def _logged(self, report: PollReport, cycle: CycleRef) -> PollReport:
        work, counts = report.work, report.tally.counts
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


def _blame(report: PollReport, outcome: str, error: Exception) -> None:
    report.outcome = outcome
    report.error_code = getattr(error, "code", None) or type(error).__name__
    report.error = str(error)[:1000] if outcome != "bug" else f"{type(error).__name__} in our own code"
    report.remedy = getattr(error, "remedy", None) or REMEDIES.get(report.error_code)
    report.retry_after = getattr(error, "retry_after", None)


def _is_bad_all_through(page: CartPage) -> bool:
    return len(page.unreadable) >= ALL_BAD_FROM and not page.carts and not page.exclusions


def _moved(cursor: Cursor, page: CartPage) -> Cursor | None:
    """Return the cursor to save: none for a page that is bad all through, so that it is asked for again."""
    return None if _is_bad_all_through(page) else cursor


def _refuse_bad_page(page: CartPage) -> None:
    if _is_bad_all_through(page):
        raise TryLater(
            f"none of the {len(page.unreadable)} records of a page could be read: {page.unreadable[0].reason}",
            code="page_unreadable",
            remedy="The records are in quarantine. Has the store changed the form of its carts?",
        )


def _is_empty(page: CartPage) -> bool:
    """Whether a page is the last of its walk and tells nothing: its cursor needs no commit of its own."""
    return page.next_page_token is None and not (page.carts or page.exclusions or page.unreadable)


def _note(report: PollReport, page: CartPage, cursor: Cursor) -> None:
    report.cursor = cursor
    report.empty_pages += 1
    report.budget = page.budget or report.budget
    report.notices.update(page.notices)


def _empty_poll(work: PollWork, cycle: CycleRef, report: PollReport, now: datetime) -> EmptyPoll:
    seconds = report.seconds
    return EmptyPoll(
        company_id=work.company_id,
        integration_id=work.integration_id,
        token=work.token,
        cursor=report.cursor or work.cursor,
        now=now,
        next_poll_at=_next_poll(work, cycle, report, now),
        budget=report.budget,
        notices=sorted(report.notices) or None,
        cycle_id=cycle.id,
        worker_id=cycle.worker_id,
        platform=work.platform_shown,
        pages=report.empty_pages,
        timed=(round(seconds["total"] * 1000), round(seconds["fetch"] * 1000), 0),
    )


def _next_poll(work: PollWork, cycle: CycleRef, report: PollReport, now: datetime) -> datetime:
    """Return when to poll next after a success.

    A walk that goes on is due in the same beat, behind what has waited longer; a cart that waits to be read, at the
    next one.
    """
    if not report.is_drained:
        return cycle.beat_at
    if report.waits_for_read:
        return now
    return work.next_poll_at if cycle.keeps_schedule else max(cycle.beat_at + (work.period or cycle.interval), now)


def _changed_something(report: PollReport) -> bool:
    names = ("carts_new", "carts_changed", "carts_excluded", "records_quarantined", "deliveries_made")
    return any(report.tally.counts[name] for name in names)


def _after_success(work: PollWork, cycle: CycleRef, report: PollReport, now: datetime) -> dict[str, Any]:
    """Clear what was wrong, and say when to poll next."""
    return {
        "status": "active",
        "pause_reason": None,
        "next_poll_at": _next_poll(work, cycle, report, now),
        "waiting_until": None,
        "waiting_for": None,
        "failures": 0,
        "refusals": 0,
        "first_refused_at": None,
        "last_error_code": None,
        "last_error": None,
        "last_remedy": None,
        "last_success_at": now,
        "budget": report.budget,
        "notices": sorted(report.notices) or None,
    }


def _after_failure(report: PollReport, now: datetime) -> dict[str, Any]:
    work = report.work
    told = {
        "last_error_code": report.error_code,
        "last_error": report.error,
        "last_remedy": report.remedy,
        "last_error_at": now,
    }
    if report.outcome == "fix_credentials":
        return told | _after_refusal(work, now)
    failures = work.failures + (0 if report.outcome == "ours" else 1)
    luck = random.random()  # noqa: S311  spreads retries; no secret depends on it
    due = backoff.next_poll(max(failures, 1), now, luck=luck, hint=report.retry_after)
    why = "the time the store named" if report.retry_after is not None else "back-off after a failure"
    return told | {"failures": failures, "next_poll_at": due, "waiting_until": due, "waiting_for": why}


def _after_refusal(work: PollWork, now: datetime) -> dict[str, Any]:
    refusals, first = work.refusals + 1, work.first_refused_at or now
    is_paused = work.is_paused or backoff.credentials_are_rejected(refusals, first, now)
    due = backoff.next_refused_poll(refusals, now, is_paused=is_paused)
    values: dict[str, Any] = {
        "failures": work.failures + 1,
        "refusals": refusals,
        "first_refused_at": first,
        "next_poll_at": due,
        "waiting_until": due,
        "waiting_for": "credentials that the store accepts",
    }
    if is_paused:
        values |= {"status": "paused", "pause_reason": "credentials_rejected"}
        if not work.is_paused:
            log.error("integration.paused", integration_id=work.integration_id, reason="credentials_rejected")
    return values


def _run_values(report: PollReport, now: datetime) -> dict[str, Any]:
    elapsed = report.seconds["total"]
    return {
        "outcome": report.outcome,
        "started_at": now - timedelta(seconds=elapsed),
        "elapsed_ms": round(elapsed * 1000),
        "counts": {name: count for name, count in report.tally.counts.items() if count},
        "error_code": report.error_code,
        "error": report.error,
    }
