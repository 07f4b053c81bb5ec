"""When a store is stuck, a destination in trouble, a lane late: the rules, row by row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.domain.health import (
    CLAIMS_TOLD,
    FAILURES_TOLD,
    Kind,
    Outlook,
    destination_troubles,
    lane_limit,
    objective,
    store_trouble,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
ALLOWED = timedelta(seconds=180)  # of a store without a period of its own, at 30 s a beat
RUNNING = Outlook(NOW, NOW - 10 * DAY, 30, 10)
STOPPED = replace(RUNNING, wanted_since=None)


@dataclass
class Store:
    """A store that was polled ten seconds ago and is in order."""

    status: str = "active"
    pause_reason: str | None = None
    poll_interval_seconds: int | None = None
    claims: int = 0
    failures: int = 0
    watermark: datetime | None = NOW - 70 * SECOND
    clock_offset_seconds: int = 0
    page_token: str | None = None
    next_watermark: datetime | None = None
    next_poll_at: datetime = NOW + 20 * SECOND
    last_polled_at: datetime | None = NOW - 10 * SECOND
    last_success_at: datetime | None = NOW - 10 * SECOND
    created_at: datetime = NOW - 100 * DAY


@dataclass
class Destination:
    status: str = "active"
    failures: int = 0
    has_dead: bool = field(default=False)


def unpolled(since: timedelta, **more: Any) -> Store:
    """Return a store that nobody has polled since then, half a minute after which it was due."""
    at = NOW - since
    fields = {"watermark": at - MINUTE, "next_poll_at": at + 30 * SECOND, "last_polled_at": at, "last_success_at": at}
    return Store(**(fields | more))


def failing(since: timedelta, **more: Any) -> Store:
    """Return a store that has failed since then, last a moment ago."""
    return Store(watermark=NOW - since - MINUTE, last_success_at=NOW - since, failures=3, **more)


@pytest.mark.parametrize(
    ("period", "interval", "seconds"), [(None, 30, 180), (300, 30, 720), (5, 30, 180), (30, 60, 240), (None, 5, 130)]
)
def test_the_objective_is_two_periods_and_two_minutes(period: int | None, interval: int, seconds: int) -> None:
    assert objective(period, interval) == timedelta(seconds=seconds)


STUCK = {
    "nobody polls it": unpolled(121 * SECOND),
    "it fails": failing(121 * SECOND),
    "it waits for a time that the store named": failing(DAY, next_poll_at=NOW + DAY),
    "it was never polled": Store(
        watermark=None, last_polled_at=None, last_success_at=None, created_at=NOW - ALLOWED - SECOND,
        next_poll_at=NOW - ALLOWED - SECOND,
    ),
    "its first window never ends": Store(
        watermark=None, page_token="p", next_watermark=NOW - ALLOWED - SECOND, created_at=NOW - DAY
    ),
    "a window never ends": Store(watermark=NOW - DAY, page_token="p", next_watermark=NOW - ALLOWED - SECOND),
    "its first polls fail": Store(watermark=None, last_success_at=None, failures=4, created_at=NOW - 181 * SECOND),
    "its clock is a day ahead and it fails": replace(failing(DAY), watermark=NOW + 3 * MINUTE),
    "it was due since its pause, and nobody came": unpolled(DAY, next_poll_at=NOW - 91 * SECOND),
}  # fmt: skip
NOT_STUCK = {
    "it is in order": Store(),
    "just on the limit": unpolled(120 * SECOND),
    "it polls every hour": replace(unpolled(timedelta(hours=2)), poll_interval_seconds=3600),
    "an operator paused it": unpolled(DAY, status="paused", pause_reason="paused by operator"),
    "it was removed": unpolled(DAY, status="inactive"),
    "its pause was lifted a moment ago": unpolled(DAY, next_poll_at=NOW - SECOND),
    "it was connected a moment ago": Store(
        watermark=None, last_polled_at=None, last_success_at=None, created_at=NOW - MINUTE, next_poll_at=NOW - MINUTE
    ),
    "it catches up since a minute": Store(watermark=NOW - DAY, page_token="p", next_watermark=NOW - 2 * MINUTE),
    "its clock is known to be a day behind": Store(watermark=NOW - DAY - MINUTE, clock_offset_seconds=-86_400),
    "its clock is known to be a day ahead": Store(watermark=NOW + DAY - MINUTE, clock_offset_seconds=86_400),
}


@pytest.mark.parametrize("store", STUCK.values(), ids=STUCK)
def test_a_store_that_should_advance_and_does_not_is_stuck(store: Store) -> None:
    assert store_trouble(store, RUNNING) is Kind.NOT_ADVANCING


@pytest.mark.parametrize("store", NOT_STUCK.values(), ids=NOT_STUCK)
def test_a_store_that_advances_or_need_not_is_not_stuck(store: Store) -> None:
    assert store_trouble(store, RUNNING) is None


@pytest.mark.parametrize("store", STUCK.values(), ids=STUCK)
def test_nothing_is_stuck_while_polling_is_not_wanted(store: Store) -> None:
    assert store_trouble(store, STOPPED) is None


def test_the_time_before_the_start_does_not_count() -> None:
    started = replace(RUNNING, wanted_since=NOW - ALLOWED)
    assert store_trouble(failing(DAY), started) is None
    assert store_trouble(failing(DAY), replace(started, wanted_since=NOW - ALLOWED - SECOND)) is Kind.NOT_ADVANCING


@pytest.mark.parametrize(("is_known", "found"), [(True, Kind.NOT_ADVANCING), (False, None)])
def test_a_new_start_clears_no_trouble_that_is_known(is_known: bool, found: Kind | None) -> None:
    just_started = replace(RUNNING, wanted_since=NOW - SECOND)
    assert store_trouble(unpolled(15 * MINUTE, failures=3), just_started, is_known=is_known) is found


@pytest.mark.parametrize(
    ("age", "moves", "found"),
    [
        (4 * MINUTE, None, Kind.NOT_ADVANCING),  # it has just come to a standstill
        (DAY, None, None),  # most likely a slow clock, which the next looks will tell
        (4 * MINUTE, True, None),
        (DAY, True, None),
        (DAY, False, Kind.NOT_ADVANCING),
    ],
)
def test_polls_that_end_well_with_an_old_watermark_are_told_apart_by_its_movement(
    age: timedelta, moves: bool | None, found: Kind | None
) -> None:
    assert store_trouble(Store(watermark=NOW - age), RUNNING, moves=moves) is found


@pytest.mark.parametrize(
    ("claims", "found"),
    [(CLAIMS_TOLD - 1, None), (CLAIMS_TOLD, Kind.POLLS_WITHOUT_RESULT), (10, Kind.LEFT_ALONE)],
)
def test_polls_that_never_end_are_told_before_the_store_is_left_alone(claims: int, found: Kind | None) -> None:
    assert store_trouble(Store(claims=claims), RUNNING) is found


@pytest.mark.parametrize("outlook", [RUNNING, STOPPED])
def test_rejected_credentials_are_told_whether_polling_is_wanted_or_not(outlook: Outlook) -> None:
    store = Store(status="paused", pause_reason="credentials_rejected")
    assert store_trouble(store, outlook) is Kind.CREDENTIALS_REJECTED


@pytest.mark.parametrize(
    ("destination", "found"),
    [
        (Destination(), set()),
        (Destination(failures=FAILURES_TOLD - 1), set()),
        (Destination(failures=FAILURES_TOLD), {Kind.DESTINATION_FAILING}),
        (Destination(has_dead=True), {Kind.DEAD_LETTERS}),
        (Destination(status="disabled", failures=50), {Kind.DESTINATION_GONE}),
        (Destination(status="disabled", has_dead=True), {Kind.DESTINATION_GONE, Kind.DEAD_LETTERS}),
        (Destination(status="inactive", failures=50, has_dead=True), set()),
    ],
)
def test_what_is_wrong_with_a_destination(destination: Destination, found: set[Kind]) -> None:
    assert destination_troubles(destination) == found


@pytest.mark.parametrize(("lane", "seconds"), [("polls", 330), ("sweep", 300), ("deliveries", 300)])
def test_a_lane_may_be_five_minutes_late_and_polls_wait_for_a_beat_besides(lane: str, seconds: int) -> None:
    assert lane_limit(lane, 30) == timedelta(seconds=seconds)
