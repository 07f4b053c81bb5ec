"""Names that are taken: the database's unique rules put into words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import IntegrityError

from backend.errors import Conflict


@contextmanager
def free_name(noun: str, values: Mapping[str, Any]) -> Iterator[None]:
    """Turn a broken unique rule of a write with a name into `Conflict` about that name. Ids are random and never clash.

    Any other broken rule goes on as it is.
    """
    try:
        yield
    except IntegrityError as error:
        words = str(error.orig).lower()
        if "name" in values and ("unique" in words or "duplicate key" in words):
            told = f"there is already {noun} named {values['name']}"
            raise Conflict(told, field="name", remedy="choose another name") from error
        raise
