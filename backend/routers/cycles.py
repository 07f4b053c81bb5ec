"""Poll cycles of the installation, and the polls of one company's stores."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from backend.routers.deps import ID, CompanyId, CycleId, IntegrationId, Page, Using
from backend.routers.guard import VIEWER, Me, guard
from backend.routers.polling import CycleSums
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Next
from backend.services.overview import Listed

router = APIRouter(prefix="/api/v1", tags=["cycles"])


class CycleKind(StrEnum):
    """What began a cycle: the interval, a test over the API, or the command line."""

    BEAT = "beat"
    TEST_ONCE = "test_once"
    ONCE = "once"


class Outcome(StrEnum):
    """What a poll came to."""

    OK = "ok"
    LATER = "later"
    OURS = "ours"
    FIX_CREDENTIALS = "fix_credentials"
    LEASE_LOST = "lease_lost"
    BUG = "bug"


class Cycle(CycleSums):
    """A cycle with the sums of what it caused."""

    interval_seconds: int | None = Field(examples=[30])


class CycleList(Answer):
    """One page of cycles."""

    items: list[Cycle]
    next: Next


class Run(Answer):
    """One poll of one store that changed or failed something; empty polls are only counted on the store."""

    id: str
    integration_id: str
    integration: str = Field(examples=["acme-main"])
    platform: str
    cycle_id: str
    outcome: str = Field(examples=["ok"])
    started_at: datetime
    elapsed_ms: int
    counts: dict[str, Any] = Field(examples=[{"carts_seen": 9, "carts_new": 3}])
    error_code: str | None
    error: str | None


class RunList(Answer):
    """One page of polls."""

    items: list[Run]
    next: Next


@router.get(
    "/cycles",
    summary="List poll cycles",
    response_model=CycleList,
    responses=problems(422),
    dependencies=guard(VIEWER, anywhere=True),
)
async def list_cycles(services: Using, me: Me, page: Page, kind: CycleKind | None = None) -> Listed:
    """List the cycles of the last 30 days, newest first, with the sums over the companies that the caller may see."""
    return await services.overview.cycles(me.companies, kind.value if kind else None, page)


@router.get(
    "/cycles/{cycle_id}",
    summary="Look at a poll cycle",
    response_model=Cycle,
    responses=problems(404, 422),
    dependencies=guard(VIEWER, anywhere=True),
)
async def get_cycle(services: Using, me: Me, cycle_id: CycleId) -> dict[str, Any]:
    """Return one cycle with its sums over the companies that the caller may see."""
    return await services.overview.cycle(me.companies, cycle_id)


@router.get(
    "/companies/{company_id}/runs",
    summary="List polls",
    response_model=RunList,
    responses=problems(404, 422),
    dependencies=guard(VIEWER),
)
async def list_runs(
    services: Using,
    company_id: CompanyId,
    page: Page,
    integration_id: Annotated[str | None, Query(max_length=80, pattern=ID)] = None,
    outcome: Outcome | None = None,
) -> Listed:
    """List the polls of a company's stores that changed or failed something, newest first."""
    return await services.overview.runs(company_id, integration_id, outcome.value if outcome else None, page)


@router.get(
    "/companies/{company_id}/integrations/{integration_id}/runs",
    summary="List one store's polls",
    response_model=RunList,
    responses=problems(404, 422),
    dependencies=guard(VIEWER),
)
async def list_runs_of_integration(
    services: Using,
    company_id: CompanyId,
    integration_id: IntegrationId,
    page: Page,
    outcome: Outcome | None = None,
) -> Listed:
    """List one store's polls that changed or failed something, newest first."""
    await services.integrations.get(company_id, integration_id)
    return await services.overview.runs(company_id, integration_id, outcome.value if outcome else None, page)
