"""Small readings that every adapter makes of a store's JSON: texts, contacts, times, records that cannot be read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import phonenumbers

from backend.domain.carts import UnreadableRecord
from backend.errors import BadRecord

FUTURE_LIMIT = timedelta(days=1)
RAW_LIMIT = 64 * 1024
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_E164 = re.compile(r"\+[1-9]\d{7,14}")


def text_or_none(value: Any) -> str | None:
    """Return a text trimmed, or None when it is missing, empty or no text; a whole number counts as text.

    NUL characters are dropped: JSON allows them, PostgreSQL refuses them.
    """
    if isinstance(value, str):
        text = value.replace("\x00", "").strip() if "\x00" in value else value.strip()
        return text or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def quotable(text: str, most: int = 200) -> str:
    """Return what a store said of itself as it may be quoted to people: one line, cut, nothing that cannot be shown."""
    return " ".join("".join(char if char.isprintable() else " " for char in text[: most * 2]).split())[:most]


def email_or_none(value: Any) -> str | None:
    """Return an e-mail address trimmed and in lower case; None for anything no message could be sent to."""
    text = text_or_none(value)
    return text.lower() if text is not None and _EMAIL.fullmatch(text) else None


def phone_or_none(value: Any, country: str | None) -> str | None:
    """Return a phone number in E.164 where it reads as one in `country` (ISO 3166, two letters), else as it was typed.

    A number that is E.164 already skips the parser, which costs some 50 times more than all else here.
    """
    text = text_or_none(value)
    if text is None or _E164.fullmatch(text):
        return text
    try:
        number = phonenumbers.parse(text, country.upper() if country else None)
    except phonenumbers.NumberParseException:
        return text
    if not phonenumbers.is_possible_number(number):
        return text
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def utc_time(value: Any) -> datetime:
    """Return an ISO 8601 text as aware UTC; a text without a zone is UTC already.

    Raises `BadRecord` for anything else.
    """
    if not isinstance(value, str):
        raise BadRecord(f"not a time: {type(value).__name__}", code="bad_time")
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRecord("not a time", code="bad_time") from None


def refuse_future(moment: datetime, server_time: datetime) -> None:
    """Raise `BadRecord` for a record dated more than a day past the store's own clock: it would freeze the walk."""
    if moment - server_time > FUTURE_LIMIT:
        raise BadRecord("the record is dated in the future", code="dated_in_the_future")


def unreadable(record: Any, source_cart_id: str | None, reason: str) -> UnreadableRecord:
    """Return the quarantine form of a parsed JSON `record`, its text cut at 64 KiB."""
    return UnreadableRecord(source_cart_id, reason, orjson.dumps(record, default=str)[:RAW_LIMIT])
