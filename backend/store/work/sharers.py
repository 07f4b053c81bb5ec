"""One more look across companies: who shares the budget of a store."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models import integrations


async def count_sharers(connection: AsyncConnection, platform: str, store_id: str, company_id: str | None) -> int:
    """Return how many integrations poll a store, of one company if given. As many workers may be polling it."""
    c = integrations.c
    query = select(func.count()).where(c.platform == platform, c.store_id == store_id, c.status != "inactive")
    if company_id is not None:
        query = query.where(c.company_id == company_id)
    return (await connection.execute(query)).scalar_one()
