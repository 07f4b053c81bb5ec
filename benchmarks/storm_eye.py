"""Looks at the product's tables from outside, over a connection of its own that outlives the server's end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it publishes no types

LIMIT = 60.0  # seconds that the server may be away
GONE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)

IN_HAND = """
SELECT id, webhook_id, attempts, lease_token, lease_expires_at, state FROM deliveries
WHERE state = 'pending' AND lease_token IS NOT NULL
"""
AGAIN = "SELECT id, attempts, lease_token, lease_expires_at, state FROM deliveries WHERE id = ANY($1)"
# The oldest moment at which some row was due that nobody has dealt with yet.
OLDEST_DUE = """
SELECT min(at) FROM (
    SELECT min(next_attempt_at) AS at FROM deliveries WHERE state = 'pending' AND next_attempt_at <= now()
    UNION ALL
    SELECT min(next_check_at) FROM carts WHERE next_check_at <= now() AND state IN ('active', 'abandoned')
    UNION ALL
    SELECT min(greatest(next_poll_at, waiting_until)) FROM integrations
    WHERE status = 'active' AND greatest(next_poll_at, waiting_until) <= now()
) AS due
"""


@dataclass(frozen=True, slots=True)
class Held:
    """One message that some worker had claimed and not settled."""

    id: str
    webhook_id: str
    attempts: int
    token: str
    until: datetime | None

    def was_dropped(self, later: Any) -> bool:
        """Whether its worker never came back to it, as a later look at its row shows.

        Then it is still held under the same lease, which nobody renewed, or somebody else has claimed it since.
        """
        if later["attempts"] > self.attempts:
            return True
        same = (later["lease_token"], later["lease_expires_at"]) == (self.token, self.until)
        return later["state"] == "pending" and same


class Eye:
    """The connection."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+asyncpg://cart_owner@", "postgresql://postgres@")
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        """Return the rows of a query; waits while the server is away. Raises what goes wrong for over a minute."""
        deadline = time.monotonic() + LIMIT
        async with self._turn:
            while True:
                try:
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await asyncpg.connect(self._url, timeout=LIMIT)
                    return list(await self._connection.fetch(sql, *values))
                except GONE:
                    self._connection = None
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.05)

    async def one(self, sql: str, *values: Any) -> Any:
        """Return the first column of the first row."""
        return (await self.rows(sql, *values))[0][0]

    async def in_hand(self) -> list[Held]:
        """Return the messages that workers have claimed and not settled."""
        return [
            Held(row["id"], row["webhook_id"], row["attempts"], row["lease_token"], row["lease_expires_at"])
            for row in await self.rows(IN_HAND)
        ]

    async def dropped(self, held: list[Held]) -> list[Held]:
        """Return those of them that were a dead worker's; ask after a good part of a lease."""
        later = {row["id"]: row for row in await self.rows(AGAIN, [each.id for each in held])}
        return [each for each in held if each.id in later and each.was_dropped(later[each.id])]

    async def oldest_due(self) -> datetime | None:
        """Return since when some row has been due, None when none is."""
        found: datetime | None = await self.one(OLDEST_DUE)
        return found

    async def aclose(self) -> None:
        """Close it."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)
