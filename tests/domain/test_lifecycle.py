"""The cart's states, its activity clock, its episodes: every move, every boundary."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.carts import Answer, Consent, SeenCart, Shopper, SourceStatus
from backend.domain.lifecycle import (
    BOUGHT,
    MOVES,
    CartRow,
    CartState,
    Kind,
    abandon,
    activity_hash,
    content_of,
    exclude,
    first_sight,
    identity_of,
    is_abandoned,
    lose,
    next_sight,
    refuses_contact,
    revision_hash,
)
from backend.errors import IllegalMove
from tests.domain.sights import ADA, IDS, NOON, RULES, bought, emptied, legal, line, seen, stored

S = CartState
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
# The table of the design, written out once more: a change of either must be meant.
ALLOWED = {
    S.ACTIVE: {S.ABANDONED, S.CONVERTED, S.EMPTIED, S.EXCLUDED},
    S.ABANDONED: {S.ACTIVE, S.RECOVERED, S.CONVERTED, S.EMPTIED, S.LOST, S.EXCLUDED},
    S.EMPTIED: {S.ACTIVE},
    S.LOST: {S.ACTIVE, S.RECOVERED, S.CONVERTED},
    S.EXCLUDED: {S.ACTIVE},
    S.RECOVERED: set(),
    S.CONVERTED: set(),
}
PAIRS = list(product(S, S))


def types(events: list[Any]) -> list[str]:
    return [event.type for event in events]


class TestMoves:
    @pytest.mark.parametrize(("before", "after"), [pair for pair in PAIRS if pair[1] in ALLOWED[pair[0]]])
    def test_a_legal_move_is_made(self, before: CartState, after: CartState) -> None:
        row = stored(before)
        row.move(after)
        assert row.state is after

    @pytest.mark.parametrize(("before", "after"), [pair for pair in PAIRS if pair[1] not in ALLOWED[pair[0]]])
    def test_an_illegal_move_raises_and_changes_nothing(self, before: CartState, after: CartState) -> None:
        row = stored(before)
        with pytest.raises(IllegalMove):
            row.move(after)
        assert row.state is before

    def test_the_table_has_every_state(self) -> None:
        assert set(MOVES) == set(S)


class TestFirstSight:
    @pytest.mark.parametrize(
        ("look", "state", "events"),
        [
            (seen(5), S.ACTIVE, ["cart.created"]),
            (seen(600), S.ACTIVE, ["cart.created"]),
            (bought(5), S.CONVERTED, ["cart.created", "cart.converted"]),
            (emptied(5), S.EMPTIED, ["cart.created"]),
            (seen(45 * 24 * 60), S.LOST, ["cart.created", "cart.lost"]),
        ],
        ids=["fresh", "idle", "complete", "empty", "past its horizon"],
    )
    def test_a_cart_gets_its_first_state(self, look: SeenCart, state: CartState, events: list[str]) -> None:
        change = first_sight(look, IDS, RULES, NOON)
        assert (change.kind, change.row.state, types(change.events)) == (Kind.NEW, state, events)

    @pytest.mark.parametrize(("seconds", "state"), [(0, S.ACTIVE), (1, S.LOST)])
    def test_the_horizon_ends_after_its_very_second(self, seconds: int, state: CartState) -> None:
        at = NOON - RULES.threshold - RULES.horizon - timedelta(seconds=seconds)
        assert first_sight(seen(updated_at=at), IDS, RULES, NOON).row.state is state

    @pytest.mark.parametrize("look", [bought(5), emptied(5), seen(45 * 24 * 60)])
    def test_a_cart_that_is_done_is_not_looked_at_again(self, look: SeenCart) -> None:
        assert first_sight(look, IDS, RULES, NOON).row.next_check_at is None

    def test_an_active_cart_is_checked_when_its_threshold_runs_out(self) -> None:
        assert first_sight(seen(5), IDS, RULES, NOON).row.next_check_at == NOON + 25 * MINUTE

    def test_a_time_ahead_of_ours_is_taken_as_now(self) -> None:
        ahead = NOON + timedelta(hours=3)
        row = first_sight(seen(created_at=ahead, updated_at=ahead), IDS, RULES, NOON).row
        assert (row.last_activity_at, row.source_created_at) == (NOON, NOON)


class TestThreshold:
    @pytest.mark.parametrize(("after", "expected"), [(-SECOND, False), (timedelta(0), False), (SECOND, True)])
    def test_a_cart_is_abandoned_once_the_threshold_is_over(self, after: timedelta, *, expected: bool) -> None:
        row = stored(minutes_ago=0)
        assert is_abandoned(row, RULES, NOON + RULES.threshold + after) is expected

    @pytest.mark.parametrize("state", [state for state in S if state is not S.ACTIVE])
    def test_only_an_active_cart_is_ever_due(self, state: CartState) -> None:
        assert not is_abandoned(stored(state), RULES, NOON + timedelta(days=99))

    def test_abandoned_at_is_the_moment_the_threshold_ran_out(self) -> None:
        row = stored(minutes_ago=600)
        event = abandon(row, RULES)
        assert row.abandoned_at == event.occurred_at == NOON - timedelta(minutes=570)

    def test_an_abandoned_cart_is_checked_at_its_horizon(self) -> None:
        row = stored(minutes_ago=30)
        abandon(row, RULES)
        assert row.next_check_at == NOON + RULES.horizon

    def test_a_new_episode_has_had_no_contact(self) -> None:
        row = stored(minutes_ago=60, contacted_at=NOON)
        abandon(row, RULES)
        assert (row.episode, row.contacted_at) == (1, None)

    def test_losing_ends_the_checks(self) -> None:
        row = stored(S.ABANDONED, awaits_read=True)
        assert lose(row, NOON).type == "cart.lost"
        assert (row.state, row.next_check_at, row.awaits_read) == (S.LOST, None, False)


class TestActivityClock:
    def test_the_same_look_again_changes_nothing(self) -> None:
        row = stored(minutes_ago=10)
        before = replace(row)
        change = next_sight(row, seen(10), RULES, NOON)
        assert (change.kind, change.events, row) == (Kind.SAME, [], before)

    def test_a_touch_without_new_content_does_not_move_the_clock(self) -> None:
        row = stored(minutes_ago=10)
        next_sight(row, seen(1), RULES, NOON)
        assert row.last_activity_at == NOON - 10 * MINUTE

    @pytest.mark.parametrize(
        "look",
        [
            seen(1, price="12.00"),
            seen(1, lines=(line(quantity=Decimal(2)),)),
            seen(1, lines=(line(), line(id="2"))),
            seen(1, currency="EUR"),
            seen(1, shopper=replace(ADA, phone="+4930123456")),
        ],
        ids=["total", "quantity", "line", "currency", "contact"],
    )
    def test_new_content_moves_the_clock_of_an_active_cart(self, look: SeenCart) -> None:
        row = stored(minutes_ago=10)
        next_sight(row, look, RULES, NOON)
        assert (row.last_activity_at, row.next_check_at) == (NOON - MINUTE, NOON + 29 * MINUTE)

    @pytest.mark.parametrize(
        "look",
        [
            seen(1, recovery_url="https://shop.example/pay/1"),
            seen(1, lines=(line(image_url="https://shop.example/mug.png"),)),
            seen(1, consent=Consent(email=Answer.YES)),
        ],
        ids=["recovery link", "picture", "consent"],
    )
    def test_what_no_shopper_did_leaves_the_clock(self, look: SeenCart) -> None:
        row = stored(minutes_ago=10)
        change = next_sight(row, look, RULES, NOON)
        assert (change.kind, row.last_activity_at) == (Kind.CHANGED, NOON - 10 * MINUTE)

    def test_the_clock_takes_no_time_ahead_of_ours(self) -> None:
        row = stored(minutes_ago=10)
        next_sight(row, seen(-90, price="12.00"), RULES, NOON)
        assert row.last_activity_at == NOON

    def test_the_clock_never_goes_back(self) -> None:
        row = stored(minutes_ago=10, last_activity_at=NOON)
        next_sight(row, seen(5, price="12.00"), RULES, NOON)
        assert row.last_activity_at == NOON


class TestRevival:
    @pytest.mark.parametrize("state", [S.ABANDONED, S.LOST])
    def test_later_content_revives(self, state: CartState) -> None:
        row = stored(state, minutes_ago=60)
        change = next_sight(row, seen(1, price="12.00"), RULES, NOON)
        assert (row.state, types(change.events)) == (S.ACTIVE, ["cart.updated", "cart.revived"])

    def test_a_revived_cart_waits_for_a_whole_threshold_again(self) -> None:
        row = stored(S.ABANDONED, minutes_ago=60, contacted_at=NOON, awaits_read=True)
        next_sight(row, seen(1, price="12.00"), RULES, NOON)
        assert (row.next_check_at, row.contacted_at, row.awaits_read) == (NOON + 29 * MINUTE, None, False)

    @pytest.mark.parametrize("state", [S.ABANDONED, S.LOST])
    def test_contact_alone_does_not_revive(self, state: CartState) -> None:
        row = stored(state, minutes_ago=60)
        change = next_sight(row, seen(1, shopper=replace(ADA, phone="+4930123456")), RULES, NOON)
        assert (row.state, types(change.events), change.contact_came) == (state, ["cart.updated"], True)

    @pytest.mark.parametrize(("seconds", "state"), [(0, S.ABANDONED), (1, S.ACTIVE)])
    def test_content_no_newer_than_the_abandonment_does_not_revive(self, seconds: int, state: CartState) -> None:
        row = stored(S.ABANDONED, minutes_ago=60)
        at = NOON - 30 * MINUTE + timedelta(seconds=seconds)
        next_sight(row, seen(price="12.00", updated_at=at), RULES, NOON)
        assert row.state is state

    def test_content_that_does_not_revive_is_still_taken_over(self) -> None:
        row = stored(S.ABANDONED, minutes_ago=60)
        next_sight(row, seen(45, price="12.00"), RULES, NOON)
        assert row.total == Decimal("12.00")

    def test_an_emptied_cart_that_is_filled_again_is_active(self) -> None:
        row = stored(S.EMPTIED, item_count=0)
        next_sight(row, seen(1, price="12.00"), RULES, NOON)
        assert row.state is S.ACTIVE

    def test_an_excluded_cart_that_is_listed_again_is_active(self) -> None:
        row = stored(S.EXCLUDED, exclusion="trashed")
        next_sight(row, seen(60), RULES, NOON)
        assert (row.state, row.exclusion) == (S.ACTIVE, None)

    def test_an_excluded_cart_listed_without_lines_is_no_news_every_time(self) -> None:
        row = stored(S.EXCLUDED, exclusion="trashed")
        next_sight(row, emptied(1), RULES, NOON)
        assert next_sight(row, emptied(1), RULES, NOON).kind is Kind.SAME

    def test_episodes_count_up(self) -> None:
        row = stored(minutes_ago=60)
        abandon(row, RULES)
        next_sight(row, seen(1, price="12.00"), RULES, NOON)
        abandon(row, RULES)
        assert row.episode == 2


class TestPurchase:
    @pytest.mark.parametrize("state", [S.ACTIVE, S.EMPTIED, S.EXCLUDED, S.ABANDONED, S.LOST])
    def test_a_purchase_without_contact_is_a_conversion(self, state: CartState) -> None:
        row = stored(state)
        change = next_sight(row, bought(1), RULES, NOON)
        assert (row.state, types(change.events)) == (S.CONVERTED, ["cart.updated", "cart.converted"])

    @pytest.mark.parametrize("state", [S.ABANDONED, S.LOST])
    def test_a_purchase_after_contact_is_a_recovery(self, state: CartState) -> None:
        row = stored(state, contacted_at=NOON - 20 * MINUTE)
        change = next_sight(row, bought(1), RULES, NOON)
        assert (row.state, types(change.events)) == (S.RECOVERED, ["cart.updated", "cart.recovered"])

    @pytest.mark.parametrize(
        ("contacted", "state"),
        [
            (NOON + SECOND, S.CONVERTED),
            (NOON, S.RECOVERED),
            (NOON - RULES.attribution, S.RECOVERED),
            (NOON - RULES.attribution - SECOND, S.CONVERTED),
        ],
        ids=["before the contact", "in its second", "at the window's end", "past the window"],
    )
    def test_the_attribution_window_has_both_ends(self, contacted: datetime, state: CartState) -> None:
        row = stored(S.ABANDONED, minutes_ago=60 * 24 * 20, contacted_at=contacted)
        next_sight(row, bought(0), RULES, NOON + SECOND)
        assert row.state is state

    def test_a_purchase_ends_the_checks_and_keeps_the_order(self) -> None:
        row = stored(S.ABANDONED, awaits_read=True)
        next_sight(row, bought(1), RULES, NOON)
        found = (row.next_check_at, row.awaits_read, row.order_ref, row.completed_at)
        assert found == (None, False, "1001", NOON - MINUTE)

    def test_a_purchase_ahead_of_our_clock_happened_now(self) -> None:
        row = stored(S.ABANDONED)
        next_sight(row, bought(-90), RULES, NOON)
        assert row.completed_at == NOON

    def test_a_purchase_in_an_older_look_still_counts(self) -> None:
        row = stored(S.ABANDONED, source_updated_at=NOON)
        next_sight(row, bought(10), RULES, NOON)
        assert row.state is S.CONVERTED

    @pytest.mark.parametrize("state", sorted(BOUGHT))
    def test_a_bought_cart_is_final(self, state: CartState) -> None:
        row = stored(state)
        before = replace(row)
        assert next_sight(row, seen(0, price="99.00"), RULES, NOON).kind is Kind.STALE
        assert row == before


class TestOtherLooks:
    def test_an_older_look_changes_nothing(self) -> None:
        row = stored(minutes_ago=10)
        before = replace(row)
        assert (next_sight(row, seen(11, price="99.00"), RULES, NOON).kind, row) == (Kind.STALE, before)

    def test_a_look_at_an_erased_cart_changes_nothing(self) -> None:
        row = stored(minutes_ago=10, erased_at=NOON)
        assert next_sight(row, bought(0), RULES, NOON).kind is Kind.STALE

    @pytest.mark.parametrize(("state", "after"), [(S.ACTIVE, S.EMPTIED), (S.ABANDONED, S.EMPTIED), (S.LOST, S.LOST)])
    def test_a_cart_without_lines_is_empty(self, state: CartState, after: CartState) -> None:
        row = stored(state)
        next_sight(row, emptied(1), RULES, NOON)
        assert (row.state, row.next_check_at, row.awaits_read) == (after, None, False)

    @pytest.mark.parametrize("state", [S.ACTIVE, S.ABANDONED])
    def test_an_open_cart_can_be_excluded(self, state: CartState) -> None:
        row = stored(state, awaits_read=True)
        change = exclude(row, "gone", NOON)
        assert (change.kind, row.state, row.exclusion) == (Kind.CHANGED, S.EXCLUDED, "gone")
        assert (row.next_check_at, row.awaits_read) == (None, False)

    @pytest.mark.parametrize("state", [S.EMPTIED, S.LOST, S.EXCLUDED, S.RECOVERED, S.CONVERTED])
    def test_what_is_closed_stays_as_it_is(self, state: CartState) -> None:
        row = stored(state)
        assert (exclude(row, "gone", NOON).kind, row.state) == (Kind.SAME, state)


class TestHashes:
    @pytest.mark.parametrize("change", [{"title": "Tin mug"}, {"id": "2"}, {"product_id": "7"}, {"variant_id": "7"}])
    def test_what_is_in_the_cart_is_activity(self, change: dict[str, str]) -> None:
        assert activity_hash(seen(lines=(line(**change),))) != activity_hash(seen())

    def test_moved_borders_between_fields_show(self) -> None:
        one, other = seen(lines=(line(product_id="a", variant_id="bc"),)), seen(
            lines=(line(product_id="ab", variant_id="c"),)
        )  # fmt: skip
        assert activity_hash(one) != activity_hash(other)

    def test_who_it_is_belongs_to_the_revision_and_not_to_the_content(self) -> None:
        one, other = seen(), seen(shopper=replace(ADA, last_name="Moss-Hill"))
        assert content_of(activity_hash(one)) == content_of(activity_hash(other))
        assert revision_hash(one, "a") != revision_hash(other, "a")


class TestPeople:
    @pytest.mark.parametrize(
        ("shopper", "identity"),
        [
            (Shopper(id="7", email="a@example.com", phone="+1"), "id:7"),
            (Shopper(email="a@example.com", phone="+1"), "email:a@example.com"),
            (Shopper(phone="+1"), "phone:+1"),
            (Shopper(first_name="Ada"), None),
        ],
    )
    def test_a_person_is_known_by_the_best_there_is(self, shopper: Shopper, identity: str | None) -> None:
        assert identity_of(shopper) == identity

    @pytest.mark.parametrize(
        ("email", "phone", "consent", "refuses"),
        [
            ("a@example.com", None, Consent(email=Answer.NO), True),
            ("a@example.com", None, Consent(sms=Answer.NO), False),
            ("a@example.com", "+1", Consent(email=Answer.NO), False),
            ("a@example.com", "+1", Consent(email=Answer.NO, sms=Answer.YES), False),
            ("a@example.com", "+1", Consent(email=Answer.NO, sms=Answer.NO), True),
            (None, "+1", Consent(sms=Answer.NO), True),
            (None, None, Consent(email=Answer.NO, sms=Answer.NO), False),
            ("a@example.com", None, Consent(), False),
        ],
    )
    def test_a_person_refuses_when_every_reachable_channel_says_no(
        self, email: str | None, phone: str | None, consent: Consent, *, refuses: bool
    ) -> None:
        assert refuses_contact(Shopper(email=email, phone=phone), consent) is refuses


# -- any history ------------------------------------------------------------------------------------------------------

LOOKS = st.builds(
    lambda ago, price, status, person: seen(
        ago,
        price=price,
        status=status,
        completed_at=None,
        lines=() if price == "0" else (line(price),),
        shopper=person,
    ),
    st.integers(-120, 60 * 24 * 40),
    st.sampled_from(["0", "10.00", "12.00"]),
    st.sampled_from(list(SourceStatus)),
    st.sampled_from([Shopper(), ADA]),
)
STEPS = st.lists(st.one_of(LOOKS, st.sampled_from(["sweep", "exclude", "contact", "wait"])), max_size=12)


def take(row: CartRow, step: SeenCart | str, now: datetime) -> None:
    """Let one thing happen to a stored cart, as intake, sweep or delivery would."""
    if isinstance(step, SeenCart):
        next_sight(row, step, RULES, now)
    elif step == "exclude":
        exclude(row, "gone", now)
    elif step == "contact" and row.state is S.ABANDONED:
        row.contacted_at = now
    elif step == "sweep" and is_abandoned(row, RULES, now):
        abandon(row, RULES)
    elif step == "sweep" and row.state is S.ABANDONED and row.next_check_at and row.next_check_at < now:
        lose(row, now)


@given(first=LOOKS, steps=STEPS)
def test_any_history_keeps_what_must_hold(first: SeenCart, steps: list[SeenCart | str]) -> None:
    now = NOON
    row = first_sight(first, IDS, RULES, now).row
    for step in steps:
        now += timedelta(days=8) if step == "wait" else MINUTE
        before, episode = row.state, row.episode
        take(row, step, now)
        assert legal(before, row.state)
        assert row.episode in ({episode, episode + 1} if step == "sweep" else {episode})
        assert (before in BOUGHT) <= (row.state is before)
        assert (row.next_check_at is not None) == (row.state in {S.ACTIVE, S.ABANDONED})
        assert row.last_activity_at <= now
        assert row.state is not S.ABANDONED or row.abandoned_at is not None
