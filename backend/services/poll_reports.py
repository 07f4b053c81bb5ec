"""What one poll came to, and the cycle it counts for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backend.domain.cursor import Cursor
from backend.domain.work import PollWork, Tally

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
    """What one poll came to.

    `outcome`: ok, waits (for the store's budget), later, ours, fix_credentials, lease_lost or bug.
    """

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
    walk: Cursor | None = None  # where the walk in hand stands
    budget: dict[str, float] | None = None
    is_rejected: bool = False  # refused often enough that the company must act
    notices: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=lambda: {"fetch": 0.0, "save": 0.0, "total": 0.0})

    @classmethod
    def cut_off(cls, work: PollWork) -> PollReport:
        """Return the report of a poll that did not come to its end here."""
        return cls(work, outcome="lease_lost", error_code="lease_lost", error="another worker took this store over")

    @property
    def is_settled(self) -> bool:
        """Whether it may give its lease back: neither lost nor left to run out."""
        return self.outcome not in {"lease_lost", "bug"}

    @property
    def is_newly_paused(self) -> bool:
        """Whether this poll's refusal was the one that paused the store."""
        return self.outcome == "fix_credentials" and not self.work.is_paused and self.is_rejected

    @property
    def goes_on(self) -> bool:
        """Whether the walk has more pages, so that the store may be claimed again at once."""
        return self.outcome == "ok" and not self.is_drained


def blame(report: PollReport, outcome: str, error: Exception) -> None:
    """Note why a poll did not come to its end."""
    report.outcome = outcome
    report.error_code = getattr(error, "code", None) or type(error).__name__
    report.error = str(error)[:1000] if outcome != "bug" else f"{type(error).__name__} in our own code"
    remedy = getattr(error, "remedy", None) or REMEDIES.get(report.error_code)
    report.remedy = remedy[:1000] if remedy else None
    report.retry_after = getattr(error, "retry_after", None)
