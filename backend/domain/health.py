"""When a store, a destination or a lane is in trouble: pure rules, asked by the status, the watch and the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from backend.domain.backoff import BREAKER_OPENS_AT

# A watermark may be two periods and two minutes old: one period passes between two polls, one more for a poll that
# fails once, and each poll reads up to a minute before its own time (domain/cursor.py).
GRACE = timedelta(seconds=120)
CLAIMS_TOLD = 4  # polls in a row that were begun and never settled
# A breaker that half-opened three times and found its destination as it was has been open for minutes.
FAILURES_TOLD = BREAKER_OPENS_AT + 3
DEAD_TOLD = timedelta(hours=24)  # how long a delivery that was given up keeps its destination's alert open
LANE_GRACE = timedelta(minutes=5)
WORKER_ALIVE = timedelta(seconds=15)  # since it last signed in
WORKERS_MISSED = timedelta(seconds=30)  # a start or a deployment may leave nobody for a moment


class Kind(StrEnum):
    """What is wrong. The first four are of a store, the others of a destination."""

    NOT_ADVANCING = "not_advancing"
    POLLS_WITHOUT_RESULT = "polls_without_result"
    LEFT_ALONE = "left_alone"
    CREDENTIALS_REJECTED = "credentials_rejected"
    DESTINATION_FAILING = "destination_failing"
    DESTINATION_GONE = "destination_gone"
    DEAD_LETTERS = "dead_letters"


STORE_KINDS = frozenset(list(Kind)[:4])
STUCK_KINDS = frozenset({Kind.NOT_ADVANCING, Kind.POLLS_WITHOUT_RESULT, Kind.LEFT_ALONE})


class StoreRow(Protocol):
    """The columns of an integration that tell how its polling goes."""

    status: str
    pause_reason: str | None
    poll_interval_seconds: int | None
    claims: int
    failures: int
    watermark: datetime | None
    clock_offset_seconds: int
    page_token: str | None
    next_watermark: datetime | None
    next_poll_at: datetime
    last_polled_at: datetime | None
    last_success_at: datetime | None
    created_at: datetime


class DestinationRow(Protocol):
    """The columns of a destination that tell how its deliveries go; `has_dead`: some were given up lately."""

    status: str
    failures: int
    has_dead: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a judgement depends on besides the row.

    `wanted_since` is None while polling is not wanted; `interval` is that of the beat, in seconds; a store that was
    claimed `most_claims` times without a result is not polled any more.
    """

    now: datetime
    wanted_since: datetime | None
    interval: int
    most_claims: int


def objective(period_seconds: int | None, interval: int) -> timedelta:
    """Return how old a store's watermark may be; no store is polled more often than the beat."""
    return timedelta(seconds=2 * max(period_seconds or interval, interval)) + GRACE


def lane_limit(lane: str, interval: int) -> timedelta:
    """Return how long a lane's oldest due row may wait: a store that is due waits for the next beat besides."""
    return LANE_GRACE + timedelta(seconds=interval if lane == "polls" else 0)


def read_up_to(row: StoreRow) -> datetime | None:
    """Return what a store was read up to, by our clock and never later than the poll that came to it.

    The watermark is in the store's own time; a small difference from ours is not known.
    """
    if row.watermark is None:
        return None
    ours = row.watermark - timedelta(seconds=row.clock_offset_seconds)
    return ours if row.last_success_at is None else min(ours, row.last_success_at)


def counted_from(row: StoreRow, outlook: Outlook, *, is_known: bool = False) -> datetime:
    """Return the moment from which a store's age counts.

    That is what it was read up to, but nobody is to blame for the time before polling was wanted, unless the trouble
    `is_known`: stopping and starting again at once does not make it go away. A walk that goes
    well counts from its beginning. A store that is due and was not polled lately (its pause was lifted, the service
    was down) counts as half its objective old when it became due, which is what a store in order is at that moment.
    """
    since = read_up_to(row) or row.created_at
    if not is_known:
        since = max(since, outlook.wanted_since or outlook.now)
    if row.failures:
        return since
    if row.page_token is not None and row.next_watermark is not None:
        since = max(since, min(row.next_watermark, outlook.now))
    allowed = objective(row.poll_interval_seconds, outlook.interval)
    is_unpolled = row.last_polled_at is None or outlook.now - row.last_polled_at > allowed
    return max(since, min(row.next_poll_at, outlook.now) - allowed / 2) if is_unpolled else since


def store_trouble(row: StoreRow, outlook: Outlook, *, moves: bool | None = None, is_known: bool = False) -> Kind | None:
    """Return what is wrong with a store that should be polled, the most telling thing only.

    `is_known`: an alert already tells that it does not advance.

    `moves`: whether its watermark was seen to move lately, None while that is not known. A watermark that is old and
    moves belongs to a store whose clock is behind, and all was read; one that never moves, however well the polls
    end, belongs to a store whose answers are old ones.
    """
    if row.status == "paused":
        return Kind.CREDENTIALS_REJECTED if row.pause_reason == "credentials_rejected" else None
    if row.status != "active" or outlook.wanted_since is None:
        return None
    if row.claims >= outlook.most_claims:
        return Kind.LEFT_ALONE
    if row.claims >= CLAIMS_TOLD:
        return Kind.POLLS_WITHOUT_RESULT
    allowed = objective(row.poll_interval_seconds, outlook.interval)
    age = outlook.now - counted_from(row, outlook, is_known=is_known)
    is_late = age > allowed
    if _is_read_lately(row, outlook.now - allowed):
        # Just over the limit it has most likely just stopped; far over it, the store's clock is most likely behind.
        is_late = not moves if moves is not None else is_late and age <= 2 * allowed
    return Kind.NOT_ADVANCING if is_late else None


def _is_read_lately(row: StoreRow, after: datetime) -> bool:
    """Whether the last poll went well, came to the window's end, and was after a moment."""
    is_drained = row.page_token is None and not row.failures
    return is_drained and row.watermark is not None and (row.last_success_at or row.watermark) > after


def destination_troubles(row: DestinationRow) -> frozenset[Kind]:
    """Return everything that is wrong with a destination that should be delivered to."""
    if row.status == "inactive":
        return frozenset()
    found = {Kind.DEAD_LETTERS} if row.has_dead else set()
    if row.status == "disabled":
        found.add(Kind.DESTINATION_GONE)
    elif row.failures >= FAILURES_TOLD:
        found.add(Kind.DESTINATION_FAILING)
    return frozenset(found)
