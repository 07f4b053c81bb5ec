"""How far a store has been read: pure arithmetic on the fields of a cursor, all of it in the store's own time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from backend.domain.skew import CREDIBLE, settled

# The next window begins this long before the store's own clock at the first page, so that a row written
# while the store answered is read again rather than missed.
SETTLE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Cursor:
    """`watermark`: everything modified before it was read. `page_token`: where the present walk goes on.

    `clock_offset`: how far the store's clock is ahead of ours (negative: behind); zero while they agree within minutes.
    `pages`: how many pages the walk in hand has brought, over all its polls.
    """

    watermark: datetime | None = None
    window_from: datetime | None = None
    page_token: str | None = None
    next_watermark: datetime | None = None
    clock_offset: timedelta = timedelta(0)
    pages: int = 0

    @property
    def is_walking(self) -> bool:
        """Whether a walk was begun and not finished."""
        return self.page_token is not None and self.window_from is not None


def begin(cursor: Cursor, *, now: datetime, overlap: timedelta, lookback: timedelta) -> Cursor:
    """Return the cursor a poll starts with: the walk in hand, or a new one from the watermark less the overlap.

    The first poll of a store looks back `lookback` from the store's present time. Until that first window was drained
    it stays where it is, however often its walk is given up: to move it on would skip what was not read yet.
    """
    if cursor.is_walking:
        return cursor
    if cursor.watermark is not None:
        start = cursor.watermark - overlap
    else:
        start = cursor.window_from or now + cursor.clock_offset - lookback
    return replace(cursor, window_from=start, page_token=None, next_watermark=None, pages=0)


def in_store_time(cursor: Cursor, *, server_time: datetime | None, now: datetime) -> Cursor:
    """Return the very first window as the store's clock counts it; any other cursor as it is.

    Before its first answer nobody knows a store's clock, so the first look-back is reckoned by ours. If the answer
    shows that the clocks are apart, the page is to be asked for again from the cursor returned here. That can happen
    once, since a cursor that knows its store's clock is not moved again.
    """
    is_first = cursor.watermark is None and not cursor.is_walking and not cursor.clock_offset
    offset = settled(cursor.clock_offset, server_time, now)
    if not is_first or not offset or cursor.window_from is None:
        return cursor
    return replace(cursor, window_from=cursor.window_from + offset, clock_offset=offset)


def advance(cursor: Cursor, *, next_page_token: str | None, server_time: datetime | None, now: datetime) -> Cursor:
    """Return the cursor to save with a page.

    `page_token` moves with every page, `watermark` only when the window was drained. `server_time` is the page's
    `Date`; a store that sends none is taken to agree with `now`. The watermark goes back with the store's clock: what
    is touched after a clock was put right is dated before the old watermark, and reading twice loses nothing. It goes
    back to where the old watermark lies by the new clock, since this page's window began too late.
    """
    marked = cursor.next_watermark or _present(server_time, now) - SETTLE
    offset = settled(cursor.clock_offset, server_time, now)
    read_up_to = cursor.watermark or (cursor.window_from if cursor.is_walking else None)
    if offset < cursor.clock_offset and read_up_to is not None:
        marked = min(marked, read_up_to + (offset - cursor.clock_offset))
    if next_page_token is not None:
        moved = replace(cursor, page_token=next_page_token, next_watermark=marked)
        return replace(moved, clock_offset=offset, pages=cursor.pages + 1)
    return Cursor(watermark=marked, window_from=cursor.window_from, clock_offset=offset)


def without_walk(cursor: Cursor) -> Cursor:
    """Return the cursor after its walk was given up: the next one begins where this one did, so nothing is skipped."""
    begin_again_at = cursor.window_from if cursor.watermark is None else None
    return Cursor(watermark=cursor.watermark, window_from=begin_again_at, clock_offset=cursor.clock_offset)


def _present(server_time: datetime | None, now: datetime) -> datetime:
    """Return the store's present time as far as it can be believed.

    A `Date` far ahead would move the watermark past records that are still to come, so then our clock counts. One far
    behind would read years again with every poll, so it counts as the farthest back that is credible.
    """
    if server_time is None or server_time > now + CREDIBLE:
        return now
    return max(server_time, now - CREDIBLE)
