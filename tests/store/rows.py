"""Carts and deliveries for tests of stores, written straight into the tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from backend.domain.ids import new_id
from backend.domain.lifecycle import CartRow
from backend.models import deliveries, integrations
from backend.store.carts import CartStore
from tests.domain.sights import stored
from tests.worlds import World


async def add_carts(world: World, company: str, store: str, count: int, **fields: Any) -> list[CartRow]:
    """Add active carts to a store, due for the sweep unless `fields` say otherwise."""
    now = world.clock.now()
    async with world.database.transaction(company) as tx:
        query = select(integrations.c.agent_id).where(integrations.c.company_id == company, integrations.c.id == store)
        agent = (await tx.execute(query)).scalar_one()
        plain = stored(integration_id=store, agent_id=agent)
        rows = [replace(plain, id=new_id(), source_cart_id=f"s{new_id()}", **fields) for _ in range(count)]
        await CartStore(tx, company).add(rows, now)
    return rows


async def add_deliveries(
    world: World, company: str, store: str, destination: str, count: int, **fields: Any
) -> list[str]:
    """Add pending deliveries that are due now; return their ids, oldest first."""
    now = world.clock.now()
    plain: dict[str, Any] = {
        "company_id": company,
        "destination_id": destination,
        "agent_id": "agent",
        "integration_id": store,
        "type": "cart.abandoned",
        "state": "pending",
        "body": b"{}",
        "cart_count": 1,
        "attempts": 0,
        "next_attempt_at": now,
        "created_at": now,
    }
    rows = [{**plain, "id": new_id(), "webhook_id": f"msg_{new_id()}", **fields} for _ in range(count)]
    async with world.database.transaction(company) as tx:
        await tx.execute(insert(deliveries), rows)
    return [row["id"] for row in rows]


async def change(world: World, table: Any, row_id: str, **values: Any) -> None:
    """Change a row of any company."""
    async with world.database.work() as tx:
        await tx.execute(update(table).where(table.c.id == row_id).values(**values))


async def lease_of(world: World, table: Any, row_id: str) -> tuple[str | None, datetime | None]:
    """Return a row's lease."""
    async with world.database.work() as tx:
        query = select(table.c.lease_token, table.c.lease_expires_at).where(table.c.id == row_id)
        row = (await tx.execute(query)).one()
    return row[0], row[1]
