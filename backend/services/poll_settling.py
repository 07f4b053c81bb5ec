"""When a store is polled next, and what its row says until then: decided by what the poll came to."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import structlog

from backend.domain import backoff
from backend.domain.work import PollWork
from backend.services.poll_reports import CycleRef, PollReport
from backend.store.work.settling import EmptyPoll

log = structlog.get_logger()


def empty_poll(work: PollWork, cycle: CycleRef, report: PollReport, now: datetime) -> EmptyPoll:
    """Return a poll that found nothing as it is settled with others."""
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


def changed_something(report: PollReport) -> bool:
    """Whether a poll left anything behind but its cursor."""
    names = ("carts_new", "carts_changed", "carts_excluded", "records_quarantined", "deliveries_made")
    return any(report.tally.counts[name] for name in names)


def after_success(work: PollWork, cycle: CycleRef, report: PollReport, now: datetime) -> dict[str, Any]:
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
        "notices": sorted(report.notices) or None,
    }


def after_failure(report: PollReport, now: datetime) -> dict[str, Any]:
    """Keep what went wrong, and say when the store is asked again."""
    work = report.work
    told = {
        "last_error_code": report.error_code,
        "last_error": report.error,
        "last_remedy": report.remedy,
        "last_error_at": now,
    }
    if report.outcome == "fix_credentials":
        return told | _after_refusal(report, now)
    failures = work.failures + (0 if report.outcome == "ours" else 1)
    luck = random.random()  # noqa: S311  spreads retries; no secret depends on it
    due = backoff.next_poll(max(failures, 1), now, luck=luck, hint=report.retry_after)
    why = "the time the store named" if report.retry_after is not None else "back-off after a failure"
    return told | {"failures": failures, "next_poll_at": due, "waiting_until": due, "waiting_for": why}


def after_pause(report: PollReport, now: datetime) -> dict[str, Any]:
    """Leave a store alone whose budget is spent; nobody did anything wrong."""
    due = now + (report.retry_after or timedelta(0))
    return {"next_poll_at": due, "waiting_until": due, "waiting_for": "the store's rate budget"}


def _after_refusal(report: PollReport, now: datetime) -> dict[str, Any]:
    work = report.work
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
    report.is_rejected = is_paused
    if is_paused:
        values |= {"status": "paused", "pause_reason": "credentials_rejected"}
        if not work.is_paused:
            log.error("integration.paused", integration_id=work.integration_id, reason="credentials_rejected")
    return values


def run_values(report: PollReport, now: datetime) -> dict[str, Any]:
    """Return the row of a poll that changed or failed something."""
    elapsed = report.seconds["total"]
    return {
        "outcome": report.outcome,
        "started_at": now - timedelta(seconds=elapsed),
        "elapsed_ms": round(elapsed * 1000),
        "counts": {name: count for name, count in report.tally.counts.items() if count},
        "error_code": report.error_code,
        "error": report.error,
    }
