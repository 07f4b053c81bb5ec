"""Readings that quotes and orders share: amounts, currencies, ids and the people in addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from backend.domain.carts import Shopper
from backend.domain.money import to_decimal
from backend.errors import BadRecord
from backend.platforms.reading import email_or_none, phone_or_none, text_or_none

UNIT = Decimal("0.0001")  # the finest amount that is kept
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
Record = dict[str, Any]


def record_id(value: Any) -> int:
    """Return a row's id; orders name a quote's as a number, some modules as text. Raises `BadRecord`."""
    number = id_or_none(value)
    if number is None:
        raise BadRecord("the record has no id", code="no_id")
    return number


def id_or_none(value: Any) -> int | None:
    """Return a row's id, or None for what is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 11:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**32 else None


def currency(value: Any) -> str:
    """Return an ISO code in upper case. Raises `BadRecord`."""
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise BadRecord("the record has no currency", code="bad_currency")
    return value.upper()


def amount(value: Any) -> Decimal | None:
    """Return an amount, None where Magento leaves it out."""
    return None if value is None else to_decimal(value)


def named(value: Any) -> str:
    """Return an id as text. Raises `BadRecord` for anything but a whole number or a text."""
    text = text_or_none(value)
    if text is None:
        raise BadRecord("an id is missing", code="bad_shape")
    return text


def dicts(values: Any) -> list[Record]:
    """Return a list of objects; empty for null or a missing list. Raises `BadRecord` for any other form."""
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise BadRecord("a list of objects was expected", code="bad_shape")
    return values


def shopper(customer: Record, addresses: Iterable[Record]) -> Shopper:
    """Return the person: what the customer says first, then the addresses. A guest's `customer` is all nulls."""
    sources = [customer, *addresses]

    def first(name: str) -> str | None:
        return next((text for each in sources if (text := text_or_none(each.get(name)))), None)

    country = first("country_id")
    country = country.upper() if country and _COUNTRY.fullmatch(country) else None
    known = id_or_none(customer.get("id"))
    return Shopper(
        id=None if known is None else str(known),
        email=next((mail for each in sources if (mail := email_or_none(each.get("email")))), None),
        phone=phone_or_none(first("telephone"), country),
        first_name=first("firstname"),
        last_name=first("lastname"),
        country=country,
        is_guest=known is None,  # customer_is_guest is 1 on some customers' quotes
    )


def inner(record: Any, *path: str) -> Record:
    """Return an object inside objects; empty where there is none."""
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    return record if isinstance(record, dict) else {}
