"""Walks that a store would never end, and pages that must not be walked past."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backend.domain.carts import CartPage, Exclusion, UnreadableRecord
from backend.domain.cursor import Cursor, advance
from backend.domain.walks import AFTER_ENDLESS, ENDS_WALK, MOST_PAGES, WalkGuard, is_bad_all_through
from backend.errors import TryLater
from tests.domain.sights import NOON, seen


def page(*ids: str, token: str | None = "next", minutes_ago: float = 0) -> CartPage:
    """Return a page with these carts that leads on to `token`."""
    return CartPage(tuple(seen(minutes_ago, source_cart_id=cart_id) for cart_id in ids), next_page_token=token)


def walked(pages: list[CartPage], pages_before: int = 0) -> str:
    """Walk over pages, each asked for by the token of the one before; return the code it stopped with, if it did."""
    guard, cursor = WalkGuard(), Cursor(pages=pages_before)
    try:
        for each in pages:
            guard.saw(cursor, each)
            cursor = advance(cursor, next_page_token=each.next_page_token, server_time=NOON, now=NOON)
    except TryLater as stop:
        return stop.code
    return ""


def endless(count: int) -> list[CartPage]:
    return [page(f"c{number}", token=f"t{number}") for number in range(count)]


def test_a_walk_over_ever_new_records_goes_on() -> None:
    assert walked(endless(500)) == ""


@pytest.mark.parametrize("length", [1, 2, 3, 7, 50])
def test_tokens_that_go_round_end_the_walk(length: int) -> None:
    circle = [page(f"c{number}", token=f"t{number % length}") for number in range(9 * length + 9)]
    assert walked(circle) == "pagination_loop"


def test_a_walk_may_begin_a_part_again_once() -> None:
    part = [page("a", token="t1"), page("b", token="t2"), page("c", token="t3")]
    again = [page("a", token="t1"), page("b", token="t2"), page("c", token="t3"), page("d", token=None)]
    assert walked(part + again) == ""


def test_the_same_page_three_times_under_new_tokens_ends_the_walk() -> None:
    assert walked([page("a", "b", token=f"t{number}") for number in range(3)]) == "page_repeats"


def test_a_part_of_the_page_before_brings_nothing_new_either() -> None:
    assert walked([page("a", "b", token="t1"), page("b", token="t2"), page("b", token="t3")]) == "page_repeats"


def test_a_page_may_be_shown_twice() -> None:
    assert walked([page("a", token="t1"), page("a", token="t2"), page("b", token="t3"), page("b", token="t4")]) == ""


def test_a_cart_that_changed_since_is_new() -> None:
    assert walked([page("a", token=f"t{number}", minutes_ago=9 - number) for number in range(9)]) == ""


@pytest.mark.parametrize(("empty", "code"), [(9, ""), (10, "page_repeats")])
def test_pages_without_records_are_borne_for_a_while(empty: int, code: str) -> None:
    assert walked([page(token=f"t{number}") for number in range(empty)] + [page("a", token=None)]) == code


@pytest.mark.parametrize(
    "same",
    [
        CartPage(exclusions=(Exclusion("a", "gone"),)),
        CartPage(unreadable=(UnreadableRecord(None, "bad_id", b"{}"),)),
    ],
    ids=["exclusions", "unreadable records"],
)
def test_pages_of_other_records_are_compared_too(same: CartPage) -> None:
    pages = [CartPage((), same.exclusions, same.unreadable, next_page_token=f"t{number}") for number in range(3)]
    assert walked(pages) == "page_repeats"


def test_a_walk_has_an_end_also_over_many_polls() -> None:
    assert walked(endless(3), MOST_PAGES - 3) == "pagination_endless"


def test_a_million_carts_in_pages_of_fifty_are_read() -> None:
    last = page("last", token=None)
    assert walked([page("c", token="t"), last], 1_000_000 // 50 - 2) == ""


def test_an_endless_store_is_left_alone_for_an_hour() -> None:
    with pytest.raises(TryLater) as stop:
        WalkGuard().saw(Cursor(pages=MOST_PAGES), page("a"))
    assert (stop.value.retry_after, bool(stop.value.remedy)) == (AFTER_ENDLESS, True)


def test_the_last_page_never_stops_a_walk() -> None:
    assert walked([page("a", token=None)], MOST_PAGES) == ""


def bad(count: int, reason: str = "bad_id") -> tuple[UnreadableRecord, ...]:
    return tuple(UnreadableRecord(None, reason, b"{}") for _ in range(count))


@pytest.mark.parametrize(
    ("records", "is_bad"),
    [
        (CartPage(unreadable=bad(3)), True),
        (CartPage(unreadable=bad(2)), False),
        (CartPage(), False),
        (CartPage(page("a").carts, unreadable=bad(9)), False),
        (CartPage(exclusions=(Exclusion("a", "gone"),), unreadable=bad(9)), False),
        (CartPage(unreadable=bad(100, "dated_in_the_future")), False),
        (CartPage(unreadable=bad(100, "dated_in_the_future") + bad(2)), False),
        (CartPage(unreadable=bad(100, "dated_in_the_future") + bad(3)), True),
    ],
)
def test_a_page_stops_its_store_when_its_form_cannot_be_read(records: CartPage, *, is_bad: bool) -> None:
    assert is_bad_all_through(records) is is_bad


def test_every_stop_ends_the_walk() -> None:
    codes = {
        walked([page("a", token="t1"), page("b", token="t1"), page("c", token="t1"), page("d", token="t1")] * 2),
        walked([page("a", token=f"t{number}") for number in range(3)]),
        walked(endless(3), MOST_PAGES),
    }
    assert codes < ENDS_WALK


def test_the_pause_after_an_endless_walk_is_longer_than_the_walk() -> None:
    assert timedelta(minutes=30) < AFTER_ENDLESS
