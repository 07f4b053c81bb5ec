"""What `/metrics` counts in the database, over all companies and without naming any; reads only."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, Table, desc, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.work import Scope
from backend.models import (
    carts,
    companies,
    company_agents,
    deliveries,
    destinations,
    integrations,
    poll_cycles,
    quarantine,
)
from backend.store.status import watched, with_agent

HANDED_OFF, RECOVERED = "handed_off", "recovered"


@dataclass(frozen=True, slots=True)
class Stock:
    """What is stored: rows by state, and the value of carts by (currency, what became of them)."""

    carts: dict[str, int]
    deliveries: dict[str, int]
    destinations: dict[str, int]
    companies: dict[str, int]
    agents: dict[str, int]
    quarantined: int
    value: dict[tuple[str, str], Decimal]


class GaugeStore:
    """Counts over all companies; needs a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def last_finished(self) -> Row[Any] | None:
        """Return the newest cycle that is over."""
        query = (
            select(poll_cycles)
            .where(poll_cycles.c.finished_at.is_not(None))
            .order_by(desc(poll_cycles.c.started_at))
            .limit(1)
        )
        return (await self._connection.execute(query)).one_or_none()

    async def integrations(self) -> dict[str, int]:
        """Return how many integrations there are, by status."""
        return await self._by(integrations, "status")

    async def pending(self, scope: Scope) -> dict[str, int]:
        """Return the rows of each lane that wait for their time, the due ones among them."""
        polled = select(func.count()).select_from(with_agent()).where(watched(scope), integrations.c.status == "active")
        carts_waiting = select(func.count()).where(carts.c.next_check_at.is_not(None))
        deliveries_waiting = select(func.count()).where(deliveries.c.state == "pending")
        queries = {"polls": polled, "sweep": carts_waiting, "deliveries": deliveries_waiting}
        return {lane: int((await self._connection.execute(query)).scalar_one()) for lane, query in queries.items()}

    async def stock(self) -> Stock:
        """Return what is stored; counts every row, so it is asked for seldom."""
        c = carts.c
        is_handed_off = c.contacted_at.is_not(None)
        query = select(c.state, c.currency, is_handed_off, func.count(), func.sum(c.total)).group_by(
            c.state, c.currency, is_handed_off
        )
        by_state: dict[str, int] = {}
        value: dict[tuple[str, str], Decimal] = {}
        for state, currency, handed_off, count, total in await self._connection.execute(query):
            by_state[state] = by_state.get(state, 0) + count
            for what, holds in ((HANDED_OFF, handed_off), (RECOVERED, state == RECOVERED)):
                if holds:
                    value[currency, what] = value.get((currency, what), Decimal(0)) + Decimal(total)
        open_records = select(func.count()).where(quarantine.c.is_open)
        return Stock(
            carts=by_state,
            deliveries=await self._by(deliveries, "state"),
            destinations=await self._by(destinations, "status"),
            companies=await self._by(companies, "status"),
            agents=await self._by(company_agents, "status"),
            quarantined=int((await self._connection.execute(open_records)).scalar_one()),
            value=value,
        )

    async def _by(self, table: Table, column: str) -> dict[str, int]:
        query = select(table.c[column], func.count()).group_by(table.c[column])
        return {row[0]: row[1] for row in await self._connection.execute(query)}
