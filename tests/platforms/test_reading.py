"""The small readings that every adapter makes of a store's JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.errors import BadRecord
from backend.platforms import reading

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [(" a ", "a"), ("", None), ("  ", None), (None, None), (7, "7"), (True, None), ([], None), ("a\x00b", "ab")],
)
def test_text_is_trimmed_or_none(value: Any, text: str | None) -> None:
    assert reading.text_or_none(value) == text


@pytest.mark.parametrize(
    ("value", "email"),
    [
        (" Ada@Example.TEST ", "ada@example.test"),
        ("", None),
        (None, None),
        ("nobody", None),
        ("a@b\nBcc: c@d", None),
    ],
)
def test_email_is_lower_case_or_none(value: Any, email: str | None) -> None:
    assert reading.email_or_none(value) == email


@pytest.mark.parametrize(
    ("value", "country", "phone"),
    [
        ("+61881234567", None, "+61881234567"),
        ("08 8123 4567", "AU", "+61881234567"),
        ("08 8123 4567", "au", "+61881234567"),
        ("+61 8 8123 4567", None, "+61881234567"),
        (" 08 8123 4567 ", None, "08 8123 4567"),
        ("ask my mother", "AU", "ask my mother"),
        ("12", "US", "12"),
        ("", "US", None),
    ],
)
def test_phone_is_e164_where_it_reads_as_one(value: Any, country: str | None, phone: str | None) -> None:
    assert reading.phone_or_none(value, country) == phone


@pytest.mark.parametrize(
    "value", ["2026-11-20T12:00:00", "2026-11-20T12:00:00Z", "2026-11-20T22:30:00+10:30", "2026-11-20T12:00:00.000Z"]
)
def test_time_is_aware_utc(value: str) -> None:
    moment = reading.utc_time(value)
    assert (moment, moment.tzinfo) == (NOON, UTC)


@pytest.mark.parametrize("value", [None, "", "yesterday", 1795176000, "0001-01-01T00:00:00+10:00"])
def test_what_is_no_time_is_a_bad_record(value: Any) -> None:
    with pytest.raises(BadRecord) as caught:
        reading.utc_time(value)
    assert caught.value.code == "bad_time"


def test_a_record_a_day_ahead_is_still_read() -> None:
    reading.refuse_future(NOON + timedelta(days=1), NOON)


def test_a_record_dated_later_than_a_day_ahead_is_refused() -> None:
    with pytest.raises(BadRecord) as caught:
        reading.refuse_future(NOON + timedelta(days=1, seconds=1), NOON)
    assert caught.value.code == "dated_in_the_future"


def test_an_unreadable_record_keeps_at_most_64_kib() -> None:
    record = reading.unreadable({"note": "x" * 100_000}, "7", "bad_amount")
    assert (record.source_cart_id, record.reason, len(record.raw)) == ("7", "bad_amount", 64 * 1024)
