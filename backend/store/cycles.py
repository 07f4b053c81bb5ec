"""The installation's own tables: wanted state, workers, cycles; and each company's counts of a cycle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import Integer, Row, bindparam, delete, desc, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.ids import new_id
from backend.domain.work import COUNTS, Tally
from backend.models import installation_state, poll_cycle_counts, poll_cycles, workers
from backend.store.bulk import Bulk
from backend.store.listings import within

STAMP_EVERY = timedelta(seconds=3)  # of `installation_state.alive_at`


def insert_or_leave(connection: AsyncConnection, table: Any, values: dict[str, Any]) -> Any:
    """Return the statement that inserts a row unless one with its key is there."""
    maker = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    return maker(table).values(**values).on_conflict_do_nothing()


class InstallationStore:
    """Wanted state and workers; needs a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def state(self) -> Row[Any] | None:
        """Return (is_wanted, interval_seconds, changed_at), or None before the first start."""
        return (await self._connection.execute(select(installation_state))).one_or_none()

    async def want(self, *, is_wanted: bool, interval: int, now: datetime) -> None:
        """Store the wanted state."""
        values = {"is_wanted": is_wanted, "interval_seconds": interval, "changed_at": now}
        await self._connection.execute(insert_or_leave(self._connection, installation_state, {"id": 1, **values}))
        await self._connection.execute(update(installation_state).values(**values))

    async def sign_in(self, worker: dict[str, Any]) -> None:
        """Register a worker, or note that it lives, and the database with it; `worker` has the columns of `workers`."""
        found = await self._connection.execute(
            update(workers).where(workers.c.id == worker["id"]).values(**{**worker, "id": workers.c.id})
        )
        if found.rowcount == 0:
            await self._connection.execute(insert(workers).values(**worker))
        c, now = installation_state.c, worker["seen_at"]
        is_old = or_(c.alive_at.is_(None), c.alive_at < now - STAMP_EVERY)
        await self._connection.execute(update(installation_state).where(is_old).values(alive_at=now))

    async def sign_out(self, worker_id: str) -> None:
        """Remove a worker that ended in order."""
        await self._connection.execute(delete(workers).where(workers.c.id == worker_id))

    async def forget_workers(self, before: datetime) -> None:
        """Remove workers not seen since `before`."""
        await self._connection.execute(delete(workers).where(workers.c.seen_at < before))

    async def workers(self) -> list[Row[Any]]:
        """Return all registered workers."""
        return list(await self._connection.execute(select(workers).order_by(workers.c.started_at)))


class CycleStore:
    """Cycles and their counts; needs a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def begin(self, cycle_id: str, kind: str, interval: int | None, started_at: datetime) -> bool:
        """Store a cycle unless it is there; True for the one worker that did."""
        values = {"id": cycle_id, "kind": kind, "interval_seconds": interval, "started_at": started_at}
        done = await self._connection.execute(insert_or_leave(self._connection, poll_cycles, values))
        return bool(done.rowcount == 1)

    async def finish(self, cycle_id: str, now: datetime) -> None:
        """Note that this worker is done with the cycle; the last one's word stands."""
        await self._connection.execute(update(poll_cycles).where(poll_cycles.c.id == cycle_id).values(finished_at=now))

    async def prune(self, before: datetime) -> None:
        """Delete cycles older than `before`, with their counts."""
        await self._connection.execute(delete(poll_cycles).where(poll_cycles.c.started_at < before))

    async def latest(self, most: int, kind: str | None = None) -> list[Row[Any]]:
        """Return the newest cycles."""
        query = select(poll_cycles).order_by(desc(poll_cycles.c.started_at)).limit(most)
        if kind is not None:
            query = query.where(poll_cycles.c.kind == kind)
        return list(await self._connection.execute(query))

    async def one(self, cycle_id: str) -> Row[Any] | None:
        """Return a cycle."""
        return (await self._connection.execute(select(poll_cycles).where(poll_cycles.c.id == cycle_id))).one_or_none()

    async def add_agents(self, cycle_id: str, worker_id: str, found: dict[str, int]) -> None:
        """Note how many agents of each company the cycle found."""
        rows: list[tuple[Any, ...]] = [
            (company, new_id(), cycle_id, worker_id, [], {}, agents) for company, agents in sorted(found.items())
        ]
        await _AGENTS.add_up(self._connection, rows, ROW_OF, merged=())

    async def counts(
        self, cycle_ids: Sequence[str], only: frozenset[str] | None = None
    ) -> list[tuple[str, str, Tally]]:
        """Return (cycle, company, tally) of each row; `only` of these companies, where it is given."""
        c = poll_cycle_counts.c
        query = select(poll_cycle_counts).where(c.cycle_id.in_(cycle_ids), within(c.company_id, only))
        return [(row.cycle_id, row.company_id, _tally(row)) for row in await self._connection.execute(query)]

    async def totals(self, only: frozenset[str] | None = None) -> dict[str, int]:
        """Return the sums of all kept cycles; `only` of these companies, where it is given."""
        c = poll_cycle_counts.c
        query = select(*(func.coalesce(func.sum(c[name]), 0).label(name) for name in COUNTS))
        query = query.where(within(c.company_id, only))
        row = (await self._connection.execute(query)).one()
        return {name: int(getattr(row, name)) for name in COUNTS}


