"""Sessions of people, across companies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import people, sessions
from backend.models.base import UtcDateTime
from backend.store.listings import Place, newest


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A stored session. `generation` is that of the refresh token which is good now."""

    id: str
    person_id: str
    kind: str
    mark: str
    generation: int
    rotated_at: datetime
    client: str
    address: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ended_because: str | None


_COLUMNS = tuple(sessions.c[name] for name in SessionRow.__slots__)
_LIVE = (
    select(people.c.name, sessions.c.mark)
    .join(sessions, sessions.c.person_id == people.c.id)
    .where(sessions.c.id == bindparam("session"), people.c.id == bindparam("person"))
    .where(sessions.c.ended_at.is_(None), sessions.c.expires_at > bindparam("now", type_=UtcDateTime))
    .where(people.c.disabled_at.is_(None))
)


class SessionStore:
    """Sessions of the installation. `connection` is a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, row: SessionRow) -> None:
        """Insert a session."""
        await self._connection.execute(insert(sessions).values({name: getattr(row, name) for name in row.__slots__}))

    async def load(self, session_id: str) -> SessionRow | None:
        """Return one session."""
        row = (await self._connection.execute(select(*_COLUMNS).where(sessions.c.id == session_id))).first()
        return None if row is None else SessionRow(*row)

    async def live(self, session_id: str, person_id: str, now: datetime) -> tuple[str, str] | None:
        """Return the name of the person whose session this is, and its mark; None when it has ended or they may not."""
        values = {"session": session_id, "person": person_id, "now": now}
        row = (await self._connection.execute(_LIVE, values)).first()
        return None if row is None else (row.name, row.mark)

    async def rotate(self, session_id: str, generation: int, now: datetime) -> bool:
        """Make the next refresh token the good one; False when another request was faster or the session has ended."""
        c = sessions.c
        done = await self._connection.execute(
            update(sessions)
            .where(c.id == session_id, c.generation == generation, c.ended_at.is_(None))
            .values(generation=generation + 1, rotated_at=now)
        )
        return bool(done.rowcount)

    async def list_page(self, person_id: str, now: datetime, limit: int, after: Place | None) -> list[SessionRow]:
        """Return a person's live sessions, newest first."""
        c = sessions.c
        query = select(*_COLUMNS).where(c.person_id == person_id, c.ended_at.is_(None), c.expires_at > now)
        rows = await self._connection.execute(newest(query, sessions, "created_at", limit, after))
        return [SessionRow(*row) for row in rows]

    async def end(self, session_id: str, because: str, now: datetime) -> bool:
        """End a session; False when it has ended already."""
        return await self._end(sessions.c.id == session_id, because, now) > 0

    async def end_all(self, person_id: str, because: str, now: datetime, *, but: str = "") -> int:
        """End a person's sessions, but for one; return how many there were."""
        return await self._end((sessions.c.person_id == person_id) & (sessions.c.id != but), because, now)

    async def _end(self, which: Any, because: str, now: datetime) -> int:
        done = await self._connection.execute(
            update(sessions).where(which, sessions.c.ended_at.is_(None)).values(ended_at=now, ended_because=because)
        )
        return int(done.rowcount)
