"""What request bodies share, a first look that refuses what no database can hold, and what answers share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from backend.routers.remedies import DEEPEST, Misplaced

LARGEST = 2**63 - 1
NUMBER = re.compile(r"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?")

Place = tuple[str, ...]


def _values(value: object, place: Place = ()) -> Iterator[tuple[Place, object]]:
    """Yield every key and value of a JSON value with its place. Raises `Misplaced` when it is nested too deeply."""
    if len(place) > DEEPEST:
        raise Misplaced(f"nested deeper than {DEEPEST} levels", place[:1], f"nest at most {DEEPEST} levels")
    if isinstance(value, dict):
        for key, inner in value.items():
            yield place, key
            yield from _values(inner, (*place, str(key)))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _values(inner, (*place, str(position)))
    else:
        yield place, value


def storable(value: Any) -> Any:
    """Return a JSON value as it is. Raises `Misplaced` for text and numbers that cannot be stored as they are."""
    for place, inner in _values(value):
        if isinstance(inner, str):
            if "\0" in inner:
                raise Misplaced("text may not hold a NUL character", place, "remove the NUL character")
            if any("\ud800" <= character <= "\udfff" for character in inner):
                told = "text may not hold half a surrogate pair"
                raise Misplaced(told, place, "send both halves of the pair, or remove this one")
        elif isinstance(inner, int | float) and not -LARGEST <= inner <= LARGEST:  # NaN too: it compares as false
            raise Misplaced("a number is out of range", place, f"send a number from -{LARGEST} to {LARGEST}")
    return value


class Storable(BaseModel):
    """Base of every request body, put before the draft that a service takes."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unstorable(cls, value: Any) -> Any:
        return storable(value)


class Answer(BaseModel):
    """Base of every answer, read from a service's values."""

    model_config = ConfigDict(from_attributes=True)


class Held(Answer):
    """A hold on deliveries."""

    reason: str = Field(examples=["the database was restored or copied since it was last used 2026-01-05T10:30:00Z"])
    held_at: str = Field(examples=["2026-01-06T08:00:00.000Z"])
    what_to_do: str


def _in_utc(moment: datetime) -> datetime:
    if not 1970 <= moment.year <= 9990:
        raise Misplaced("the year must be 1970 to 9990", remedy="send a year from 1970 to 9990")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _written_out(value: object) -> object:
    """Refuse a bare number, which would otherwise be taken for seconds since 1970."""
    if isinstance(value, int | float) or (isinstance(value, str) and NUMBER.fullmatch(value.strip())):
        raise Misplaced("this is not a time", remedy="send a time in ISO 8601, such as 2026-01-05T10:30:00Z")
    return value


# A time without a zone is taken as UTC.
Moment = Annotated[datetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]
Minor = Annotated[int | None, Field(description="The same amount in the currency's minor unit (cents, yen, fils).")]
Next = Annotated[str | None, Field(description="Hand it back as `after` for the next page; null on the last one.")]
