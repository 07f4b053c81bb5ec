"""Room for large answers: few of them are in memory at once, however many exchanges are under way."""

from __future__ import annotations

import asyncio

SMALL_BYTES = 1024 * 1024  # what every exchange may hold of a body, without asking; nearly all bodies are smaller


class Room:
    """What one exchange may hold of a body. `places` are the process's; a body that is not small takes one.

    Without a free one it reads no further meanwhile, so that the bytes stay with their sender. Leaving the context
    gives the place back.
    """

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._has_place = False
        self.is_waiting = False

    async def hold(self, size: int) -> None:
        """Return once `size` bytes may be held."""
        if size <= SMALL_BYTES or self._has_place:
            return
        self.is_waiting = True  # still so after a cancellation, which tells what the exchange waited for
        await self._places.acquire()
        self.is_waiting = False
        self._has_place = True

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_place:
            self._places.release()
