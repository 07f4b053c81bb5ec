"""How a store's polling stands, in words an operator can act on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from backend.services.state_words import apart, span
from backend.store.work import MOST_CLAIMS


def integration_words(row: Any, now: datetime, objective: timedelta) -> str:
    """Return one sentence on a row of `integrations`; `objective` is how old its watermark may be."""
    if row.status == "paused":
        return _paused(row, now)
    if row.claims >= MOST_CLAIMS:
        return f"Left alone: {row.claims} polls in a row ended without a result. Pause and resume it to try again."
    if row.waiting_until is not None and row.waiting_until > now:
        return f"Waiting ({row.waiting_for}); asks again {apart(row.waiting_until, now)}. Last error: {row.last_error}"
    if row.watermark is None:
        return "Reading its first window." if row.page_token else "Not polled yet; the next beat does."
    age = now - row.watermark
    if age > objective:
        return f"Behind: read up to {span(age)} ago, should be within {span(objective)}."
    return f"Up to date: read up to {span(age)} ago."


def _paused(row: Any, now: datetime) -> str:
    if row.pause_reason == "credentials_rejected":
        probe = apart(row.next_poll_at, now)
        return f"Paused: the store refuses the credentials. Save new ones; a probe follows {probe} in any case."
    return f"Paused: {row.pause_reason or 'no reason given'}. Resume it to poll again."
