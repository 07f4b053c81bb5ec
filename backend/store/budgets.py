"""Who shares the budget of a store."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import integrations


async def count_sharers(connection: AsyncConnection, company_id: str, platform: str, store_id: str) -> int:
    """Return how many of the company's integrations poll this store. They may be in the hands of as many workers."""
    c = integrations.c
    query = select(func.count()).where(
        c.company_id == company_id, c.platform == platform, c.store_id == store_id, c.status != "inactive"
    )
    return (await connection.execute(query)).scalar_one()
