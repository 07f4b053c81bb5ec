"""Where a walk through the orders stands: a key in time, so that records which move do not move the walk.

Asked ascending by modified time, each page begins one second before the last one's last second (the filter is
exclusive and many orders share a second), and what that second already gave is skipped by id. Only a second that
holds more orders than a page is walked by offset; there each page must begin with the last record of the one
before, else that second is begun again.

Stores on the posts table sort by local digits, though they filter by UTC: while a clock goes back, two hours are
mixed. A walk that has met both offsets therefore steps back by their difference with every page; that repeats some
records and loses none.
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
class Walk:
    """The next question. `floor`: the oldest second wanted. `seen`: ids that need no second look at that second.

    `offset` is above 0 only inside an overfull second, and then `anchor` is the id that must come first. `size`:
    records per page. `unknown`: statuses that the store does not know. `widest`: the largest offset of local time met.
    """

    floor: datetime
    size: int
    seen: frozenset[str] = frozenset()
    offset: int = 0
    anchor: str | None = None
    unknown: frozenset[str] = frozenset()
    widest: timedelta | None = None

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
            None if kept["widest"] is None else timedelta(seconds=kept["widest"]),
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
            "widest": None if self.widest is None else self.widest.total_seconds(),
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
        """Whether the records of an overfull second moved while it was walked."""
        return self.anchor is not None and (not stamps or stamps[0].id != self.anchor)

    def again(self) -> Walk:
        """Return the walk at the begin of its second."""
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
        floor, widest = self._next_floor(stamps)
        if floor > self.floor:
            ids = frozenset(stamp.id for stamp in stamps if stamp.modified_at == floor)
            return replace(self, floor=floor, seen=ids, offset=0, anchor=None, widest=widest)
        seen, anchor, offset = frozenset({stamps[-1].id}), stamps[-1].id, self.offset + len(stamps) - 1
        return replace(self, seen=seen, offset=offset, anchor=anchor, widest=widest)

    def _next_floor(self, stamps: Sequence[Stamp]) -> tuple[datetime, timedelta | None]:
        """Return the second from which nothing has been passed over yet, and the widest offset so far."""
        dated = [(stamp.modified_at, stamp.utc_offset) for stamp in stamps if stamp.modified_at is not None]
        if not dated:
            return self.floor, self.widest
        last, offset = dated[-1]
        widest = max([each for _, each in dated] + ([] if self.widest is None else [self.widest]))
        return last - (widest - offset), widest
