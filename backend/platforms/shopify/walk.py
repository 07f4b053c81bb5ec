"""Where a walk through one window stands, as the text that is kept between two pages."""

from __future__ import annotations

from dataclasses import dataclass, replace

import orjson

from backend.platforms.shopify.queries import DEEPEST_LIST


@dataclass(frozen=True, slots=True)
class Walk:
    """A place in the list: `after` a cursor, `first` carts at a time, `seen` so far in the list of ids `above` one.

    Shopify pages no list deeper than 25,000, so a longer walk goes on in a new list of the ids above the last one. The
    search must stay the same from one cursor to the next: it is made of the window and `above` only.
    """

    first: int
    after: str | None = None
    seen: int = 0
    above: int | None = None

    @classmethod
    def at(cls, token: str | None, first: int) -> Walk:
        """Return the walk that a page token stands for; at its beginning without one."""
        return cls(first) if token is None else cls(**orjson.loads(token))

    def token(self) -> str:
        """Return the walk as text."""
        place = {"first": self.first, "after": self.after, "seen": self.seen, "above": self.above}
        return orjson.dumps(place).decode()

    def next(self, end_cursor: str, carts: int, last_number: int | None) -> Walk:
        """Return the walk after a page of `carts` that ended at `end_cursor` and, if readable, at `last_number`."""
        seen = self.seen + carts
        if seen + self.first > DEEPEST_LIST and last_number is not None:
            return Walk(self.first, above=last_number)
        return replace(self, after=end_cursor, seen=seen)

    def halved(self) -> Walk:
        """Return the walk with half as many carts at a time."""
        return replace(self, first=self.first // 2)

    def restarted(self) -> Walk:
        """Return the walk at the beginning of its window."""
        return Walk(self.first)
