"""From what an answer says to when the next try is due: stores, and partners' destinations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.backoff import (
    DELIVERY_DELAYS,
    LONGEST_HINT,
    MOST_ATTEMPTS,
    POLL_LONGEST,
    breaker_until,
    next_delivery,
    next_poll,
    next_refused_poll,
)
from backend.outbound import retry_after
from tests.domain.sights import NOON

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=length) for length in (1, 60, 3600, 86_400))
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
LUCK = st.floats(0, 1, exclude_max=True)


def hint(value: str | None) -> timedelta | None:
    """Return what a `Retry-After` of this text asks for at noon."""
    return retry_after({} if value is None else {"retry-after": value}, NOON)


def date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("77", 77 * SECOND),
        (date(NOON + 7 * MINUTE), 7 * MINUTE),
        ("1000000000", DAY),
        (date(NEVER), DAY),
        (date(NOON - HOUR), timedelta(0)),
        ("-5", 30 * SECOND),
        ("when we are done", 30 * SECOND),
        ("", 30 * SECOND),
        (None, 30 * SECOND),
    ],
    ids=["seconds", "date", "absurd", "absurd date", "past", "negative", "words", "empty", "none"],
)
def test_a_store_is_asked_again_when_it_says_or_else_by_back_off(value: str | None, wait: timedelta) -> None:
    assert next_poll(1, NOON, luck=0, hint=hint(value)) == NOON + wait


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("77", 77 * SECOND),
        ("1", 5 * SECOND),
        (date(NOON + 7 * MINUTE), 7 * MINUTE),
        ("1000000000", DAY),
        (date(NEVER), DAY),
        (date(NOON - HOUR), 5 * SECOND),
        ("-5", 5 * SECOND),
        ("when we are done", 5 * SECOND),
        (None, 5 * SECOND),
    ],
    ids=["seconds", "sooner", "date", "absurd", "absurd date", "past", "negative", "words", "none"],
)
def test_a_partner_can_put_a_retry_off_and_never_bring_it_forward(value: str | None, wait: timedelta) -> None:
    assert next_delivery(1, NOON, luck=0, hint=hint(value)) == NOON + wait


@given(value=st.text(max_size=40) | st.integers().map(str) | st.datetimes(timezones=st.just(UTC)).map(date))
def test_no_header_makes_anybody_wait_longer_than_a_day(value: str) -> None:
    asked = hint(value)
    assert asked is None or timedelta(0) <= asked <= LONGEST_HINT


@given(failures=st.integers(1, 10**9), luck=LUCK, asked=st.none() | st.timedeltas())
def test_a_store_is_always_due_again_within_a_day(failures: int, luck: float, asked: timedelta | None) -> None:
    assert NOON <= next_poll(failures, NOON, luck=luck, hint=asked) <= NOON + LONGEST_HINT


@given(failures=st.integers(1, 100), luck=LUCK)
def test_back_off_without_a_hint_ends_at_an_hour_and_a_fifth(failures: int, luck: float) -> None:
    assert next_poll(failures, NOON, luck=luck) <= NOON + POLL_LONGEST * 1.2


@given(attempts=st.integers(1, 30), luck=LUCK, asked=st.none() | st.timedeltas())
def test_a_delivery_is_due_within_its_schedule_or_a_day_or_is_given_up(
    attempts: int, luck: float, asked: timedelta | None
) -> None:
    due = next_delivery(attempts, NOON, luck=luck, hint=asked)
    if attempts >= MOST_ATTEMPTS:
        assert due is None
    else:
        assert due is not None
        assert NOON + DELIVERY_DELAYS[attempts] <= due <= NOON + max(DELIVERY_DELAYS[attempts] * 1.2, LONGEST_HINT)


@given(refusals=st.integers(1, 10**6), is_paused=st.booleans())
def test_refused_credentials_are_tried_again_within_a_day(*, refusals: int, is_paused: bool) -> None:
    assert NOON < next_refused_poll(refusals, NOON, is_paused=is_paused) <= NOON + DAY


@given(failures=st.integers(0, 10**9))
def test_a_breaker_never_stays_open_longer_than_a_quarter_of_an_hour(failures: int) -> None:
    until = breaker_until(failures, NOON)
    assert until is None or NOON < until <= NOON + 15 * MINUTE
