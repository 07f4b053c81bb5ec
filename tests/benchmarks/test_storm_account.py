"""The account of a storm finds what it is there to find."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from benchmarks.storm_account import compared
from benchmarks.storm_eye import Held

CARTS = {("c0", "shop", "1"), ("c0", "shop", "2")}
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def told(*carts: str, repeated: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """Return what a partner tells that got these carts of one store."""
    effects = [["c0", "cart.abandoned", f"id-{cart}", cart, "shop"] for cart in carts]
    nothing = {"doubled": [], "bad_signatures": 0, "bad_bodies": 0, "messages": len(carts)}
    return {"effects": effects, "repeated": list(repeated), **nothing, **more}


def test_a_storm_that_every_cart_survived_has_no_violations() -> None:
    account = compared(CARTS, told("1", "2"), Counter())
    assert (account.lost, account.doubled, account.violations) == (0, 0, [])


def test_a_cart_that_did_not_arrive_is_lost() -> None:
    account = compared(CARTS, told("1"), Counter())
    assert (account.lost, len(account.violations)) == (1, 1)


def test_a_cart_that_took_effect_twice_is_doubled() -> None:
    account = compared(CARTS, told("1", "2", "2"), Counter())
    assert (account.doubled, len(account.violations)) == (1, 1)


def test_a_cart_that_must_not_arrive_is_a_violation() -> None:
    assert len(compared(CARTS, told("1", "2", "bought"), Counter()).violations) == 1


def test_a_message_may_come_again_as_often_as_it_was_in_a_dead_workers_hand() -> None:
    account = compared(CARTS, told("1", "2", repeated=("m", "m")), Counter(m=2))
    assert (account.repeated, account.unexplained, account.violations) == (2, 0, [])


@pytest.mark.parametrize("dropped", [Counter[str](), Counter(m=1), Counter(n=5)])
def test_a_message_that_comes_again_more_often_is_a_violation(dropped: Counter[str]) -> None:
    account = compared(CARTS, told("1", "2", repeated=("m", "m")), dropped)
    assert account.unexplained > 0
    assert len(account.violations) == 1


def test_a_bad_signature_is_a_violation() -> None:
    assert len(compared(CARTS, told("1", "2", bad_signatures=1), Counter()).violations) == 1


def seen_later(**changes: Any) -> dict[str, Any]:
    """Return a later look at the row of `HELD`."""
    row = {"attempts": 1, "lease_token": "t", "lease_expires_at": NOW, "state": "pending"}
    return row | changes


HELD = Held("id", "m", 1, "t", NOW)


def test_a_lease_that_nobody_renews_was_a_dead_workers() -> None:
    assert HELD.was_dropped(seen_later())


def test_a_message_that_somebody_claimed_anew_was_a_dead_workers() -> None:
    assert HELD.was_dropped(seen_later(attempts=2, lease_token=None, state="delivered"))


@pytest.mark.parametrize(
    "changes", [{"lease_expires_at": NOW + timedelta(seconds=3)}, {"lease_token": None, "state": "delivered"}]
)
def test_a_lease_that_was_renewed_or_settled_was_a_living_workers(changes: dict[str, Any]) -> None:
    assert not HELD.was_dropped(seen_later(**changes))
