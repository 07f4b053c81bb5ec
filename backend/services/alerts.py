"""AlertService: what people read of alerts."""

from __future__ import annotations

from typing import Any

from backend.db import Database, Transaction
from backend.services.companies import found_company
from backend.services.overview import Listed, Paging, write_place
from backend.store.alerts import AlertStore

Row = dict[str, Any]


class AlertService:
    """Lists of alerts, newest first; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def alerts(self, only: frozenset[str] | None, is_open: bool | None, paging: Paging) -> Listed:
        """Return alerts of the companies in `only`, None for all of them."""
        async with self._database.seeing(only) as tx:
            return await self._listed(tx, only, is_open, paging)

    async def alerts_of(self, company_id: str, is_open: bool | None, paging: Paging) -> Listed:
        """Return alerts of one company. Raises `NotFound` when there is no such company."""
        async with self._database.reading(company_id) as tx:
            await found_company(tx, company_id)
            return await self._listed(tx, frozenset({company_id}), is_open, paging)

    async def _listed(
        self, tx: Transaction, only: frozenset[str] | None, is_open: bool | None, paging: Paging
    ) -> Listed:
        rows = await AlertStore(tx).listed(only, is_open=is_open, limit=paging.limit + 1, after=paging.place)
        items = [alert_row(row) for row in rows[: paging.limit]]
        is_last = len(rows) <= paging.limit
        return Listed(items, None if is_last else write_place(items[-1]["opened_at"], items[-1]["id"]))


def alert_row(row: Any) -> Row:
    """Return an alert as people see it."""
    return {**row, "is_open": row["closed_at"] is None}
