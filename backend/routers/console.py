"""What the console's tables say of stores and destinations: a colour, a word or two, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from backend.services.overview import Row
from backend.services.state_words import apart

State = tuple[str, str, str]  # colour, words, why


def stores(rows: Iterable[Row], states: Iterable[Mapping[str, Any]], now: datetime) -> list[Row]:
    """Return integrations with their state; `states` are those of the polling status, of polled stores only."""
    known = {state["integration_id"]: state for state in states}
    shown = []
    for row in rows:
        state = known.get(row["id"])
        kind, words, because = _store(row, state, now)
        objective = state["objective_seconds"] if state else None
        is_late = bool(state and state["is_behind"] and row["status"] == "active")
        shown.append(
            row | {"kind": kind, "words": words, "because": because, "is_late": is_late, "objective_seconds": objective}
        )
    return shown


def _store(row: Row, state: Mapping[str, Any] | None, now: datetime) -> State:
    if row["status"] == "inactive":
        return "quiet", "switched off", ""
    if state is None:
        return "quiet", "not polled", "its agent is switched off, or is not made for abandoned carts"
    said = str(state["state_in_words"])
    if row["status"] == "paused":
        return "bad", "paused", said
    if state["is_stuck"]:
        return "bad", "stuck", said
    if row["waiting_until"] is not None and row["waiting_until"] > now:
        return "warn", "waiting", f"{row['waiting_for'] or 'failed'}; asks again {apart(row['waiting_until'], now)}"
    if row["watermark"] is None:
        return "calm", "not read yet", said
    return ("warn", "behind", said) if state["is_behind"] else ("good", "up to date", "")


def destinations(rows: Iterable[Row], now: datetime) -> list[Row]:
    """Return destinations with their state and the host of their address; the address may hold a secret."""
    shown = []
    for row in rows:
        kind, words, because = _destination(row, now)
        host = urlsplit(row["url"]).netloc.rpartition("@")[2]
        shown.append(row | {"kind": kind, "words": words, "because": because, "host": host})
    return shown


def _destination(row: Row, now: datetime) -> State:
    if row["status"] == "inactive":
        return "quiet", "switched off", ""
    if row["status"] == "disabled":
        return "bad", "disabled", row["status_reason"] or "it told us to stop"
    if row["held_until"] is not None and row["held_until"] > now:
        return "bad", "left alone", f"{row['failures']} failures in a row; next try {apart(row['held_until'], now)}"
    if row["failures"]:
        return "warn", "failing", f"{row['failures']} in a row"
    return ("good", "takes deliveries", "") if row["last_success_at"] else ("calm", "not used yet", "")


def delivery_totals(rows: Iterable[Row]) -> Counter[str]:
    """Return how many deliveries are in each state, over all destinations."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row["deliveries"])
    return total


def said_of_cycle(report: Mapping[str, Any]) -> tuple[str, str]:
    """Return the colour and words of a cycle that was run by hand."""
    delivered, failed = report["deliveries_succeeded"], report["deliveries_failed"]
    words = (
        f"Polled {_count(report['integrations_polled'], 'store')}: {_count(report['carts_seen'], 'cart')} seen, "
        f"{report['carts_new']} new, {report['carts_abandoned']} abandoned; {_count(delivered, 'delivery')} accepted"
    )
    faults = [_count(count, name) for count, name in ((report["polls_failed"], "poll"), (failed, "delivery")) if count]
    return ("bad", f"{words}. Failed: {' and '.join(faults)}; see below.") if faults else ("good", f"{words}.")


def _count(number: int, name: str) -> str:
    many = f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"
    return f"1 {name}" if number == 1 else f"{number} {many}"