_AGENTS = Bulk(poll_cycle_counts, ("company_id", "id", "cycle_id", "worker_id", "platforms", "value", "agents_found"))
ROW_OF = ("company_id", "cycle_id", "worker_id")


async def add_counts(connection: AsyncConnection, company_id: str, where: tuple[str, str], tally: Tally) -> None:
    """Add `tally` to the row of (cycle, worker), if the cycle is still kept; as the company or as the worker."""
    cycle_id, worker_id = where
    counts = {name: count for name, count in tally.counts.items() if count}
    if counts and not (tally.platforms or tally.value):  # as of deliveries: there is nothing to join, so none to read
        row = {"company": company_id, "cycle": cycle_id, "worker": worker_id}
        done = await connection.execute(_adding(tuple(sorted(counts))), row | {f"{n}_more": counts[n] for n in counts})
        if done.rowcount:
            return
    c = poll_cycle_counts.c
    mine = (c.company_id == company_id) & (c.cycle_id == cycle_id) & (c.worker_id == worker_id)
    query = select(c.platforms, c.value).where(mine).with_for_update()
    found = (await connection.execute(query)).one_or_none()
    if found is None:
        # A delivery may be older than the cycles that are kept.
        kept = await connection.execute(select(poll_cycles.c.id).where(poll_cycles.c.id == cycle_id))
        if kept.one_or_none() is None:
            return
        key = {"company_id": company_id, "id": new_id(), "cycle_id": cycle_id, "worker_id": worker_id}
        # Another task of this worker may be making the row at this moment: wait for it, then count on.
        await connection.execute(insert_or_leave(connection, poll_cycle_counts, {**key, "platforms": [], "value": {}}))
        found = (await connection.execute(query)).one()
    both = Tally(platforms=set(found.platforms), value={k: Decimal(v) for k, v in found.value.items()})
    both.merge(tally)
    shown = {"platforms": sorted(both.platforms), "value": {k: str(v) for k, v in both.value.items()}}
    await connection.execute(
        update(poll_cycle_counts)
        .where(mine)
        .values(**{name: c[name] + count for name, count in counts.items()}, **shown)
    )


@cache
def _adding(names: tuple[str, ...]) -> Any:
    """Return the statement that adds to these counts of one row; made once, as it runs with every slice sent."""
    c = poll_cycle_counts.c
    mine = (c.company_id == bindparam("company")) & (c.cycle_id == bindparam("cycle"))
    sums = {name: c[name] + bindparam(f"{name}_more", type_=Integer) for name in names}
    return update(poll_cycle_counts).where(mine, c.worker_id == bindparam("worker")).values(**sums)


def _tally(row: Row[Any]) -> Tally:
    tally = Tally(platforms=set(row.platforms), value={k: Decimal(v) for k, v in row.value.items()})
    for name in COUNTS:
        tally.counts[name] = getattr(row, name)
    return tally
