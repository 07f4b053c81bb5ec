"""The one place that reads the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Aware UTC time, corrected by the database's offset so that all workers agree on leases."""

    def __init__(self) -> None:
        self._offset = timedelta(0)

    def now(self) -> datetime:
        """Return the present moment as aware UTC."""
        return datetime.now(UTC) + self._offset

    def follow(self, authority: datetime) -> None:
        """Agree with `authority`, an aware UTC time just read from the database."""
        self._offset = authority - datetime.now(UTC)

    def ticks(self) -> float:
        """Return seconds that only ever go forward, for measuring waits; their zero means nothing."""
        return time.monotonic()
