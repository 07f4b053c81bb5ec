"""A store whose clock is a day off, from its first poll to the day its clock is put right."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backend.models import integrations
from tests.services.acts import cart, states, store_row
from tests.services.line import NOON, Line

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
EITHER_WAY = pytest.mark.parametrize("off_by", [DAY, -DAY], ids=["ahead", "behind"])


def put(line: Line, cart_id: str, ago: timedelta, total: str = "10.00") -> None:
    """Let a shopper touch a cart so long ago; the store dates it by its own clock."""
    at = line.clock.now() + line.store.clock_skew - ago
    if cart_id in line.store.tenants["s0"].carts:
        line.store.touch("s0", cart_id, at, total=total)
    else:
        line.store.add_cart("s0", cart_id, at, total=total)


@EITHER_WAY
async def test_the_first_look_back_is_reckoned_by_the_stores_clock(line: Line, off_by: timedelta) -> None:
    line.store.clock_skew = off_by
    put(line, "within", 71 * 60 * MINUTE)
    put(line, "before", 73 * 60 * MINUTE)
    await line.run()
    assert list(await states(line)) == ["within"]


@EITHER_WAY
async def test_only_the_first_page_is_asked_for_twice(line: Line, off_by: timedelta) -> None:
    line.store.clock_skew = off_by
    await line.run()
    first = len(line.store.requests)
    line.clock.move(minutes=1)
    await line.run()
    assert (first, len(line.store.requests)) == (2, 3)


async def test_a_first_page_of_a_store_whose_clock_agrees_is_asked_for_once(line: Line) -> None:
    await line.run()
    assert len(line.store.requests) == 1


@EITHER_WAY
async def test_a_cart_is_abandoned_when_its_threshold_has_run_out(line: Line, off_by: timedelta) -> None:
    line.store.clock_skew = off_by
    put(line, "c1", 29 * MINUTE)
    await line.run()
    before = await states(line)
    line.clock.move(minutes=2)
    await line.run()
    assert (before, line.effects()) == ({"c1": "active"}, ["c1"])


@EITHER_WAY
async def test_partners_are_told_times_by_our_clock(line: Line, off_by: timedelta) -> None:
    line.store.clock_skew = off_by
    put(line, "c1", 40 * MINUTE)
    await line.run()
    assert (await cart(line)).abandoned_at == NOON - 10 * MINUTE


@EITHER_WAY
async def test_its_cursor_stays_in_its_own_time(line: Line, off_by: timedelta) -> None:
    line.store.clock_skew = off_by
    await line.run()
    row = await store_row(line)
    assert (row.watermark, row.clock_offset_seconds) == (NOON + off_by - MINUTE, off_by.total_seconds())


@EITHER_WAY
async def test_its_company_is_told(line: Line, off_by: timedelta) -> None:
    line.store.clock_skew = off_by
    put(line, "c1", MINUTE)
    await line.run()
    word = "store_clock_ahead" if off_by > timedelta(0) else "store_clock_behind"
    assert (await store_row(line)).notices == [word]


@EITHER_WAY
async def test_a_clock_that_is_put_right_loses_no_change(line: Line, off_by: timedelta) -> None:
    line.store.clock_skew = off_by
    put(line, "c1", 5 * MINUTE)
    await line.run()
    line.store.clock_skew = timedelta(0)
    line.clock.move(minutes=5)
    put(line, "c1", 3 * MINUTE, total="25.00")
    put(line, "c2", 2 * MINUTE)
    for _ in range(2):
        line.clock.move(minutes=1)
        await line.run()
    line.clock.move(minutes=40)
    await line.run()
    assert (line.effects(), str((await cart(line)).total)) == (["c1", "c2"], "25.00")


@EITHER_WAY
async def test_a_clock_that_jumps_between_two_distant_polls_loses_no_cart(line: Line, off_by: timedelta) -> None:
    line.store.clock_skew = off_by
    await line.run()
    line.store.clock_skew = timedelta(0)
    line.clock.move(hours=1)
    put(line, "c1", 40 * MINUTE)
    line.clock.move(hours=2)
    for _ in range(2):
        await line.run()
        line.clock.move(minutes=1)
    assert line.effects() == ["c1"]


async def test_a_date_of_2099_moves_no_watermark_there(line: Line) -> None:
    line.store.clock_skew = 27_000 * DAY
    await line.run()
    assert (await store_row(line)).watermark == NOON - MINUTE


async def test_a_cart_dated_within_the_next_day_is_taken_as_touched_now(line: Line) -> None:
    line.add("c1", -600)
    await line.run()
    line.clock.move(minutes=31)
    await line.run()
    assert line.effects() == ["c1"]


async def test_a_cart_dated_2099_is_read_once_its_date_is_right(line: Line) -> None:
    line.add("c1", 0, updated_at="2099-01-01T00:00:00Z")
    await line.run()
    line.store.touch("s0", "c1", line.clock.now())
    line.clock.move(minutes=31)
    await line.run()
    assert line.effects() == ["c1"]


async def test_a_quiet_store_with_records_of_2099_is_read_on(line: Line) -> None:
    for number in range(5):
        line.add(f"future-{number}", 0, updated_at="2099-01-01T00:00:00Z")
    await line.run()
    (row,) = await line.rows(integrations)
    assert (row.failures, row.watermark) == (0, NOON - MINUTE)
