"""API keys, across companies: whose request it is turns out only once the key was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, Row, bindparam, exists, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import api_keys
from backend.models.base import UtcDateTime
from backend.store.listings import Place, newest

USED_EVERY = timedelta(minutes=1)  # of `last_used_at`


@dataclass(frozen=True, slots=True)
class ApiKeyRow:
    """A stored key, without its hash."""

    id: str
    name: str
    shown: str
    role: str
    company_id: str | None
    scopes: list[str] | None
    replaces: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


def _is_live(now: Any) -> ColumnElement[bool]:
    """Whether a key opens anything at a time, a value or a parameter."""
    return api_keys.c.revoked_at.is_(None) & or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now)


_SHOWN = tuple(api_keys.c[name] for name in ApiKeyRow.__slots__)
_NOW = bindparam("now", type_=UtcDateTime)
_LIVE = select(*_SHOWN).where(api_keys.c.hash == bindparam("hash", type_=LargeBinary), _is_live(_NOW))


class ApiKeyStore:
    """Keys of all companies. `connection` is a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def live(self, hashed: bytes, now: datetime) -> ApiKeyRow | None:
        """Return the key with this hash, if it is neither revoked nor past its time."""
        row = (await self._connection.execute(_LIVE, {"hash": hashed, "now": now})).one_or_none()
        return None if row is None else _key(row)

    async def note_used(self, key_id: str, now: datetime) -> None:
        """Note that a key was used, once a minute at most."""
        c = api_keys.c
        is_old = or_(c.last_used_at.is_(None), c.last_used_at < now - USED_EVERY)
        await self._connection.execute(update(api_keys).where(c.id == key_id, is_old).values(last_used_at=now))

    async def add(self, values: Mapping[str, Any]) -> None:
        """Insert a key."""
        await self._connection.execute(insert(api_keys).values(**values))

    async def list_page(self, company_id: str | None, limit: int, after: Place | None) -> list[ApiKeyRow]:
        """Return the keys of a company, or those of all companies together (None), newest first."""
        query = select(*_SHOWN).where(_of(company_id))
        return [
            _key(row) for row in await self._connection.execute(newest(query, api_keys, "created_at", limit, after))
        ]

    async def load(self, company_id: str | None, key_id: str) -> ApiKeyRow | None:
        """Return one key of a company, or of all companies together."""
        query = select(*_SHOWN).where(_of(company_id), api_keys.c.id == key_id)
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else _key(row)

    async def has_live_successor(self, key_id: str, now: datetime) -> bool:
        """Whether a live key was made to take this one's place."""
        query = select(exists().where(api_keys.c.replaces == key_id, _is_live(now)))
        return bool((await self._connection.execute(query)).scalar_one())

    async def is_live(self, key_id: str, now: datetime) -> bool:
        """Whether a key still opens anything."""
        query = select(exists().where(api_keys.c.id == key_id, _is_live(now)))
        return bool((await self._connection.execute(query)).scalar_one())

    async def change(self, key_id: str, **values: Any) -> None:
        """Change columns of a key."""
        await self._connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(**values))


def _of(company_id: str | None) -> Any:
    column = api_keys.c.company_id
    return column.is_(None) if company_id is None else column == company_id


def _key(row: Row[Any]) -> ApiKeyRow:
    return ApiKeyRow(**{name: getattr(row, name) for name in ApiKeyRow.__slots__})
