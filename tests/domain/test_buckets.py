"""The token bucket: never more than the capacity plus the rate times the time, and nothing wasted."""

from __future__ import annotations

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.buckets import LONGEST_HOLD, Allowance, Ask, Bucket, Rate, Taken

RATES = st.builds(Rate, st.floats(1, 50), st.floats(0.1, 50))
STEPS = st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 60)), min_size=1, max_size=60)
EXACT = 1e-6


def taken_at(rate: Rate, steps: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return (time, cost) of what a full bucket gave to these (pause, cost) wishes."""
    bucket, given_out = Bucket(rate.capacity, 0.0), []
    for now, cost in zip(accumulate(pause for pause, _ in steps), (cost for _, cost in steps), strict=True):
        if bucket.answer(Ask(rate, cost), now).wait == 0:
            given_out.append((now, min(cost, rate.capacity)))
    return given_out


def slow_reference(rate: Rate, steps: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Give out the same, by looking at every stretch of time that ends now instead of keeping a level."""
    given_out: list[tuple[float, float]] = []
    for now, wished in zip(accumulate(pause for pause, _ in steps), (cost for _, cost in steps), strict=True):
        cost = min(wished, rate.capacity)
        begins = {at for at, _ in given_out} | {now}
        if all(
            sum(spent for at, spent in given_out if at >= begin) + cost
            <= rate.capacity + rate.per_second * (now - begin) + EXACT
            for begin in begins
        ):
            given_out.append((now, cost))
    return given_out


@given(RATES, STEPS)
def test_no_stretch_of_time_gets_more_than_the_capacity_and_the_rate(
    rate: Rate, steps: list[tuple[float, float]]
) -> None:
    given_out = taken_at(rate, steps)
    for first, (begin, _) in enumerate(given_out):
        for last in range(first, len(given_out)):
            end = given_out[last][0]
            spent = sum(cost for _, cost in given_out[first : last + 1])
            assert spent <= rate.capacity + rate.per_second * (end - begin) + EXACT


@given(st.integers(1, 20), st.integers(1, 8), st.lists(st.tuples(st.integers(0, 5), st.integers(1, 25)), max_size=60))
def test_all_that_the_limit_allows_is_given(capacity: int, per_second: int, steps: list[tuple[int, int]]) -> None:
    rate = Rate(capacity, per_second)  # whole numbers, so that both reckon without rounding
    wishes = [(float(pause), float(cost)) for pause, cost in steps]
    assert taken_at(rate, wishes) == slow_reference(rate, wishes)


@given(RATES, STEPS)
def test_after_the_wait_that_was_told_it_is_there(rate: Rate, steps: list[tuple[float, float]]) -> None:
    bucket, now = Bucket(rate.capacity, 0.0), 0.0
    for pause, cost in steps:
        now += pause
        wait = bucket.answer(Ask(rate, cost), now).wait
        if wait:
            now += wait + EXACT
            assert bucket.answer(Ask(rate, cost), now).wait == 0


def test_what_was_not_spent_comes_back() -> None:
    assert Bucket(3.0, 0.0).answer(Ask(Rate(10, 1), 5, back=4), 0.0) == Taken(0.0, 2.0)


def test_nothing_comes_back_past_the_capacity() -> None:
    assert Bucket(9.0, 0.0).answer(Ask(Rate(10, 1), 0, back=4), 0.0) == Taken(0.0, 10.0)


def test_the_stores_own_figure_lowers_the_level() -> None:
    assert Bucket(9.0, 0.0).answer(Ask(Rate(10, 1), 0, ceiling=2), 0.0) == Taken(0.0, 2.0)


def test_the_stores_own_figure_never_raises_the_level() -> None:
    assert Bucket(1.0, 0.0).answer(Ask(Rate(10, 1), 0, ceiling=8), 0.0) == Taken(0.0, 1.0)


def test_a_hold_empties_the_bucket_until_it_ends() -> None:
    bucket = Bucket(10.0, 0.0)
    bucket.answer(Ask(Rate(10, 2), 0, hold=30), 0.0)
    assert bucket.answer(Ask(Rate(10, 2)), 20.0) == Taken(10.5, 0.0)


def test_a_hold_has_an_end_however_long_it_was_asked_for() -> None:
    bucket = Bucket(10.0, 0.0)
    bucket.answer(Ask(Rate(10, 2), 0, hold=math.inf), 0.0)
    assert bucket.held_until == LONGEST_HOLD


def test_a_clock_that_went_back_gives_nothing_twice() -> None:
    bucket = Bucket(10.0, 100.0)
    assert bucket.answer(Ask(Rate(10, 2), 0), 50.0) == Taken(0.0, 0.0)


def test_a_cost_above_the_capacity_is_the_capacity() -> None:
    assert Bucket(10.0, 0.0).answer(Ask(Rate(10, 1), 500), 0.0) == Taken(0.0, 0.0)


@pytest.mark.parametrize(
    ("whole", "used"),
    [(Rate(40, 2), Rate(36, 1.9)), (Rate(1, 2), Rate(1, 1.9)), (Rate(0.5, 2), Rate(0.5, 1.9))],
)
def test_a_margin_is_kept_and_one_request_always_fits(whole: Rate, used: Rate) -> None:
    assert whole.with_margin() == used


FIGURES = {"maximum": 2000, "available": 1893, "restored_per_second": 100, "requested": 735, "spent": 107}


def test_a_stores_figures_are_read() -> None:
    assert Allowance.read(FIGURES) == Allowance(2000.0, 1893.0, 100.0, 735.0, 107.0)


@pytest.mark.parametrize(
    "odd",
    [
        {"maximum": None},
        {"maximum": 0.5},
        {"available": -1},
        {"restored_per_second": math.nan},
        {"maximum": 1e300},
        {"available": "many"},
    ],
)
def test_figures_that_make_no_sense_are_not_believed(odd: dict[str, object]) -> None:
    assert Allowance.read({**FIGURES, **odd}) is None


def test_a_store_that_restores_next_to_nothing_is_asked_again_within_the_hour() -> None:
    assert Allowance(3600, 0, 1e-9).rate == Rate(3600, 1.0)
