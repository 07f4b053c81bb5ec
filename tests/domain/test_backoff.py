"""When things are tried again: the tables themselves."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.backoff import (
    DELIVERY_DELAYS,
    breaker_until,
    credentials_are_rejected,
    next_cut_off,
    next_delivery,
    next_poll,
    next_refused_poll,
    stretched,
)
from tests.domain.sights import NOON

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=length) for length in (1, 60, 3600, 86_400))
SCHEDULE = [
    (1, 5 * SECOND),
    (2, 5 * MINUTE),
    (3, 30 * MINUTE),
    (4, 2 * HOUR),
    (5, 5 * HOUR),
    (6, 10 * HOUR),
    (7, 14 * HOUR),
    (8, 20 * HOUR),
    (9, 24 * HOUR),
]
LUCK = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(("attempts", "delay"), SCHEDULE)
def test_a_delivery_is_retried_on_the_published_schedule(attempts: int, delay: timedelta) -> None:
    assert next_delivery(attempts, NOON, luck=0) == NOON + delay


@pytest.mark.parametrize("attempts", [10, 11, 99])
def test_the_tenth_failure_is_the_last(attempts: int) -> None:
    assert next_delivery(attempts, NOON, luck=0, hint=HOUR) is None


@pytest.mark.parametrize(("attempts", "due"), [(1, NOON + 5 * SECOND), (9, NOON + 5 * SECOND), (10, None), (11, None)])
def test_an_attempt_that_was_cut_off_is_made_good_soon_unless_it_was_the_tenth(
    attempts: int, due: datetime | None
) -> None:
    assert next_cut_off(attempts, NOON) == due


@pytest.mark.parametrize(("luck", "hours"), [(0.0, 75.6), (0.999999, 90.7)])
def test_ten_attempts_span_three_days_and_more(luck: float, hours: float) -> None:
    span = sum((stretched(delay, luck) for delay in DELIVERY_DELAYS), timedelta())
    assert round(span / HOUR, 1) == hours


@given(luck=LUCK, attempts=st.integers(1, 9))
def test_luck_only_ever_stretches_and_by_a_fifth_at_most(luck: float, attempts: int) -> None:
    due = next_delivery(attempts, NOON, luck=luck)
    assert due is not None
    assert NOON + DELIVERY_DELAYS[attempts] <= due <= NOON + DELIVERY_DELAYS[attempts] * 1.2


@pytest.mark.parametrize(
    ("hint", "delay"),
    [(timedelta(0), 5 * SECOND), (SECOND, 5 * SECOND), (HOUR, HOUR), (DAY, DAY), (30 * DAY, DAY)],
)
def test_a_receiver_can_ask_for_later_and_for_a_day_at_most(hint: timedelta, delay: timedelta) -> None:
    assert next_delivery(1, NOON, luck=0, hint=hint) == NOON + delay


@pytest.mark.parametrize(
    ("failures", "delay"),
    [(1, 30 * SECOND), (2, MINUTE), (3, 2 * MINUTE), (4, 4 * MINUTE), (7, 32 * MINUTE), (8, HOUR), (500, HOUR)],
)
def test_a_failing_store_is_asked_ever_more_seldom(failures: int, delay: timedelta) -> None:
    assert next_poll(failures, NOON, luck=0) == NOON + delay


@pytest.mark.parametrize(
    ("hint", "delay"), [(7 * SECOND, 7 * SECOND), (9 * HOUR, 9 * HOUR), (9 * DAY, DAY), (-HOUR, timedelta(0))]
)
def test_a_time_the_store_names_is_kept_as_it_is(hint: timedelta, delay: timedelta) -> None:
    assert next_poll(5, NOON, luck=0.9, hint=hint) == NOON + delay


@pytest.mark.parametrize(
    ("refusals", "after", "rejected"),
    [
        (1, timedelta(0), False),
        (2, DAY, False),
        (3, 10 * MINUTE - SECOND, False),
        (3, 10 * MINUTE, True),
        (4, 10 * MINUTE, True),
    ],
)
def test_credentials_are_rejected_by_three_refusals_over_ten_minutes(
    refusals: int, after: timedelta, *, rejected: bool
) -> None:
    assert credentials_are_rejected(refusals, NOON - after, NOON) is rejected


@pytest.mark.parametrize(
    ("refusals", "is_paused", "delay"),
    [
        (1, False, 30 * SECOND),
        (2, False, 10 * MINUTE),
        (9, False, 10 * MINUTE),
        (3, True, 15 * MINUTE),
        (4, True, HOUR),
        (5, True, 6 * HOUR),
        (6, True, DAY),
        (99, True, DAY),
    ],
)
def test_refused_credentials_are_probed(refusals: int, delay: timedelta, *, is_paused: bool) -> None:
    assert next_refused_poll(refusals, NOON, is_paused=is_paused) == NOON + delay


def test_the_third_refusal_comes_late_enough_to_count() -> None:
    first = NOON
    second = next_refused_poll(1, first, is_paused=False)
    third = next_refused_poll(2, second, is_paused=False)
    assert credentials_are_rejected(3, first, third)


@pytest.mark.parametrize(
    ("failures", "held"),
    [(4, None), (5, 30 * SECOND), (6, MINUTE), (7, 2 * MINUTE), (9, 8 * MINUTE), (10, 15 * MINUTE), (999, 15 * MINUTE)],
)
def test_the_breaker_opens_at_five_and_stays_open_longer_each_time(failures: int, held: timedelta | None) -> None:
    assert breaker_until(failures, NOON) == (None if held is None else NOON + held)


def test_no_wait_of_the_schedule_is_shorter_than_the_one_before() -> None:
    assert all(earlier <= later for earlier, later in pairwise(DELIVERY_DELAYS))
