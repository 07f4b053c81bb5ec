"""A walk that goes round in circles is noticed, however long the circle; any other walk is left alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.domain.trail import Trail


@given(tail=st.integers(0, 40), circle=st.integers(1, 200))
def test_a_circle_is_noticed_within_three_times_its_length(tail: int, circle: int) -> None:
    trail = Trail()
    for step in range(3 * (tail + circle) + 3):
        trail = trail.step(str(step if step < tail else tail + (step - tail) % circle))
        if trail.laps:
            break
    assert trail.laps == 1


@given(st.lists(st.text(), unique=True, max_size=300))
def test_a_walk_without_repeats_is_left_alone(marks: list[str]) -> None:
    trail = Trail()
    for mark in marks:
        trail = trail.step(mark)
    assert trail.laps == 0


def test_a_trail_survives_storage() -> None:
    trail = Trail().step("a").step("b").step("b")
    assert Trail.from_list(trail.as_list()) == trail
