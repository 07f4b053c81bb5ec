"""Money as `Decimal` with an ISO 4217 currency; 1/10,000 units where it is stored."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from backend.errors import BadRecord

UNITS = Decimal(10_000)
# A BIGINT of 1/10,000 units holds ten times as much, and a payload's sum of 100 of these in 1/1,000 fits 64 bits.
LIMIT = Decimal(90_000_000_000_000)
NUMBERS = (str, int, float, Decimal)
POWERS = tuple(Decimal(10) ** digits for digits in range(4))
NO_DECIMALS = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split())
THREE_DECIMALS = frozenset("BHD IQD JOD KWD LYD OMR TND".split())


def to_decimal(value: Any) -> Decimal:
    """Return a JSON number or numeric string as an exact, finite `Decimal`.

    A float is read by its shortest representation (`Decimal(repr(x))`), never by its binary value.
    Raises `BadRecord` for anything else, and for amounts beyond what storage holds.
    """
    # Nearly every amount is a text, and this runs a dozen times per cart.
    if type(value) is not str and (isinstance(value, bool) or not isinstance(value, NUMBERS)):
        raise BadRecord(f"not an amount: {type(value).__name__}", code="bad_amount")
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise BadRecord("not an amount", code="bad_amount") from None
    if not amount.is_finite() or abs(amount) > LIMIT:
        raise BadRecord("the amount is out of range", code="bad_amount")
    return amount


def to_units(amount: Decimal) -> int:
    """Return 1/10,000 units, half to even."""
    return _whole(amount * UNITS)


def _whole(scaled: Decimal) -> int:
    """Round to a whole number, half to even; most amounts are whole already and skip the costly part."""
    whole = int(scaled)
    return whole if whole == scaled else int(scaled.to_integral_value(rounding=ROUND_HALF_EVEN))


def from_units(units: int) -> Decimal:
    """Return the amount of 1/10,000 `units`, without trailing zeros beyond two decimals."""
    amount = Decimal(units).scaleb(-4)
    short = amount.quantize(Decimal("0.01"))
    return short if short == amount else amount.normalize()


def minor_digits(currency: str) -> int:
    """Return how many decimals the currency's minor unit has (ISO 4217)."""
    if currency in NO_DECIMALS:
        return 0
    return 3 if currency in THREE_DECIMALS else 2


def to_minor(amount: Decimal, currency: str) -> int:
    """Return the amount in the currency's minor unit (cents, yen, fils), half to even."""
    return _whole(amount * POWERS[minor_digits(currency)])
