"""The takeover's watch tells a living worker's work from what another one picked up."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.chaos_takeover import Piece


def piece(lane: str = "delivery") -> Piece:
    """Return something that was leased at the kill."""
    return Piece(lane, id="1", token="t", until=10, done=1)


def row(**changes: Any) -> dict[str, Any]:
    """Return a later look at it."""
    return {"token": "t", "until": 10, "done": 1} | changes


def test_a_lease_that_is_as_it_was_tells_nothing_yet() -> None:
    watched = piece()
    watched.look(row(), 1.0)
    assert (watched.taken, watched.is_alive) == (None, False)


@pytest.mark.parametrize("later", [{"token": "other"}, {"token": None, "done": 2}])
def test_work_that_was_claimed_anew_was_picked_up(later: dict[str, Any]) -> None:
    watched = piece()
    watched.look(row(**later), 9.5)
    assert watched.taken == 9.5


@pytest.mark.parametrize("later", [{"until": 13}, {"token": None}])
def test_work_that_was_renewed_or_settled_is_a_living_workers(later: dict[str, Any]) -> None:
    watched = piece()
    watched.look(row(**later), 1.0)
    assert (watched.taken, watched.is_alive) == (None, True)


def test_only_the_first_pick_up_counts() -> None:
    watched = piece()
    watched.look(row(token="other"), 9.5)
    watched.look(row(token="third"), 20.0)
    assert watched.taken == 9.5
