"""Records of a company's stores that could not be read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from backend.routers.deps import ID, CompanyId, Page, Using
from backend.routers.guard import ANALYST, guard
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Next
from backend.services.overview import Listed

router = APIRouter(prefix="/api/v1/companies/{company_id}/quarantine", tags=["quarantine"])


class QuarantinedRecord(Answer):
    """A record that could not be read. Its content is kept sealed and not shown."""

    id: str
    integration_id: str
    integration: str = Field(examples=["acme-woo"])
    platform: str
    source_cart_id: str | None
    reason: str = Field(examples=["not an amount"])
    times_seen: int
    is_open: bool = Field(description="False once the cart could be read after all.")
    first_seen_at: datetime
    last_seen_at: datetime


class QuarantineList(Answer):
    """One page of records."""

    items: list[QuarantinedRecord]
    next: Next


@router.get(
    "",
    summary="List unreadable records",
    response_model=QuarantineList,
    responses=problems(404, 422),
    dependencies=guard(ANALYST),
)
async def list_quarantine(
    services: Using,
    company_id: CompanyId,
    page: Page,
    integration_id: Annotated[str | None, Query(max_length=80, pattern=ID)] = None,
    is_open: bool | None = None,
) -> Listed:
    """List the records that polls had to leave out, the ones seen last first."""
    return await services.overview.quarantine(company_id, integration_id, is_open, page)
