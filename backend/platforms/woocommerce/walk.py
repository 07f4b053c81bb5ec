"""Where a walk through the orders stands: a key in time, so that records which move do not move the walk.

Asked ascending by modified time, each page begins one second before the last one's last second (the filter is
exclusive and many orders share a second), and what that second already gave is skipped by id. Only a second that
holds more orders than a page is walked by offset; there each page must begin with the last record of the one
before, else that second is begun again.

Stores on the posts table sort by local digits, though they filter by UTC: where the site's clock goes back, the hour
before and the hour after are mixed. There, too, the walk goes by offset, until both are behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Stamp:
    """Of one record: its id, when it was modified (None: unreadable, or in the future), its local time's offset."""

    id: str
    modified_at: datetime | None
    utc_offset: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Offsets:
    """The widest offset of local time that was met since the last key, and when a narrower one was first met."""

    widest: timedelta | None = None
    turned_at: datetime | None = None

    def with_page(self, stamps: Sequence[Stamp]) -> Offsets:
        """Return what is known after this page."""
        met = [stamp for stamp in stamps if stamp.modified_at is not None]
        widths = [stamp.utc_offset for stamp in met] + ([] if self.widest is None else [self.widest])
        widest = max(widths, default=None)
        turns = [stamp.modified_at for stamp in met if widest is not None and stamp.utc_offset < widest]
        known = [moment for moment in (*turns, self.turned_at) if moment is not None]
        return Offsets(widest, min(known, default=None))

    def are_mixed_after(self, last: Stamp) -> bool:
        """Whether records older than `last` in UTC may follow it in local digits."""
        if self.turned_at is None or self.widest is None or last.modified_at is None:
            return False
        return last.modified_at - (self.widest - last.utc_offset) < self.turned_at


@dataclass(frozen=True, slots=True)
class Walk:
    """The next question. `floor`: the oldest second wanted. `seen`: ids that need no second look at that second.

    `offset` is above 0 only where the walk goes by offset, and then `anchor` is the id that must come first. `size`:
    records per page. `unknown`: statuses that the store does not know. `offsets`: where the clock went back.
    """

    floor: datetime
    size: int
    seen: frozenset[str] = frozenset()
    offset: int = 0
    anchor: str | None = None
    unknown: frozenset[str] = frozenset()
    offsets: Offsets = Offsets()

    @classmethod
    def begin(cls, window_from: datetime, size: int) -> Walk:
        """Return a walk's first question, for all that was modified at or after `window_from` (aware UTC)."""
        return cls(window_from.astimezone(UTC).replace(microsecond=0), size)

    @classmethod
    def read(cls, token: str) -> Walk:
        """Return the walk that `token` stands for."""
        kept = orjson.loads(token)
        return cls(
            datetime.fromisoformat(kept["modified"]).replace(tzinfo=UTC) + SECOND,
            kept["size"],
            frozenset(kept["seen"]),
            kept["offset"],
            kept["anchor"],
            frozenset(kept["unknown"]),
            Offsets(
                None if kept["widest"] is None else timedelta(seconds=kept["widest"]),
                None if kept["turned_at"] is None else datetime.fromisoformat(kept["turned_at"]),
            ),
        )

    @property
    def token(self) -> str:
        """The walk as text, for the database."""
        kept = {
            "modified": self.modified_after,
            "seen": sorted(self.seen),
            "offset": self.offset,
            "anchor": self.anchor,
            "size": self.size,
            "unknown": sorted(self.unknown),
            "widest": None if self.offsets.widest is None else self.offsets.widest.total_seconds(),
            "turned_at": None if self.offsets.turned_at is None else self.offsets.turned_at.isoformat(),
        }
        return orjson.dumps(kept).decode()

    @property
    def modified_after(self) -> str:
        """UTC digits without a zone: with one, stores shift the question by their own offset. Exclusive."""
        return (self.floor - SECOND).replace(tzinfo=None).isoformat()

    @property
    def asks(self) -> int:
        """How many records to ask for; beside an anchor there must be room for a new one."""
        return self.size if self.anchor is None else max(2, self.size)

    def lost_its_place(self, stamps: Sequence[Stamp]) -> bool:
        """Whether records moved while they were walked by offset."""
        return self.anchor is not None and (not stamps or stamps[0].id != self.anchor)

    def again(self) -> Walk:
        """Return the walk at the begin of what it walked by offset."""
        return replace(self, seen=frozenset(), offset=0, anchor=None)

    def smaller(self) -> Walk:
        """Return the walk with pages a quarter the size."""
        return replace(self, size=max(1, self.size // 4))

    def knows(self, stamp: Stamp) -> bool:
        """Whether an earlier page gave this record as it is now."""
        return stamp.id in self.seen and stamp.modified_at in (self.floor, None)

    def is_before(self, stamp: Stamp) -> bool:
        """Whether the record is older than what was asked for."""
        return stamp.modified_at is not None and stamp.modified_at < self.floor

    def after(self, stamps: Sequence[Stamp], total: int | None) -> Walk | None:
        """Return the question after a page of these records, in their order, or None when there is no more.

        `total`: how many the store says match, None when it does not say.
        """
        full = len(stamps) >= self.asks or (total or 0) > self.offset + len(stamps)
        if not full or len(stamps) < (1 if self.anchor is None else 2):
            return None
        offsets = self.offsets.with_page(stamps)
        dated = [stamp for stamp in stamps if stamp.modified_at is not None]
        last = dated[-1].modified_at if dated else None
        if last is not None and last > self.floor and not offsets.are_mixed_after(dated[-1]):
            ids = frozenset(stamp.id for stamp in stamps if stamp.modified_at == last)
            return replace(self, floor=last, seen=ids, offset=0, anchor=None, offsets=Offsets())
        anchor = stamps[-1].id
        ahead = self.offset + len(stamps) - 1
        return replace(self, seen=frozenset({anchor}), offset=ahead, anchor=anchor, offsets=offsets)
