"""Identifiers: fresh ones differ and sort by time, stable ones come out the same again."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.ids import event_id, new_id, stable_id

HAPPENING = ("store-1", "cart-1", 1, "cart.abandoned")


def test_fresh_ids_differ_and_have_one_form() -> None:
    made = [new_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in made)


def test_fresh_ids_sort_by_the_time_they_were_made() -> None:
    made = [new_id()[:16] for _ in range(100)]
    assert made == sorted(made)


def test_a_stable_id_is_the_same_on_every_machine_and_version() -> None:
    # Partners dedupe by it for days: changing this value sends every open cart once more.
    assert event_id(*HAPPENING) == "evt_b7940e720ebc77104fac0991f86ebd83"


@pytest.mark.parametrize(
    "other",
    [
        ("store-2", "cart-1", 1, "cart.abandoned"),
        ("store-1", "cart-2", 1, "cart.abandoned"),
        ("store-1", "cart-1", 2, "cart.abandoned"),
        ("store-1", "cart-1", 1, "cart.lost"),
        ("store-1", "cart-1", 1, "cart.abandoned", "rev"),
    ],
)
def test_another_happening_has_another_id(other: tuple[str, str, int, str]) -> None:
    assert event_id(*other) != event_id(*HAPPENING)


PARTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x1f"), max_size=5), max_size=4)


@given(one=PARTS, other=PARTS)
def test_borders_between_parts_count(one: list[str], other: list[str]) -> None:
    joined = one == other or (one in ([], [""]) and other in ([], [""]))
    assert (stable_id("x", *one) == stable_id("x", *other)) == joined


def test_half_a_surrogate_pair_has_an_id_too() -> None:
    assert stable_id("x", "\ud800").startswith("x_")
