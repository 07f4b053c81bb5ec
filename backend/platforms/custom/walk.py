"""Where a walk over a store's pages stands: the opaque page token, and the guards against walks without an end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from backend.domain.carts import CartPage
from backend.domain.trail import Trail
from backend.errors import TryLater

LONGEST_CURSOR = 2048
RESTART_EVERY = timedelta(minutes=10)
_FAULTY = "The store's paging is at fault: ask its developers to follow the contract's rules for next_cursor."


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk. `idle` counts empty pages in a row; `restarted_at` is the Unix second at which it last began anew."""

    cursor: str | None = None
    cursors: Trail = field(default_factory=Trail)
    pages: Trail = field(default_factory=Trail)
    idle: int = 0
    restarted_at: int = 0

    @classmethod
    def from_token(cls, token: str | None) -> Walk:
        """Read a stored token; one that another release wrote in another form begins the window again."""
        if token is None:
            return cls()
        try:
            stored = orjson.loads(token)
            trails = (Trail.from_list(stored["cursors"]), Trail.from_list(stored["pages"]))
            return cls(str(stored["cursor"]), *trails, int(stored["idle"]), int(stored["restarted_at"]))
        except (ValueError, TypeError, KeyError):
            return cls()

    def as_token(self) -> str:
        """Return the walk as text for the database."""
        return orjson.dumps(
            {
                "cursor": self.cursor,
                "cursors": self.cursors.as_list(),
                "pages": self.pages.as_list(),
                "idle": self.idle,
                "restarted_at": self.restarted_at,
            }
        ).decode()

    def restarted(self, now: datetime) -> Walk:
        """Return a new walk over the same window, for a cursor that the store no longer takes.

        Raises `TryLater` when that happened a moment ago: a store that refuses every cursor would be walked for ever.
        """
        at = int(now.timestamp())
        wait = self.restarted_at + RESTART_EVERY.total_seconds() - at
        if wait > 0:
            raise TryLater(
                "the store refuses its own cursors",
                code="cursor_refused",
                remedy=_FAULTY,
                retry_after=timedelta(seconds=wait),
            )
        return Walk(restarted_at=at)

    def next(self, page: CartPage, next_cursor: Any) -> Walk | None:
        """Return the walk's next page, None at the end. Raises `TryLater` for a cursor that leads nowhere new."""
        if next_cursor is None:
            return None
        cursor = _checked(next_cursor)
        cursors = self.cursors.step(cursor)
        if cursors.laps or cursor == self.cursor:
            raise _loop("the store's cursors go round in a circle")
        has_records = bool(page.carts or page.unreadable)
        idle = 0 if has_records else self.idle + 1
        pages = self.pages.step(_print_of(page)) if has_records else self.pages
        if idle > 1 or pages.laps > 1:
            raise _loop("the store's pages bring nothing new")
        return replace(self, cursor=cursor, cursors=cursors, pages=pages, idle=idle)


def _checked(cursor: Any) -> str:
    """A cursor only ever fills the `cursor` parameter; what looks like an address is refused, not followed."""
    if not isinstance(cursor, str) or not 0 < len(cursor) <= LONGEST_CURSOR or not cursor.isprintable():
        raise TryLater("next_cursor is not a text of 1 to 2048 characters", code="bad_next_cursor", remedy=_FAULTY)
    if "://" in cursor or cursor.startswith("//"):
        raise TryLater("next_cursor is an address, not a cursor", code="bad_next_cursor", remedy=_FAULTY)
    return cursor


def _loop(message: str) -> TryLater:
    return TryLater(message, code="pagination_loop", remedy=_FAULTY)


def _print_of(page: CartPage) -> str:
    """Ids and change times of a page: the same carts, changed since, are another page."""
    shown = [f"{cart.source_cart_id} {cart.updated_at.timestamp()}" for cart in page.carts]
    return "\n".join(shown + [record.raw.decode(errors="replace") for record in page.unreadable])
