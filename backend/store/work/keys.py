"""Data keys across companies, by the master key that wraps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import data_keys


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A company's data key as it is stored; `master_key` is the fingerprint of what wraps it."""

    company_id: str
    id: str
    version: int
    master_key: str
    wrapped: bytes


class WrappedKeys:
    """Data keys of all companies. `connection` is a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def wrapped_by_others(self, master_key: str, most: int) -> list[WrappedKey]:
        """Return keys that another master key wraps, and hold them until the transaction ends."""
        c = data_keys.c
        query = select(c.company_id, c.id, c.version, c.master_key, c.wrapped).where(c.master_key != master_key)
        ordered = query.order_by(c.company_id, c.id).limit(most).with_for_update(key_share=True)
        rows = await self._connection.execute(ordered)
        return [WrappedKey(row.company_id, row.id, row.version, row.master_key, row.wrapped) for row in rows]

    async def rewrap(self, row: WrappedKey, master_key: str, wrapped: bytes) -> None:
        """Store a key as another master key wraps it."""
        c = data_keys.c
        mine = (c.company_id == row.company_id) & (c.id == row.id)
        await self._connection.execute(update(data_keys).where(mine).values(master_key=master_key, wrapped=wrapped))


async def key_holders(connection: AsyncConnection) -> list[str]:
    """Return every company that has a data key, and the installation where it has one."""
    return list((await connection.execute(select(data_keys.c.company_id).distinct())).scalars())


async def has_other_keys(connection: AsyncConnection, master_keys: Sequence[str]) -> bool:
    """Whether some company's data key was wrapped by a master key of none of these fingerprints."""
    others = select(data_keys.c.id).where(data_keys.c.master_key.not_in(master_keys)).limit(1)
    return (await connection.execute(others)).first() is not None
