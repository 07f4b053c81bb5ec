"""Where a walk through a store's orders stands: a key in time, so that orders which move do not move the walk.

A window is walked twice: first the incomplete orders, then all orders, which tell what was bought. An order that is
paid between the two is seen by the second; the other way round it would be missed until the next window.

Asked ascending by modified time, each page begins one second before the last one's last second, since whether
``min_date_modified`` includes its own second is not documented. An answer that holds such a second shows that it does,
and from then on no second is asked twice. What the last second already gave is skipped by id. Only a second that holds
more orders than a page is walked otherwise: by id, which no change can shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import orjson

SECOND = timedelta(seconds=1)
INCOMPLETE = "0"
# With it an order holds its lines: without, each order would take a second request.
WITH_LINES = {"include": "consignments.line_items", "consignment_structure": "object"}

Part = Literal["incomplete", "all"]


@dataclass(frozen=True, slots=True)
class Stamp:
    """Of one record: its id (0: none), and when it was modified (None: unreadable, or in the future)."""

    id: int
    modified_at: datetime | None


@dataclass(frozen=True, slots=True)
class Walk:
    """The next question. `floor`: the oldest second wanted. `seen`: ids that need no second look at that second.

    `above`: None, or, while the second `floor` is walked by id, the last id seen. `size`: orders per page.
    `is_inclusive`: ``min_date_modified`` was seen to include its own second.
    """

    part: Part
    floor: datetime
    size: int
    seen: frozenset[int] = frozenset()
    above: int | None = None
    is_inclusive: bool = False

    @classmethod
    def begin(cls, window_from: datetime, size: int, part: Part = "incomplete") -> Walk:
        """Return a part's first question, for all that was modified at or after `window_from` (aware UTC)."""
        return cls(part, window_from.astimezone(UTC).replace(microsecond=0), size)

    @classmethod
    def read(cls, token: str) -> Walk:
        """Return the walk that `token` stands for."""
        kept = orjson.loads(token)
        floor = datetime.fromisoformat(kept["floor"])
        return cls(kept["part"], floor, kept["size"], frozenset(kept["seen"]), kept["above"], kept["inclusive"])

    @property
    def token(self) -> str:
        """The walk as text, for the database."""
        kept = {
            "part": self.part,
            "floor": self.floor.isoformat(),
            "size": self.size,
            "seen": sorted(self.seen),
            "above": self.above,
            "inclusive": self.is_inclusive,
        }
        return orjson.dumps(kept).decode()

    @property
    def question(self) -> dict[str, str]:
        """The parameters to ask the list of orders with."""
        asked = {"min_date_modified": self._from.isoformat(), "page": "1", "limit": str(self.asks)}
        if self.part == "incomplete":
            asked["status_id"] = INCOMPLETE
        else:
            asked |= WITH_LINES
        if self.above is None:
            return asked | {"sort": "date_modified:asc"}
        until = (self.floor + SECOND).isoformat()
        return asked | {"sort": "id:asc", "max_date_modified": until, "min_id": str(self.above)}

    @property
    def asks(self) -> int:
        """How many orders to ask for; beside the one seen last there must be room for a new one."""
        return self.size if self.above is None else max(2, self.size)

    @property
    def _from(self) -> datetime:
        return self.floor if self.is_inclusive else self.floor - SECOND

    def smaller(self) -> Walk:
        """Return the walk with pages a quarter the size."""
        return replace(self, size=max(1, self.size // 4))

    def skips(self, stamp: Stamp) -> bool:
        """Whether the record is none of what is wanted now, or an earlier page gave it as it is now."""
        if stamp.modified_at is None:
            return stamp.id in self.seen
        if self.above is not None and stamp.modified_at > self.floor:
            return True  # its own second comes next
        return stamp.modified_at < self.floor or (stamp.modified_at == self.floor and stamp.id in self.seen)

    def cut_after(self, stamps: Sequence[Stamp], done: int) -> Walk:
        """Return the question that goes on behind the first `done` records of a page that was given up there."""
        part = stamps[:done]
        return self._ahead(part) or replace(self, seen=self.seen | {stamp.id for stamp in part})

    def after(self, stamps: Sequence[Stamp]) -> Walk | None:
        """Return the question after a whole page of these records, in their order, or None when there is no more."""
        is_full, ahead = len(stamps) >= self.asks, self._ahead(stamps)
        if self.above is not None:
            if is_full and ahead is not None and ahead.above != self.above:
                return ahead
            return replace(ahead or self, floor=self.floor + SECOND, seen=frozenset(), above=None)
        if not is_full or ahead is None:  # full, and nothing dated: all that is left lies in the future, or nowhere
            return None
        has_moved = ahead.floor > self.floor or ahead.is_inclusive != self.is_inclusive
        is_crowded = len(ahead.seen) >= self.asks  # the next page would hold nothing that is new
        return ahead if has_moved and not is_crowded else replace(ahead, above=0)

    def _ahead(self, stamps: Sequence[Stamp]) -> Walk | None:
        """Return the question that follows these records; None where none of them leads on."""
        dated = [stamp.modified_at for stamp in stamps if stamp.modified_at is not None]
        is_inclusive = self.is_inclusive or self._from in dated
        if self.above is not None:
            last_id = max([self.above, *(stamp.id for stamp in stamps)])
            return replace(self, above=last_id, seen=self.seen | {last_id}, is_inclusive=is_inclusive)
        if not dated:
            return None
        last = max(dated[-1], self.floor)
        ids = frozenset(stamp.id for stamp in stamps if stamp.modified_at == last)
        kept = self.seen if last == self.floor else frozenset()
        return replace(self, floor=last, seen=ids | kept, is_inclusive=is_inclusive)
