"""A poll's own writes on its integration, always fenced by the lease, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.cursor import Cursor
from backend.domain.ids import new_id
from backend.domain.work import PollWork
from backend.errors import LeaseLost
from backend.models import integrations, poll_runs, quarantine


class PollStore:
    """Writes of one claimed poll, as its company."""

    def __init__(self, connection: AsyncConnection, work: PollWork) -> None:
        self._connection = connection
        self._work = work

    async def change(self, now: datetime, **values: Any) -> None:
        """Change the integration if the lease still holds. Raises `LeaseLost`, with nothing changed.

        The first statement of a page's transaction: on PostgreSQL its row lock keeps others from claiming meanwhile.
        """
        c = integrations.c
        done = await self._connection.execute(
            update(integrations)
            .where(
                c.company_id == self._work.company_id,
                c.id == self._work.integration_id,
                c.lease_token == self._work.token,
                c.lease_expires_at > now,
            )
            .values(**values)
        )
        if done.rowcount != 1:
            raise LeaseLost(f"the lease on integration {self._work.integration_id} ran out")

    async def move_cursor(self, cursor: Cursor, now: datetime) -> None:
        """Save the cursor with the page it belongs to, and renew the lease.

        The keeper of leases passes over rows that are locked, as this one is for as long as the page is written.
        """
        await self.change(now, lease_expires_at=now + self._work.lease, **cursor_values(cursor))

    async def settle(self, now: datetime, **values: Any) -> None:
        """Give the lease back with what the poll came to."""
        c = integrations.c
        counters: dict[str, Any] = {"polls": c.polls + 1, "claims": 0, "last_polled_at": now, "updated_at": now}
        if values.pop("is_empty", False):
            counters["empty_polls"] = c.empty_polls + 1
        await self.change(now, lease_token=None, lease_expires_at=None, **counters, **values)

    async def add_run(self, cycle_id: str, worker_id: str, values: Mapping[str, Any]) -> None:
        """Keep a row of a poll that changed or failed something."""
        await self._connection.execute(
            insert(poll_runs).values(
                company_id=self._work.company_id,
                id=new_id(),
                integration_id=self._work.integration_id,
                cycle_id=cycle_id,
                worker_id=worker_id,
                **values,
            )
        )


def cursor_values(cursor: Cursor) -> dict[str, Any]:
    """Return a cursor as the columns of its integration."""
    return {
        "watermark": cursor.watermark,
        "window_from": cursor.window_from,
        "page_token": cursor.page_token,
        "next_watermark": cursor.next_watermark,
        "walk_pages": cursor.pages,
        "clock_offset_seconds": round(cursor.clock_offset.total_seconds()),
    }


class QuarantineStore:
    """Records of one store that could not be read."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def known(self, integration_id: str, ids: Sequence[str]) -> set[str]:
        """Return which of these quarantine ids are there."""
        c = quarantine.c
        query = select(c.id).where(c.company_id == self._company, c.integration_id == integration_id, c.id.in_(ids))
        return set((await self._connection.execute(query)).scalars())

    async def add(self, integration_id: str, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Insert records; `rows` have id, source_cart_id, reason and record_sealed."""
        fixed = {
            "company_id": self._company,
            "integration_id": integration_id,
            "times_seen": 1,
            "is_open": True,
            "first_seen_at": now,
            "last_seen_at": now,
        }
        if rows:
            await self._connection.execute(insert(quarantine), [{**row, **fixed} for row in rows])

    async def seen_again(self, integration_id: str, ids: Sequence[str], now: datetime) -> None:
        """Count records that came again just as they were; one that was closed is open again."""
        c = quarantine.c
        if ids:
            await self._connection.execute(
                update(quarantine)
                .where(c.company_id == self._company, c.integration_id == integration_id, c.id.in_(ids))
                .values(times_seen=c.times_seen + 1, last_seen_at=now, is_open=True)
            )

    async def close(self, integration_id: str, source_ids: Sequence[str]) -> None:
        """Close the records of carts that could be read after all."""
        c = quarantine.c
        await self._connection.execute(
            update(quarantine)
            .where(
                c.company_id == self._company,
                c.integration_id == integration_id,
                c.is_open,
                c.source_cart_id.in_(source_ids),
            )
            .values(is_open=False)
        )


async def make_due(connection: AsyncConnection, company_id: str, integration_id: str, now: datetime) -> None:
    """Let the next beat poll this store, unless it waits for a time that the store or back-off set."""
    c = integrations.c
    await connection.execute(
        update(integrations)
        .where(c.company_id == company_id, c.id == integration_id, c.next_poll_at > now, c.status == "active")
        .values(next_poll_at=now)
    )
