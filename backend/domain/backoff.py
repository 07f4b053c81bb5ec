"""When to try again: pure functions of the attempt number; jitter and `Retry-After` are applied here only."""

from __future__ import annotations

from datetime import datetime, timedelta

# Standard Webhooks 1.0.0, "deliverability": ten attempts over 75.6 hours before jitter.
DELIVERY_DELAYS = tuple(
    timedelta(seconds=seconds)
    for seconds in (0, 5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
MOST_ATTEMPTS = len(DELIVERY_DELAYS)
LONGEST_HINT = timedelta(hours=24)
STRETCH = 0.2

POLL_FIRST, POLL_LONGEST = timedelta(seconds=30), timedelta(hours=1)

REFUSALS_TO_PAUSE = 3
REFUSALS_APART = timedelta(minutes=10)
REFUSAL_DELAYS = (timedelta(seconds=30), timedelta(minutes=10))
PROBE_DELAYS = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=6), timedelta(days=1))

BREAKER_OPENS_AT = 5
BREAKER_FIRST, BREAKER_LONGEST = timedelta(seconds=30), timedelta(minutes=15)


def stretched(delay: timedelta, luck: float) -> timedelta:
    """Return `delay` stretched by 0 to 20 %; `luck` is in [0, 1)."""
    return delay * (1 + STRETCH * luck)


def next_delivery(attempts: int, now: datetime, *, luck: float, hint: timedelta | None = None) -> datetime | None:
    """Return when the attempt after `attempts` made ones is due; None when the tenth has failed.

    A receiver's `Retry-After` (`hint`) can only move it later, by 24 hours at most.
    """
    if attempts >= MOST_ATTEMPTS:
        return None
    delay = stretched(DELIVERY_DELAYS[attempts], luck)
    return now + max(delay, min(hint or timedelta(0), LONGEST_HINT))


def next_cut_off(attempts: int, now: datetime) -> datetime | None:
    """Return when a delivery is due whose last attempt was cut off: soon, as it may not have arrived; None past ten."""
    return None if attempts >= MOST_ATTEMPTS else now + DELIVERY_DELAYS[1]


def next_poll(failures: int, now: datetime, *, luck: float, hint: timedelta | None = None) -> datetime:
    """Return when a store that failed `failures` times in a row (1 or more) is asked again.

    A time the store named (`hint`) is kept as it is, 24 hours at most; else 30 s doubling to an hour, with jitter.
    """
    if hint is not None:
        return now + min(max(hint, timedelta(0)), LONGEST_HINT)
    doublings = min(failures - 1, 10)
    return now + stretched(min(POLL_FIRST * 2**doublings, POLL_LONGEST), luck)


def credentials_are_rejected(refusals: int, first_refused_at: datetime, now: datetime) -> bool:
    """Whether the refusals so far (this one included) mean that the company must act: three, over ten minutes."""
    return refusals >= REFUSALS_TO_PAUSE and now - first_refused_at >= REFUSALS_APART


def next_refused_poll(refusals: int, now: datetime, *, is_paused: bool) -> datetime:
    """Return when refused credentials are tried again: soon at first, then probes at 15 min, 1 h, 6 h and daily."""
    if not is_paused:
        return now + REFUSAL_DELAYS[min(refusals, len(REFUSAL_DELAYS)) - 1]
    return now + PROBE_DELAYS[min(max(refusals - REFUSALS_TO_PAUSE, 0), len(PROBE_DELAYS) - 1)]


def breaker_until(failures: int, now: datetime) -> datetime | None:
    """Return until when a destination with `failures` in a row is left alone; None while the breaker is closed."""
    if failures < BREAKER_OPENS_AT:
        return None
    doublings: int = 2 ** min(failures - BREAKER_OPENS_AT, 10)
    return now + min(BREAKER_FIRST * doublings, BREAKER_LONGEST)
