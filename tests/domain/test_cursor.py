"""How a cursor begins, moves with pages, and where the next window starts."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.cursor import SETTLE, Cursor, advance, begin, in_store_time, without_walk
from tests.domain.sights import NOON

OVERLAP, LOOKBACK = timedelta(minutes=10), timedelta(days=3)
HOUR = timedelta(hours=1)
WALKING = Cursor(watermark=NOON - HOUR, window_from=NOON - 2 * HOUR, page_token="p2", next_watermark=NOON)


def begun(cursor: Cursor, now: datetime = NOON) -> Cursor:
    return begin(cursor, now=now, overlap=OVERLAP, lookback=LOOKBACK)


@pytest.mark.parametrize(
    ("cursor", "window_from"),
    [
        (Cursor(), NOON - LOOKBACK),
        (Cursor(watermark=NOON - HOUR), NOON - HOUR - OVERLAP),
        (Cursor(watermark=NOON - HOUR, window_from=NOON - 2 * HOUR), NOON - HOUR - OVERLAP),
    ],
    ids=["never read", "read before", "drained before"],
)
def test_a_new_walk_begins_before_the_watermark(cursor: Cursor, window_from: datetime) -> None:
    started = begun(cursor)
    assert (started.window_from, started.page_token, started.next_watermark) == (window_from, None, None)


def test_a_walk_in_hand_goes_on() -> None:
    assert begun(WALKING) == WALKING


def test_beginning_moves_no_watermark() -> None:
    assert begun(Cursor(watermark=NOON - HOUR)).watermark == NOON - HOUR


def test_a_page_moves_the_token_and_not_the_watermark() -> None:
    moved = advance(WALKING, next_page_token="p3", server_time=NOON + HOUR, now=NOON + HOUR)
    assert moved == Cursor(NOON - HOUR, NOON - 2 * HOUR, "p3", NOON, pages=1)


@pytest.mark.parametrize(("server_time", "marked"), [(NOON + HOUR, NOON + HOUR - SETTLE), (None, NOON - SETTLE)])
def test_the_first_page_marks_the_next_window(server_time: datetime | None, marked: datetime) -> None:
    moved = advance(begun(Cursor()), next_page_token="p2", server_time=server_time, now=NOON)
    assert moved.next_watermark == marked


def test_later_pages_leave_the_mark() -> None:
    first = advance(begun(Cursor()), next_page_token="p2", server_time=NOON, now=NOON)
    last = advance(first, next_page_token=None, server_time=NOON + HOUR, now=NOON + HOUR)
    assert last.watermark == NOON - SETTLE


def test_a_drained_walk_is_over() -> None:
    drained = advance(WALKING, next_page_token=None, server_time=NOON, now=NOON)
    assert (drained.is_walking, drained.page_token, drained.next_watermark) == (False, None, None)


@pytest.mark.parametrize("hours", [24, 10, 1])
def test_a_store_whose_clock_was_ahead_is_read_from_its_present_time(hours: int) -> None:
    # A cart touched after the clock was put right is dated before the old watermark.
    ahead = Cursor(watermark=NOON + hours * HOUR)
    drained = advance(begun(ahead), next_page_token=None, server_time=NOON, now=NOON)
    assert drained.watermark == NOON - SETTLE


@pytest.mark.parametrize(
    ("days", "marked"),
    [
        (27_000, NOON - SETTLE),
        (3, NOON - SETTLE),
        (1, NOON + timedelta(days=1) - SETTLE),
        (-1, NOON - timedelta(days=1) - SETTLE),
        (-20_000, NOON - timedelta(days=2) - SETTLE),
    ],
    ids=["2099", "not credible", "a day ahead", "a day behind", "1972"],
)
def test_a_watermark_believes_a_store_two_days_either_way(days: int, marked: datetime) -> None:
    drained = advance(begun(Cursor()), next_page_token=None, server_time=NOON + timedelta(days=days), now=NOON)
    assert drained.watermark == marked


class TestAStoreWithAnotherClock:
    @pytest.mark.parametrize("hours", [24, -24])
    def test_its_first_window_is_moved_into_its_own_time(self, hours: int) -> None:
        moved = in_store_time(begun(Cursor()), server_time=NOON + hours * HOUR, now=NOON)
        assert moved.window_from == NOON + hours * HOUR - LOOKBACK

    def test_its_first_window_is_moved_once(self) -> None:
        moved = in_store_time(begun(Cursor()), server_time=NOON + 24 * HOUR, now=NOON)
        assert in_store_time(moved, server_time=NOON - 24 * HOUR, now=NOON) == moved

    @pytest.mark.parametrize("server_time", [None, NOON, NOON + timedelta(minutes=5), NOON + timedelta(days=3)])
    def test_a_first_window_stays_where_the_clocks_agree_or_nothing_is_known(
        self, server_time: datetime | None
    ) -> None:
        assert in_store_time(begun(Cursor()), server_time=server_time, now=NOON) == begun(Cursor())

    @pytest.mark.parametrize("cursor", [WALKING, Cursor(watermark=NOON - HOUR)], ids=["walking", "read before"])
    def test_no_later_window_is_moved(self, cursor: Cursor) -> None:
        assert in_store_time(begun(cursor), server_time=NOON + 24 * HOUR, now=NOON) == begun(cursor)

    def test_its_offset_is_kept_with_the_cursor(self) -> None:
        moved = advance(WALKING, next_page_token=None, server_time=NOON - 24 * HOUR, now=NOON)
        assert moved.clock_offset == -24 * HOUR

    def test_a_store_read_anew_looks_back_from_its_own_time(self) -> None:
        assert begun(Cursor(clock_offset=24 * HOUR)).window_from == NOON + 24 * HOUR - LOOKBACK


def test_pages_are_counted_on_from_earlier_polls() -> None:
    walking = replace(WALKING, pages=7)
    assert advance(begun(walking), next_page_token="p3", server_time=NOON, now=NOON).pages == 8


@pytest.mark.parametrize(
    "over",
    [
        advance(replace(WALKING, pages=7), next_page_token=None, server_time=NOON, now=NOON),
        without_walk(replace(WALKING, pages=7)),
        begun(Cursor(NOON - HOUR, pages=7)),
    ],
    ids=["drained", "given up", "begun"],
)
def test_the_count_ends_with_the_walk(over: Cursor) -> None:
    assert over.pages == 0


class TestAWalkGivenUp:
    def test_the_next_one_begins_where_it_began(self) -> None:
        assert begun(without_walk(WALKING)).window_from == NOON - HOUR - OVERLAP

    def test_the_watermark_stays(self) -> None:
        assert without_walk(WALKING) == Cursor(watermark=NOON - HOUR)

    def test_a_first_walk_begins_again_at_its_own_beginning_however_late(self) -> None:
        first = advance(begun(Cursor()), next_page_token="p2", server_time=NOON, now=NOON)
        assert begun(without_walk(first), NOON + 48 * HOUR).window_from == NOON - LOOKBACK


PAGES = st.lists(st.tuples(st.booleans(), st.integers(0, 600)), min_size=1, max_size=30)


@given(pages=PAGES)
def test_every_window_begins_no_later_than_the_last_drained_walk_did(pages: list[tuple[bool, int]]) -> None:
    now, cursor = NOON, Cursor()
    began = None  # when the first page of the present walk was answered
    drained_walk_began = None
    for is_last, seconds in pages:
        cursor = begun(cursor, now)
        now += timedelta(seconds=seconds)
        began = began or now
        cursor = advance(cursor, next_page_token=None if is_last else "next", server_time=now, now=now)
        if is_last:
            drained_walk_began, began = began, None
        if drained_walk_began is not None:
            assert cursor.watermark == drained_walk_began - SETTLE
