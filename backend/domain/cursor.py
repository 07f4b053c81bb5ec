"""How far a store has been read: pure arithmetic on the four fields of a cursor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

# The next window begins this long before the store's own clock at the first page, so that a row written
# while the store answered is read again rather than missed.
SETTLE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Cursor:
    """`watermark`: everything modified before it was read. `page_token`: where the present walk goes on."""

    watermark: datetime | None = None
    window_from: datetime | None = None
    page_token: str | None = None
    next_watermark: datetime | None = None

    @property
    def is_walking(self) -> bool:
        """Whether a walk was begun and not finished."""
        return self.page_token is not None and self.window_from is not None


def begin(cursor: Cursor, *, now: datetime, overlap: timedelta, lookback: timedelta) -> Cursor:
    """Return the cursor a poll starts with: the walk in hand, or a new one from the watermark less the overlap.

    The first poll of a store looks back `lookback` from now.
    """
    if cursor.is_walking:
        return cursor
    start = now - lookback if cursor.watermark is None else cursor.watermark - overlap
    return replace(cursor, window_from=start, page_token=None, next_watermark=None)


def advance(cursor: Cursor, *, next_page_token: str | None, server_time: datetime | None, now: datetime) -> Cursor:
    """Return the cursor to save with a page.

    `page_token` moves with every page, `watermark` only when the window was drained. `server_time` is the page's
    `Date`; a store that sends none is taken to agree with `now`. The watermark goes back with the store's clock: what
    is touched after a clock was put right is dated before the old watermark, and reading twice loses nothing.
    """
    marked = cursor.next_watermark or (server_time or now) - SETTLE
    if next_page_token is not None:
        return replace(cursor, page_token=next_page_token, next_watermark=marked)
    return Cursor(watermark=marked, window_from=cursor.window_from)
