"""One page of a list: newest first, going on after an opaque place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from backend.errors import BadInput
from backend.services.overview import MOST, read_place, write_place
from backend.store.listings import Place


class Listable(Protocol):
    """What a listed thing is ordered by."""

    @property
    def id(self) -> str: ...

    @property
    def created_at(self) -> datetime: ...


T = TypeVar("T", bound=Listable)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """`next` is the `after` of the page that follows, or None on the last one."""

    items: tuple[T, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Slice:
    """What to read for one page: `rows` is one more than is shown, which tells whether there is another page."""

    limit: int
    place: Place | None

    @property
    def rows(self) -> int:
        """How many rows to ask the database for."""
        return self.limit + 1

    def cut(self, found: Sequence[T]) -> Page[T]:
        """Return the page of what was read."""
        items = tuple(found[: self.limit])
        is_last = len(found) <= self.limit
        return Page(items, None if is_last else write_place(items[-1].created_at, items[-1].id))


def slice_of(limit: int, after: str | None) -> Slice:
    """Return what to read. Raises `BadInput` for a limit out of bounds or a place that is not ours."""
    if not 1 <= limit <= MOST:
        raise BadInput(f"limit must be 1 to {MOST}", field="limit", remedy=f"ask for at most {MOST} at once")
    return Slice(limit, read_place(after) if after else None)


def known_status(status: str | None, known: Sequence[str]) -> str | None:
    """Return a status to filter by. Raises `BadInput` for one that does not exist, listing those that do."""
    if status is not None and status not in known:
        raise BadInput(f"there is no status {status!r}", field="status", remedy=f"use {', '.join(known)}")
    return status
