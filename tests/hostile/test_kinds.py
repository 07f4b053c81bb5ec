"""Every kind of hostile store, polled by the real engine: where it ends up, and that its neighbours do not notice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from simulator.hostile import KINDS
from tests.databases import copy_sqlite
from tests.hostile.field import ENDLESS, PAUSES, Outcome, played
from tests.worlds import opened_world

ROUNDS = len(PAUSES) + 1
SOUND = ["sound-0", "sound-1"]  # the last one is still in use
DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
NAMED = [kind for kind, each in KINDS.items() if each.end.waits is not None]
WELL = [kind for kind, each in KINDS.items() if each.end.error_code is None]
SICK = [kind for kind in KINDS if kind not in WELL]
BACKED_OFF = [kind for kind in SICK if kind not in NAMED]
PASSING = {"throttled", "http_400", "http_408", "http_500", "http_503"}  # nothing for the company to do yet
ON_POSTGRESQL = ("gzip_bomb", "broken_text", "odd_ids", "ancient_records", "clock_behind", "page_loop", ENDLESS, "gone")


@pytest.fixture(scope="module")
def outcome(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Return what became of one store of each kind beside a sound one, all polled at once, on SQLite."""
    url = copy_sqlite(migrated_sqlite, tmp_path_factory.mktemp("hostile") / "cart_recovery.db")

    async def play() -> Outcome:
        async with opened_world(url) as world:
            async with asyncio.timeout(180):  # a walk that nobody ends must not hold up the tests as well
                return await played(world, KINDS)

    return asyncio.run(play())


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_ends_up_where_it_should(outcome: Outcome, kind: str) -> None:
    row, end = outcome.found[kind].row, KINDS[kind].end
    assert (row.last_error_code, row.status) == (end.error_code, end.status)


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_read_is_stored_and_the_rest_set_aside(outcome: Outcome, kind: str) -> None:
    found, end = outcome.found[kind], KINDS[kind].end
    expected = len(found.carts) if kind == ENDLESS else end.carts
    assert (len(found.carts), len(found.reasons)) == (expected, end.quarantined)


@pytest.mark.parametrize("kind", SICK)
def test_every_sick_store_tells_its_company_why_and_what_to_do(outcome: Outcome, kind: str) -> None:
    row = outcome.found[kind].row
    assert row.last_error
    assert row.last_remedy or row.last_error_code in PASSING


@pytest.mark.parametrize("kind", SICK)
def test_no_watermark_moves_while_a_store_is_sick(outcome: Outcome, kind: str) -> None:
    assert outcome.found[kind].row.watermark is None


@pytest.mark.parametrize("kind", WELL)
def test_every_store_that_can_be_read_is_read_on(outcome: Outcome, kind: str) -> None:
    row = outcome.found[kind].row
    assert (row.failures, row.page_token, row.watermark is not None) == (0, None, True)


@pytest.mark.parametrize("kind", NAMED)
def test_a_time_that_the_store_named_is_kept(outcome: Outcome, kind: str) -> None:
    assert outcome.found[kind].waited == KINDS[kind].end.waits


@pytest.mark.parametrize("kind", BACKED_OFF)
def test_without_a_time_the_first_wait_is_half_a_minute_and_a_fifth_at_most(outcome: Outcome, kind: str) -> None:
    assert 30 * SECOND <= outcome.found[kind].waited <= 36 * SECOND


def test_the_sound_store_was_polled_in_every_round(outcome: Outcome) -> None:
    assert (outcome.sound.polls, outcome.sound.failures) == (ROUNDS, 0)


def test_every_cart_of_the_sound_store_reached_the_partner(outcome: Outcome) -> None:
    assert [each for each in outcome.effects if each.startswith("sound-")] == SOUND


def test_exactly_the_sick_stores_fail(outcome: Outcome) -> None:
    assert sorted(outcome.failed) == sorted(SICK)


def test_no_kind_meets_a_bug_of_ours(outcome: Outcome) -> None:
    assert {kind: found.row.claims for kind, found in outcome.found.items() if found.row.claims} == {}


@pytest.mark.parametrize("kind", ["page_loop", "same_page", "empty_pages", ENDLESS, "foreign_next"])
def test_a_walk_that_was_stopped_begins_its_window_again(outcome: Outcome, kind: str) -> None:
    row = outcome.found[kind].row
    assert (row.page_token, row.next_watermark, row.walk_pages, row.window_from is not None) == (None, None, 0, True)


@pytest.mark.parametrize("kind", ["clock_ahead", "clock_behind"])
def test_a_clock_that_is_a_day_off_moves_no_abandonment(outcome: Outcome, kind: str) -> None:
    # In each round the store has one cart left 45 minutes ago, and one touched 10 minutes ago.
    assert outcome.found[kind].carts == {"idle": "abandoned", "busy": "active"}


@pytest.mark.parametrize(("kind", "offset"), [("clock_ahead", DAY), ("clock_behind", -DAY)])
def test_the_watermark_stays_in_the_stores_own_time(outcome: Outcome, kind: str, offset: timedelta) -> None:
    row = outcome.found[kind].row
    assert (row.clock_offset_seconds, abs(row.watermark - outcome.began - offset) < HOUR) == (
        offset.total_seconds(),
        True,
    )


@pytest.mark.parametrize("kind", ["future_records", "only_future_records"])
def test_records_dated_2099_are_set_aside_with_that_reason(outcome: Outcome, kind: str) -> None:
    assert set(outcome.found[kind].reasons) == {"dated_in_the_future"}


def test_records_of_the_year_1_and_of_the_epoch_are_too_old_to_be_handed_off(outcome: Outcome) -> None:
    assert outcome.found["ancient_records"].carts == {"good": "abandoned", "first": "lost", "epoch": "lost"}


def test_the_kinds_are_thirty_and_more() -> None:
    assert len(KINDS) >= 30


async def test_they_end_up_the_same_on_postgresql(postgresql_url: str) -> None:
    async with opened_world(postgresql_url) as world:
        outcome = await played(world, ON_POSTGRESQL)
    ends = {kind: (found.row.last_error_code, found.row.status) for kind, found in outcome.found.items()}
    assert ends == {kind: (KINDS[kind].end.error_code, KINDS[kind].end.status) for kind in ON_POSTGRESQL}
    assert [each for each in outcome.effects if each.startswith("sound-")] == SOUND
