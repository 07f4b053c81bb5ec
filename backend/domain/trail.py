"""Notices when a walk over pages goes round in circles, in constant space.

Brent's way: remember one mark, and replace it each time the steps since have doubled. A circle of any length is met
within three times its length, while a list of the last so many marks would miss every longer circle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

MARK_SIZE = 8  # bytes; two different cursors share a mark once in 2**64


@dataclass(frozen=True, slots=True)
class Trail:
    """What a walk remembers of the marks it passed; `laps` counts how often it came back to the mark it remembers."""

    mark: str = ""
    steps: int = 0
    limit: int = 1
    laps: int = 0

    def step(self, text: str) -> Trail:
        """Return the trail after one more page, known by `text`."""
        mark = mark_of(text)
        if mark == self.mark:
            return replace(self, steps=0, laps=self.laps + 1)
        if self.steps + 1 >= self.limit:
            return replace(self, mark=mark, steps=0, limit=self.limit * 2)
        return replace(self, steps=self.steps + 1)

    def as_list(self) -> list[str | int]:
        """Return the trail in the form that `from_list` reads, for a page token."""
        return [self.mark, self.steps, self.limit, self.laps]

    @classmethod
    def from_list(cls, values: Sequence[str | int]) -> Trail:
        """Read a trail back from a page token. Raises `ValueError` when it is none."""
        mark, steps, limit, laps = values
        return cls(str(mark), int(steps), int(limit), int(laps))


def mark_of(text: str) -> str:
    """Return a short, stable mark of a text of any length."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=MARK_SIZE).hexdigest()
