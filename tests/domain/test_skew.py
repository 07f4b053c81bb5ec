"""Stores whose clock is not ours: when their carts are abandoned, and that nothing of them is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backend.domain.carts import CartPage, SeenCart
from backend.domain.cursor import Cursor, advance, begin
from backend.domain.lifecycle import CartRow, Kind, activity_hash, first_sight, is_abandoned, next_sight, revision_hash
from backend.domain.skew import CREDIBLE, TOLERANCE, aligned, settled
from tests.domain.sights import IDS, NOON, RULES, bought, line, seen

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
NONE = timedelta(0)
OFFSETS = st.integers(-86_400, 86_400).map(lambda seconds: timedelta(seconds=seconds))
JITTER = st.floats(-20, 20).map(lambda seconds: timedelta(seconds=seconds))


def looked_at(cart: SeenCart, offset: timedelta, now: datetime = NOON) -> SeenCart:
    """Return the cart as our clock tells its times."""
    (only,) = aligned(CartPage((cart,)), offset, now).carts
    return only


def dated(cart: SeenCart, offset: timedelta) -> SeenCart:
    """Return the cart as a store dates it whose clock is ahead of ours by `offset`."""
    completed_at = None if cart.completed_at is None else cart.completed_at + offset
    return replace(
        cart, created_at=cart.created_at + offset, updated_at=cart.updated_at + offset, completed_at=completed_at
    )


class TestTheOffset:
    @pytest.mark.parametrize("seconds", [0, 1, -59, 300, -300])
    def test_clocks_within_minutes_agree(self, seconds: int) -> None:
        assert settled(NONE, NOON + seconds * SECOND, NOON) == NONE

    @pytest.mark.parametrize("seconds", [301, -301, 3600, 86_400, -86_400])
    def test_clocks_that_are_farther_apart_do_not(self, seconds: int) -> None:
        assert settled(NONE, NOON + seconds * SECOND, NOON) == seconds * SECOND

    def test_an_answer_without_a_date_leaves_it(self) -> None:
        assert settled(DAY, None, NOON) == DAY

    def test_a_clock_that_was_put_right_has_none(self) -> None:
        assert settled(DAY, NOON + 3 * SECOND, NOON) == NONE

    @pytest.mark.parametrize("days", [3, -3, 27_000, -20_000])
    def test_a_date_beyond_belief_tells_nothing(self, days: int) -> None:
        assert settled(NONE, NOON + days * DAY, NOON) == NONE

    @given(offset=OFFSETS, jitter=st.lists(JITTER, max_size=20))
    def test_jitter_never_moves_it(self, offset: timedelta, jitter: list[timedelta]) -> None:
        assume(abs(abs(offset) - TOLERANCE) > 40 * SECOND)  # elsewhere: at the very edge of agreeing
        after = known = settled(NONE, NOON + offset, NOON)
        for late in jitter:
            after = settled(after, NOON + offset + late, NOON)
        assert after == known

    @given(offset=OFFSETS, late=JITTER)
    def test_it_is_never_wrong_by_more_than_minutes(self, offset: timedelta, late: timedelta) -> None:
        known = settled(settled(NONE, NOON + offset, NOON), NOON + offset + late, NOON)
        assert abs(known - offset) <= TOLERANCE + 21 * SECOND


class TestTimes:
    def test_a_page_of_a_store_whose_clock_agrees_is_the_same_page(self) -> None:
        page = CartPage((seen(1), seen(2)))
        assert aligned(page, NONE, NOON) is page

    @given(offset=OFFSETS, minutes_ago=st.floats(0, 10_000))
    def test_a_cart_has_the_time_our_clock_would_have_told(self, offset: timedelta, minutes_ago: float) -> None:
        cart = bought(minutes_ago)
        assert looked_at(dated(cart, offset), offset) == cart

    @pytest.mark.parametrize("hours", [1, 23])
    def test_a_cart_dated_ahead_of_its_own_stores_clock_is_of_now(self, hours: int) -> None:
        assert looked_at(seen(-60 * hours), NONE).updated_at == NOON

    @pytest.mark.parametrize("offset", [DAY, -DAY])
    @pytest.mark.parametrize("year", [1, 1970, 9999])
    def test_the_ends_of_time_are_borne(self, year: int, offset: timedelta) -> None:
        moment = datetime(year, 1, 1, tzinfo=UTC) if year < 9999 else datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
        assert looked_at(seen(created_at=moment, updated_at=moment), offset).updated_at <= NOON

    @pytest.mark.parametrize(("offset", "word"), [(DAY, "store_clock_ahead"), (-DAY, "store_clock_behind")])
    def test_people_are_told(self, offset: timedelta, word: str) -> None:
        assert aligned(CartPage(notices=("other",)), offset, NOON).notices == ("other", word)

    @given(offset=OFFSETS)
    def test_no_content_changes(self, offset: timedelta) -> None:
        cart = seen(5)
        moved = looked_at(dated(cart, offset), offset)
        assert revision_hash(moved, activity_hash(moved)) == revision_hash(cart, activity_hash(cart))


class TestAbandonment:
    @given(offset=OFFSETS, minutes_ago=st.floats(0, 2000))
    def test_it_comes_when_it_would_have_come_by_our_clock(self, offset: timedelta, minutes_ago: float) -> None:
        cart = seen(minutes_ago)
        row = first_sight(looked_at(dated(cart, offset), offset), IDS, RULES, NOON).row
        assert row.next_check_at == cart.updated_at + RULES.threshold

    def test_a_store_a_day_behind_does_not_lose_the_shopper_in_mid_purchase(self) -> None:
        row = first_sight(looked_at(dated(seen(1), -DAY), -DAY), IDS, RULES, NOON).row
        assert not is_abandoned(row, RULES, NOON)

    def test_a_store_a_day_ahead_is_not_waited_for(self) -> None:
        row = first_sight(looked_at(dated(seen(31), DAY), DAY), IDS, RULES, NOON).row
        assert is_abandoned(row, RULES, NOON)


def look(row: CartRow | None, cart: SeenCart, offset: timedelta, now: datetime) -> tuple[CartRow, Kind]:
    """Fold a look at a cart, dated by its store, into what is stored."""
    seen_now = looked_at(cart, offset, now)
    change = first_sight(seen_now, IDS, RULES, now) if row is None else next_sight(row, seen_now, RULES, now)
    return change.row, change.kind


@given(offset=OFFSETS, jitter=st.lists(st.tuples(JITTER, st.integers(1, 300)), min_size=1, max_size=12))
def test_no_change_of_a_cart_is_taken_for_old_news(offset: timedelta, jitter: list[tuple[timedelta, int]]) -> None:
    # Each poll measures the clock a little differently, and the shopper changes the cart between any two.
    assume(abs(abs(offset) - TOLERANCE) > 40 * SECOND)
    row, known, now = None, settled(NONE, NOON + offset, NOON), NOON
    for number, (late, seconds) in enumerate(jitter):
        now += timedelta(seconds=seconds)
        known = settled(known, now + offset + late, now)
        price = f"{number + 1}.00"
        cart = seen(price=price, lines=(line(price),), created_at=now, updated_at=now)
        row, kind = look(row, dated(cart, offset), known, now)
        assert kind in {Kind.NEW, Kind.CHANGED}


@pytest.mark.parametrize("offset", [DAY, -DAY])
def test_a_change_after_the_clock_was_put_right_is_news(offset: timedelta) -> None:
    row, _ = look(None, dated(seen(5), offset), offset, NOON)
    _, kind = look(row, seen(-1, price="20.00"), NONE, NOON + MINUTE)
    assert kind is Kind.CHANGED


def test_a_change_after_a_date_in_the_future_is_news() -> None:
    row, _ = look(None, seen(-23 * 60), NONE, NOON)
    _, kind = look(row, seen(-1, price="20.00"), NONE, NOON + MINUTE)
    assert kind is Kind.CHANGED


@given(
    offsets=st.lists(st.integers(-1440, 1440).map(lambda minutes: minutes * MINUTE), min_size=1, max_size=6),
    hours=st.integers(0, 100),
)
def test_what_was_touched_lies_in_a_window_however_the_clock_jumps(offsets: list[timedelta], hours: int) -> None:
    # The clock jumps right after a poll, shoppers touch carts until the next one, which may come days later.
    cursor, now = drained(Cursor(), NONE, NOON), NOON
    for offset in offsets:
        touched = now + SECOND + offset
        now += timedelta(hours=hours, seconds=30)
        first, cursor = window(cursor, now), drained(cursor, offset, now)
        second, cursor = window(cursor, now + MINUTE), drained(cursor, offset, now + MINUTE)
        assert min(first, second) <= touched
        now += MINUTE


def window(cursor: Cursor, now: datetime) -> datetime:
    """Return where a poll's window begins."""
    started = begin(cursor, now=now, overlap=10 * MINUTE, lookback=3 * DAY)
    assert started.window_from is not None
    return started.window_from


def drained(cursor: Cursor, offset: timedelta, now: datetime) -> Cursor:
    """Return the cursor after a poll of one page."""
    started = begin(cursor, now=now, overlap=10 * MINUTE, lookback=3 * DAY)
    return advance(started, next_page_token=None, server_time=now + offset, now=now)


def test_what_is_credible_holds_a_day_either_way() -> None:
    assert DAY + TOLERANCE < CREDIBLE
