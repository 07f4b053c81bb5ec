"""One more look across companies: data keys that another master key wrapped."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import data_keys


async def has_other_keys(connection: AsyncConnection, master_key: str) -> bool:
    """Whether some company's data key was wrapped by a master key of another fingerprint."""
    others = select(data_keys.c.id).where(data_keys.c.master_key != master_key).limit(1)
    return (await connection.execute(others)).first() is not None
