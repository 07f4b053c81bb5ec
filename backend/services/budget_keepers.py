"""What keeps the budgets of stores has to offer, and the keeper that needs nothing but this process."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from backend.domain.buckets import Ask, Bucket, Taken

IsAlone = Callable[[], Awaitable[bool]]
FIRST_SWEEP = 10_000  # stores whose buckets are held before full ones are let go


class Keeper(Protocol):
    """Keeps one bucket per store."""

    async def describe(self) -> str:
        """Look, and return where budgets are kept at this moment, in words for the status."""
        ...

    async def answer(self, key: str, ask: Ask, is_alone: IsAlone) -> Taken:
        """Take what `ask` wants from the bucket, or say how long to wait. Never raises for a keeper that is away.

        `is_alone` says whether the caller's lease covers every use of this bucket, so that it may be kept apart.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class ProcessKeeper:
    """Buckets in this process's memory, on its own steady clock.

    Right for a store that one integration uses: its lease has one owner, and what is left travels with the lease. Two
    integrations of one store share the bucket only where one process polls both.
    """

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._buckets: dict[str, Bucket] = {}
        self._sweep_at = FIRST_SWEEP

    async def describe(self) -> str:
        """See `Keeper`."""
        return "in-process"

    async def answer(self, key: str, ask: Ask, is_alone: IsAlone) -> Taken:
        """See `Keeper`. A bucket that is not known here is full, up to the ceiling that travelled with the lease."""
        now = self._ticks()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(ask.rate.capacity, now)
            if len(self._buckets) > self._sweep_at:
                self._sweep(now)
        return bucket.answer(ask, now)

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _sweep(self, now: float) -> None:
        """Let go of buckets that nobody used for an hour: any of them is full again."""
        self._buckets = {
            key: bucket for key, bucket in self._buckets.items() if max(bucket.at, bucket.held_until) > now - 3600
        }
        self._sweep_at = max(FIRST_SWEEP, 2 * len(self._buckets))
