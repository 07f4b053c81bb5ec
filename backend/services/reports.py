"""The report of a cycle, as the API, the runner and the log give it. Published as docs/cycle-report.schema.json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backend.domain.work import Tally
from backend.services.poll_reports import PollReport

SUMS = (
    "agents_found",
    "pages",
    "carts_seen",
    "carts_new",
    "carts_changed",
    "carts_abandoned",
    "carts_excluded",
    "records_quarantined",
    "deliveries_made",
    "deliveries_succeeded",
    "deliveries_failed",
    "polls_succeeded",
    "polls_failed",
)


@dataclass(frozen=True, slots=True)
class CycleFacts:
    """What a cycle's row says."""

    id: str
    kind: str
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class OneOff:
    """What only a one-off run knows: each store's poll, which were not polled and why, why nothing is sent."""

    polls: Sequence[PollReport] = ()
    waiting: Sequence[dict[str, Any]] = ()
    held_elsewhere: Sequence[dict[str, Any]] = ()
    hold: dict[str, Any] | None = None
    fails: bool = False


def iso(moment: datetime | None) -> str | None:
    """Return ISO 8601 UTC with `Z` and milliseconds."""
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cycle_report(cycle: CycleFacts, tallies: Iterable[Tally], extra: OneOff | None = None) -> dict[str, Any]:
    """Sum the tallies of a cycle into its report."""
    total = Tally()
    for tally in tallies:
        total.merge(tally)
    counts = {name: total.counts[name] for name in SUMS}
    attempts = counts["deliveries_succeeded"] + counts["deliveries_failed"]
    extra = extra or OneOff()
    has_bug = any(report.outcome == "bug" for report in extra.polls)  # not settled, so not among the counts
    ok = not (counts["polls_failed"] or counts["deliveries_failed"] or extra.fails or has_bug)
    return {
        "cycle_id": cycle.id,
        "kind": cycle.kind,
        "started_at": iso(cycle.started_at),
        "finished_at": iso(cycle.finished_at),
        **counts,
        "integrations_polled": counts["polls_succeeded"] + counts["polls_failed"],
        "platforms_processed": sorted(total.platforms),
        "delivery_success_rate": round(counts["deliveries_succeeded"] / attempts, 4) if attempts else None,
        "total_recovery_value": {currency: float(value) for currency, value in sorted(total.value.items())},
        "timings_ms": {
            "total": _elapsed_ms(cycle),
            "poll": total.counts["poll_ms"],
            "fetch": total.counts["fetch_ms"],
            "save": total.counts["save_ms"],
            "deliver": total.counts["deliver_ms"],
        },
        "integrations": [_poll_part(report) for report in extra.polls],
        "waiting": list(extra.waiting),
        "held_elsewhere": list(extra.held_elsewhere),
        "deliveries_held": extra.hold,
        "ok": ok,
    }


def _elapsed_ms(cycle: CycleFacts) -> int | None:
    if cycle.finished_at is None:
        return None
    return round((cycle.finished_at - cycle.started_at).total_seconds() * 1000)


def _poll_part(report: PollReport) -> dict[str, Any]:
    work, counts = report.work, report.tally.counts
    return {
        "integration_id": work.integration_id,
        "company": work.agent.company.name,
        "agent": work.agent.name,
        "name": work.name,
        "platform": work.platform_shown,
        "is_mock": work.platform == "mock",
        "outcome": report.outcome,
        "carts_seen": counts["carts_seen"],
        "carts_new": counts["carts_new"],
        "carts_changed": counts["carts_changed"],
        "error_code": report.error_code,
        "error": report.error,
        "remedy": report.remedy,
        "elapsed_ms": round(report.seconds["total"] * 1000),
    }
