"""Where a walk through the quotes stands: a key of time and id, so that quotes which move do not move the walk.

Asked ascending by (updated_at, entity_id), each page is what lies behind the last one's last quote: that second and a
higher id, or a later second. No page numbers: past the end Magento repeats its last page.

One quote that the store cannot load fails every page it is on. Such a page is asked for again in smaller ones; when a
page of one quote fails, its id is unknown, so it is hunted for: halves of the range of ids are asked for until one id
is left. That quote is then left out of all further questions of the walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import orjson

from backend.errors import TryLater
from backend.platforms.magento.search import CART_FIELDS, OLDEST_FIRST, Group, Search, among, digits

HIGHEST_ID = 2**32 - 1  # the quote table's ids are unsigned 32-bit numbers
SHRINK = 10  # two steps from a page of 100 to one of 1
MOST_SKIPPED = 100  # of quotes that cannot be loaded: their ids go with every question


@dataclass(frozen=True, slots=True)
class Stamp:
    """Of one record: its id and when it was updated; None where that cannot be read."""

    id: int | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Walk:
    """The next question. `floor` and `after_id`: the key behind which it looks; at the begin, `floor` alone.

    `size`: quotes per page, of `full` at most. `suspects`: how many of the next quotes lie on a page that failed.
    `skipped`: ids that are left out. `hunt`: the range of ids that has a quote which cannot be loaded.
    """

    floor: datetime
    size: int
    full: int
    after_id: int | None = None
    suspects: int = 0
    skipped: tuple[int, ...] = ()
    hunt: tuple[int, int] | None = None

    @classmethod
    def begin(cls, window_from: datetime, size: int) -> Walk:
        """Return a walk's first question, for all that was updated at or after `window_from` (aware UTC)."""
        return cls(window_from.astimezone(UTC).replace(microsecond=0), size, size)

    @classmethod
    def read(cls, token: str) -> Walk:
        """Return the walk that `token` stands for."""
        kept = orjson.loads(token)
        return cls(
            datetime.fromisoformat(kept["floor"]).replace(tzinfo=UTC),
            kept["size"],
            kept["full"],
            kept["after_id"],
            kept["suspects"],
            tuple(kept["skipped"]),
            None if kept["hunt"] is None else (kept["hunt"][0], kept["hunt"][1]),
        )

    @property
    def token(self) -> str:
        """The walk as text, for the database."""
        kept = {
            "floor": digits(self.floor),
            "size": self.size,
            "full": self.full,
            "after_id": self.after_id,
            "suspects": self.suspects,
            "skipped": self.skipped,
            "hunt": self.hunt,
        }
        return orjson.dumps(kept).decode()

    def search(self, *more: Group) -> Search:
        """Return the question; `more` narrows it."""
        since = digits(self.floor)
        groups: list[Group] = [(("updated_at", "gteq", since),)]
        if self.after_id is not None:
            groups.append((("updated_at", "gt", since), ("entity_id", "gt", str(self.after_id))))
        if self.skipped:
            groups.append(among("entity_id", self.skipped, "nin"))
        return Search([*groups, *more], self.size, CART_FIELDS, OLDEST_FIRST)

    def is_before(self, stamp: Stamp) -> bool:
        """Whether the record is older than what was asked for."""
        return stamp.updated_at is not None and stamp.updated_at < self.floor

    def smaller(self) -> Walk:
        """Return the walk after a page that failed: in smaller pages until all that was on it is behind."""
        return replace(self, size=max(1, self.size // SHRINK), suspects=self.suspects or self.size)

    def hunting(self, low: int = 1, high: int = HIGHEST_ID) -> Walk:
        """Return the walk on the hunt for a quote in this range of ids."""
        return replace(self, hunt=(low, high))

    def without(self, quote_id: int | None) -> Walk:
        """Return the walk after a hunt, in full pages, without the quote that was found, if one was."""
        skipped = self.skipped if quote_id is None else (*self.skipped, quote_id)
        if len(skipped) > MOST_SKIPPED:
            raise TryLater(
                f"the store cannot load more than {MOST_SKIPPED} quotes of one window",
                code="carts_unreadable",
                remedy="See the store's log (var/log) for why carts/search fails, often a product that was removed.",
            )
        return replace(self, size=self.full, suspects=0, skipped=skipped, hunt=None)

    def after(self, stamps: Sequence[Stamp], total: int | None) -> Walk | None:
        """Return the question after a page of these records, or None when there is no more.

        `total`: how many the store says match, None when it does not say. Raises `TryLater` when the page does not
        lead on.
        """
        more = len(stamps) >= self.size if total is None else total > len(stamps)
        if not stamps or not more:
            return None
        suspects = max(0, self.suspects - len(stamps))
        ahead = replace(self, suspects=suspects, size=min(self.size, suspects) if suspects else self.full)
        keys = [(stamp.updated_at, stamp.id) for stamp in stamps if stamp.updated_at is not None]
        dated = [(moment, number) for moment, number in keys if number is not None]
        if dated and dated[-1] > (self.floor, self.after_id or 0):
            return replace(ahead, floor=dated[-1][0], after_id=dated[-1][1])
        undated = tuple(stamp.id for stamp in stamps if stamp.updated_at is None and stamp.id is not None)
        if dated or not undated or set(undated) <= set(self.skipped):
            raise TryLater("the store's pages do not lead on", code="pagination_loop")
        return replace(ahead, skipped=(*self.skipped, *undated)[-MOST_SKIPPED:])
