"""How polling and delivering stand, in words an operator can act on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from backend.domain.health import Kind, read_up_to
from backend.services.state_words import apart, span
from backend.store.work import MOST_CLAIMS

LONGEST = 1_000  # characters of an alert
# What to do about an alert that does not say it itself.
REMEDIES = {
    Kind.POLLS_WITHOUT_RESULT: "Look for poll.failed and lease.ended in the log, and at the workers' memory.",
    Kind.LEFT_ALONE: "Look for poll.failed and lease.ended in the log; then pause and resume it to try again.",
    Kind.CREDENTIALS_REJECTED: "Save new credentials; they are tried at once, and nothing was lost meanwhile.",
    Kind.DESTINATION_FAILING: "Ask the partner; what is due is kept and tried again for three days.",
    Kind.DESTINATION_GONE: "Ask the partner for the new address, save it, and make the destination active again.",
    Kind.DEAD_LETTERS: "Look at the deliveries that were given up, and settle them with the partner.",
}


def integration_words(row: Any, now: datetime, objective: timedelta, trouble: Kind | None = None) -> str:
    """Return one sentence on a row of `integrations`; `objective` is how old its watermark may be."""
    if row.status == "paused":
        return _paused(row, now)
    if row.claims >= MOST_CLAIMS:
        return f"Left alone: {row.claims} polls in a row ended without a result. Pause and resume it to try again."
    if row.waiting_until is not None and row.waiting_until > now:
        stuck = "Stuck: it does not advance. " if trouble else ""
        words = f"Waiting ({row.waiting_for}); asks again {apart(row.waiting_until, now)}."
        return stuck + words + (f" Last error: {row.last_error}" if row.last_error else "")
    if trouble is Kind.POLLS_WITHOUT_RESULT:
        return f"Stuck: its last {row.claims} polls ended without a result."
    read = read_up_to(row)
    if read is None:
        return _unread(row, now, trouble)
    age = now - read
    if trouble is not None:
        return f"Stuck: read up to {span(age)} ago, should be within {span(objective)}. {_cause(row, now)}"
    if age > objective:
        return f"Behind: read up to {span(age)} ago, should be within {span(objective)}."
    return f"Up to date: read up to {span(max(age, timedelta(0)))} ago."


def _unread(row: Any, now: datetime, trouble: Kind | None) -> str:
    if trouble is not None:
        return (
            f"Stuck: connected {apart(row.created_at, now)}, and its first window is not read yet. {_cause(row, now)}"
        )
    return "Reading its first window." if row.page_token else "Not polled yet; the next beat does."


def _paused(row: Any, now: datetime) -> str:
    if row.pause_reason == "credentials_rejected":
        probe = apart(row.next_poll_at, now)
        return f"Paused: the store refuses the credentials. Save new ones; a probe follows {probe} in any case."
    return f"Paused: {row.pause_reason or 'no reason given'}. Resume it to poll again."


def _cause(row: Any, now: datetime) -> str:
    """Return why a store does not advance, as far as its row tells, and what to do."""
    if row.failures:
        return f"Last error: {row.last_error}. {row.last_remedy or ''}".strip()
    if row.page_token is not None:
        return "It is in the midst of a long window: does the store's paging come to an end?"
    if row.last_polled_at is None or row.last_polled_at < row.next_poll_at <= now:
        return (
            f"It is due since {_clock(row.next_poll_at)} and nobody polls it: are the workers alive, and fast enough?"
        )
    return "Its answers carry the same time again and again: is a cache in front of the store?"


def alert_words(row: Any, kind: Kind, now: datetime, objective: timedelta) -> str:
    """Return an alert's words from a row of `integrations` or `destinations`; they change only when the facts do."""
    return _alert_words(row, kind, now, objective)[:LONGEST]


def _alert_words(row: Any, kind: Kind, now: datetime, objective: timedelta) -> str:
    name = f"{row.name} of {row.company_name}"
    if kind is Kind.NOT_ADVANCING:
        read = read_up_to(row)
        known = f"read up to {_clock(read)}" if read else f"never read since {_clock(row.created_at)}"
        return f"{name} does not advance: {known}, should be within {span(objective)}. {_cause(row, now)}"
    said = {
        Kind.POLLS_WITHOUT_RESULT: "its polls begin again and again and never end",
        Kind.LEFT_ALONE: f"it is not polled any more: {MOST_CLAIMS} polls in a row ended without a result",
        Kind.CREDENTIALS_REJECTED: "the store refuses the credentials, so it is paused",
        Kind.DESTINATION_FAILING: f"deliveries keep failing. Last error: {getattr(row, 'last_error', None)}",
        Kind.DESTINATION_GONE: f"it is disabled: {getattr(row, 'status_reason', None)}",
        Kind.DEAD_LETTERS: "deliveries to it were given up in the last 24 hours",
    }[kind]
    return f"{name}: {said}. {REMEDIES[kind]}"


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
