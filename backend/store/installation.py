"""Whether deliveries are held back, and what tells that a database came from a backup: one row per installation."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import exists, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import carts, deliveries, destinations, installation_state, integrations, poll_cycles
from backend.store.cycles import insert_or_leave

# A restored dump differs in at least one of these: another server, another database of it, or a table made anew.
PLACE = text(
    "SELECT concat_ws(' ', 'database', oid, 'table', 'installation_state'::regclass::oid) "
    "FROM pg_database WHERE datname = current_database()"
)
MAY_ASK = text("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')")
SERVER = text("SELECT system_identifier FROM pg_control_system()")
NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # when the wanted state was set, as long as nobody has set it


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be delivered, over all companies. `oldest_at`: when the oldest of it was written."""

    deliveries: int
    oldest_at: datetime | None
    active_carts: int
    stores: int
    stores_read: int


class HoldStore:
    """The hold on deliveries; needs a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def prepare(self, interval: int) -> None:
        """Make the installation's row; until somebody sets the wanted state, `interval` seconds are what is set."""
        row = {"id": 1, "is_wanted": False, "interval_seconds": interval, "changed_at": NEVER}
        await self._connection.execute(insert_or_leave(self._connection, installation_state, row))
        never_set = installation_state.c.changed_at == NEVER
        await self._connection.execute(update(installation_state).where(never_set).values(interval_seconds=interval))

    async def place(self) -> str:
        """Return where this PostgreSQL database is: not its address, but what a restore of a dump makes anew."""
        server = ""
        if (await self._connection.execute(MAY_ASK)).scalar_one():  # some hosted servers keep it to themselves
            server = f"server {(await self._connection.execute(SERVER)).scalar_one()} "
        return f"{server}{(await self._connection.execute(PLACE)).scalar_one()}"

    async def last_cycle_at(self) -> datetime | None:
        """Return when the latest cycle began: older code and one-off runs leave no other sign of life."""
        found: datetime | None = (await self._connection.execute(select(func.max(poll_cycles.c.started_at)))).scalar()
        return found

    async def note_alive(self, place: str, now: datetime) -> None:
        """Store that the database is used here and now."""
        await self._connection.execute(update(installation_state).values(place=place, alive_at=now))

    async def hold(self, reason: str, now: datetime) -> bool:
        """Hold deliveries back from now on; False when they are held already, and then the older reason stays."""
        free = installation_state.c.hold_reason.is_(None)
        done = await self._connection.execute(
            update(installation_state).where(free).values(hold_reason=reason, held_at=now)
        )
        return bool(done.rowcount)

    async def release(self) -> bool:
        """Let deliveries go again; False when they were not held."""
        held = installation_state.c.hold_reason.is_not(None)
        done = await self._connection.execute(
            update(installation_state).where(held).values(hold_reason=None, held_at=None)
        )
        return bool(done.rowcount)

    async def has_work(self) -> bool:
        """Whether something waits that would be handed off: a delivery, or a cart that may yet be abandoned."""
        pending = exists().where(deliveries.c.state == "pending")
        coming = exists().where(carts.c.next_check_at.is_not(None), carts.c.state == "active")
        query = select(or_(pending, coming & exists().where(destinations.c.status == "active")))
        return bool((await self._connection.execute(query)).scalar_one())

    async def has_history(self) -> bool:
        """Whether a store was ever read, so that carts known elsewhere could be found, and handed off, anew."""
        query = select(exists().where(integrations.c.watermark.is_not(None)))
        return bool((await self._connection.execute(query)).scalar_one())

    async def backlog(self, since: datetime | None) -> Backlog:
        """Return what waits, and how many of the polled stores were read up to `since`."""
        d, i = deliveries.c, integrations.c
        waiting = select(func.count(), func.min(d.created_at)).where(d.state == "pending")
        count, oldest_at = (await self._connection.execute(waiting)).one()
        active = select(func.count()).where(carts.c.next_check_at.is_not(None), carts.c.state == "active")
        stores = select(func.count(), func.count().filter(i.watermark >= (since or NEVER))).where(i.status == "active")
        polled, read = (await self._connection.execute(stores)).one()
        return Backlog(count, oldest_at, (await self._connection.execute(active)).scalar_one(), polled, read)

    async def oldest(self, most: int) -> dict[tuple[str, str], list[str]]:
        """Return (company, destination) -> ids of its waiting deliveries, the `most` oldest of all."""
        d = deliveries.c
        query = select(d.company_id, d.destination_id, d.id).where(d.state == "pending").order_by(d.created_at)
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in await self._connection.execute(query.limit(most)):
            found[row.company_id, row.destination_id].append(row.id)
        return found
