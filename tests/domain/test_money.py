"""Amounts in, stored and out again: to the last digit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.money import LIMIT, from_units, minor_digits, to_decimal, to_minor, to_units
from backend.errors import BadRecord

AMOUNTS = st.decimals(min_value=-LIMIT, max_value=LIMIT, places=4, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("459.97", "459.97"),
        (459.97, "459.97"),
        (0.1, "0.1"),
        (1e-4, "0.0001"),
        (7, "7"),
        (" 1.50 ", "1.50"),
        (-3, "-3"),
    ],
)
def test_a_json_number_is_read_as_it_was_written(value: Any, amount: str) -> None:
    assert to_decimal(value) == Decimal(amount)


@pytest.mark.parametrize(
    "value",
    [None, True, False, "", "ten", "1,50", "NaN", "Infinity", float("nan"), float("inf"), "1e30", LIMIT + 1, [], {}],
    ids=str,
)
def test_what_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(BadRecord):
        to_decimal(value)


@given(amount=AMOUNTS)
def test_storage_gives_back_what_it_took(amount: Decimal) -> None:
    assert from_units(to_units(amount)) == amount


@given(units=st.integers(-(2**63), 2**63 - 1))
def test_every_stored_number_is_an_amount_and_back(units: int) -> None:
    assert to_units(from_units(units)) == units


def test_the_largest_amount_fits_the_column() -> None:
    assert to_units(LIMIT) < 2**63


@pytest.mark.parametrize(("amount", "units"), [("0.00005", 0), ("0.00015", 2), ("0.00025", 2), ("-0.00015", -2)])
def test_finer_amounts_round_half_to_even(amount: str, units: int) -> None:
    assert to_units(Decimal(amount)) == units


@pytest.mark.parametrize(
    ("currency", "digits"), [("USD", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("BHD", 3), ("XXX", 2)]
)
def test_a_currency_has_its_minor_unit(currency: str, digits: int) -> None:
    assert minor_digits(currency) == digits


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [("459.97", "USD", 45997), ("1500", "JPY", 1500), ("4.125", "KWD", 4125), ("0.005", "USD", 0), ("0.015", "USD", 2)],
)
def test_minor_units_are_whole(amount: str, currency: str, minor: int) -> None:
    assert to_minor(Decimal(amount), currency) == minor


@pytest.mark.parametrize(("units", "shown"), [(15_000, "1.50"), (10_000, "1.00"), (12_345, "1.2345"), (10, "0.001")])
def test_a_stored_amount_is_shown_with_two_decimals_or_what_it_needs(units: int, shown: str) -> None:
    assert str(from_units(units)) == shown
