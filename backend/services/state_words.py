"""States, outcomes and personal data put into words for people: plain, short, and nothing that should stay secret."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

OUTCOMES = {
    "timeout": "the partner did not answer in time",
    "connection_failed": "no connection to the partner came about",
    "answer_too_large": "the partner's answer was too long",
    "bad_body": "the partner's answer could not be read",
    "address_blocked": "the address is not one that may be called from here",
    "our_fault": "the fault was on our side",
    "gone": "the partner said that this address is gone for good (HTTP 410)",
    "redirected": "the partner answered with a redirect, which is not followed",
    "outcome_unknown": "the attempt was cut off; whether it arrived is unknown",
}
STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
DOTS = "•••"


def span(length: timedelta | float) -> str:
    """Return a length of time (or seconds) as its two largest units: `2 h 5 min`."""
    left = abs(round(length.total_seconds() if isinstance(length, timedelta) else length))
    parts: list[str] = []
    for size, unit in STEPS:
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts) or "0 s"


def apart(at: datetime | None, now: datetime) -> str:
    """Return how far a time is from now: `in 5 min`, `12 s ago`, `now`, `never` for None."""
    if at is None:
        return "never"
    seconds = (at - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(seconds)} ago"


def status_in_words(status: int) -> str:
    """Return `HTTP 503 Service Unavailable`, or the bare number where it has no name."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def outcome_in_words(outcome: str | None, status: int | None) -> str:
    """Return what came of an attempt."""
    if outcome is None:
        return "not attempted yet"
    if outcome in OUTCOMES:
        return OUTCOMES[outcome]
    if status is None:
        return outcome.replace("_", " ")
    return (
        f"accepted ({status_in_words(status)})"
        if outcome == "delivered"
        else f"the partner answered {status_in_words(status)}"
    )


def delivery_in_words(row: Mapping[str, Any], now: datetime) -> str:
    """Return where a delivery stands and why, from a row of the deliveries list."""
    outcome, tries = outcome_in_words(row["last_outcome"], row["last_status"]), int(row["attempts"])
    if row["state"] == "delivered":
        return f"Delivered at attempt {tries}: {outcome}."
    if row["state"] == "dead":
        return f"Given up after {_attempts(tries)}: {outcome}."
    if row["state"] == "superseded":
        moved = row["superseded_by"] is not None
        rest = "the carts that may still go moved to a new delivery" if moved else "none of its carts may still go"
        return f"Not sent any more: a cart in it changed; {rest}."
    if row.get("is_in_flight"):
        return f"Attempt {max(tries, 1)} is under way."
    held = _held(row, now)
    if held:
        return held
    due = apart(row["next_attempt_at"], now) if row["next_attempt_at"] and row["next_attempt_at"] > now else "due now"
    return f"First attempt {due}." if tries == 0 else f"Attempt {tries + 1} {due}: {outcome}."


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{count} attempts"


def _held(row: Mapping[str, Any], now: datetime) -> str:
    """Say what keeps a pending delivery at its destination, if anything does."""
    if row.get("destination_status") == "disabled":
        return "Held back: the destination is disabled."
    if row.get("destination_status") == "inactive":
        return "Held back: the destination is switched off."
    until = row.get("destination_held_until")
    if until is not None and until > now:
        return f"Held back: the destination failed repeatedly and is left alone; next try {apart(until, now)}."
    return ""


def mask_email(address: str | None) -> str | None:
    """Return `a•••@example.com`."""
    if not address:
        return None
    name, at, domain = address.rpartition("@")
    return f"{name[:1]}{DOTS}@{domain}" if at else DOTS


def mask_phone(number: str | None) -> str | None:
    """Return the last two digits only: `•••42`."""
    return f"{DOTS}{number[-2:]}" if number else None
