"""How long an answer asks us to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backend.outbound import retry_after

NOW = datetime(2026, 1, 6, 10, tzinfo=UTC)
DAY = timedelta(hours=24)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", timedelta(0)),
        ("7", timedelta(seconds=7)),
        (" 7 ", timedelta(seconds=7)),
        ("2.5", timedelta(seconds=2.5)),
        ("2.", timedelta(seconds=2)),
        ("86400", DAY),
        ("86401", DAY),
        ("99999999999999999999", DAY),
        ("Tue, 06 Jan 2026 10:01:00 GMT", timedelta(minutes=1)),
        ("Tue, 06 Jan 2026 12:01:00 +0200", timedelta(minutes=1)),
        ("Tue, 06 Jan 2026 09:00:00 GMT", timedelta(0)),
        ("Thu, 08 Jan 2026 10:00:00 GMT", DAY),
        ("Fri, 31 Dec 9999 23:59:59 GMT", DAY),
        ("Tuesday, 06-Jan-26 10:01:00 GMT", timedelta(minutes=1)),
        ("", None),
        ("-5", None),
        ("+5", None),
        ("1e9", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("5, 10", None),
        ("\N{ARABIC-INDIC DIGIT SEVEN}", None),
        ("9" * 5000, None),
        ("Tue, 99 Jan 2026 10:01:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
    ],
)
def test_the_wait_that_an_answer_asks_for(value: str, wait: timedelta | None) -> None:
    assert retry_after({"retry-after": value}, NOW) == wait


def test_an_answer_that_asks_for_nothing() -> None:
    assert retry_after({}, NOW) is None
