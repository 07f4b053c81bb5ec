"""States and outcomes in words: what a person reads who wants to know why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.services.state_words import apart, delivery_in_words, mask_email, mask_phone, outcome_in_words, span

NOW = datetime(2026, 1, 5, 10, 30, tzinfo=UTC)

SPANS = [(0, "0 s"), (1, "1 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (3661, "1 h 1 min"),
         (90_000, "1 d 1 h"), (86_400 * 40, "40 d"), (timedelta(minutes=5), "5 min"), (-61, "1 min 1 s")]  # fmt: skip


@pytest.mark.parametrize(("length", "words"), SPANS)
def test_a_length_of_time_is_told_in_its_two_largest_units(length: float, words: str) -> None:
    assert span(length) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "now"), (0.9, "now"), (-0.9, "now"), (90, "in 1 min 30 s"), (-5, "5 s ago")]
)
def test_a_time_is_told_from_now(seconds: float, words: str) -> None:
    assert apart(NOW + timedelta(seconds=seconds), NOW) == words


def test_no_time_is_never() -> None:
    assert apart(None, NOW) == "never"


@pytest.mark.parametrize(
    ("outcome", "status", "words"),
    [
        (None, None, "not attempted yet"),
        ("delivered", 204, "accepted (HTTP 204 No Content)"),
        ("server_error", 503, "the partner answered HTTP 503 Service Unavailable"),
        ("refused", 499, "the partner answered HTTP 499"),
        ("redirected", 302, "the partner answered with a redirect, which is not followed"),
        ("timeout", None, "the partner did not answer in time"),
        ("something_new", None, "something new"),
    ],
)
def test_an_outcome_is_told_in_words(outcome: str | None, status: int | None, words: str) -> None:
    assert outcome_in_words(outcome, status) == words


def row(state: str = "pending", **fields: Any) -> dict[str, Any]:
    """Return a row of the deliveries list."""
    usual = {"attempts": 0, "last_outcome": None, "last_status": None, "superseded_by": None, "next_attempt_at": NOW}
    return {"state": state, **usual, **fields}


FAILED: dict[str, Any] = {"attempts": 2, "last_outcome": "server_error", "last_status": 503}
LATER = NOW + timedelta(minutes=4)


@pytest.mark.parametrize(
    ("delivery", "words"),
    [
        (row("delivered", attempts=2, last_outcome="delivered", last_status=200),
         "Delivered at attempt 2: accepted (HTTP 200 OK)."),
        (row("dead", attempts=10, last_outcome="timeout"),
         "Given up after 10 attempts: the partner did not answer in time."),
        (row("dead", attempts=1, last_outcome="gone", last_status=410),
         "Given up after 1 attempt: the partner said that this address is gone for good (HTTP 410)."),
        (row("superseded"), "Not sent any more: a cart in it changed; none of its carts may still go."),
        (row("superseded", superseded_by="d2"),
         "Not sent any more: a cart in it changed; the carts that may still go moved to a new delivery."),
        (row(), "First attempt due now."),
        (row(next_attempt_at=LATER), "First attempt in 4 min."),
        (row(**FAILED, next_attempt_at=LATER),
         "Attempt 3 in 4 min: the partner answered HTTP 503 Service Unavailable."),
        (row(**FAILED, is_in_flight=True), "Attempt 2 is under way."),
        (row(destination_status="disabled"), "Held back: the destination is disabled."),
        (row(destination_status="inactive"), "Held back: the destination is switched off."),
        (row(**FAILED, destination_held_until=LATER),
         "Held back: the destination failed repeatedly and is left alone; next try in 4 min."),
        (row(destination_status="active", destination_held_until=NOW), "First attempt due now."),
    ],
)  # fmt: skip
def test_a_delivery_says_where_it_stands_and_why(delivery: dict[str, Any], words: str) -> None:
    assert delivery_in_words(delivery, NOW) == words


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("ada@example.com", "a•••@example.com"),
        ("@example.com", "•••@example.com"),
        ("odd", "•••"),
        ("", None),
        (None, None),
    ],
)
def test_an_address_is_masked(address: str | None, masked: str | None) -> None:
    assert mask_email(address) == masked


def test_a_number_is_masked() -> None:
    assert (mask_phone("+15550142"), mask_phone(None)) == ("•••42", None)
