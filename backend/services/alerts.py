"""AlertService: what people read of alerts."""

from __future__ import annotations

from typing import Any

from backend.db import Database
from backend.errors import NotFound
from backend.services.overview import Listed, Paging, write_place
from backend.store.alerts import AlertStore
from backend.store.listings import ListingStore

Row = dict[str, Any]


class AlertService:
    """Lists of alerts, newest first; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def alerts(self, company_id: str | None, is_open: bool | None, paging: Paging) -> Listed:
        """Return alerts of a company, or of all when None. Raises `NotFound` for the company."""
        wanted: Row = {"is_open": is_open, "limit": paging.limit + 1, "after": paging.place}
        if company_id is None:
            async with self._database.overview() as tx:
                rows = await AlertStore(tx).listed(None, **wanted)
        else:
            async with self._database.reading(company_id) as tx:
                if not await ListingStore(tx, company_id).has_company():
                    raise NotFound(f"there is no company {company_id}")
                rows = await AlertStore(tx).listed(company_id, **wanted)
        items = [alert_row(row) for row in rows[: paging.limit]]
        is_last = len(rows) <= paging.limit
        return Listed(items, None if is_last else write_place(items[-1]["opened_at"], items[-1]["id"]))


def alert_row(row: Any) -> Row:
    """Return an alert as people see it."""
    return {**row, "is_open": row["closed_at"] is None}
