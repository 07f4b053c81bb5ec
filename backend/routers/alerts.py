"""Alerts: what somebody should look at, or should have."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from backend.domain.health import Kind
from backend.routers.deps import CompanyId, Page, Using
from backend.routers.guard import VIEWER, Me, guard
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Next
from backend.services.overview import Listed

router = APIRouter(prefix="/api/v1", tags=["health"])


class State(StrEnum):
    """Whether an alert still holds."""

    OPEN = "open"
    CLOSED = "closed"


class Alert(Answer):
    """One thing that is or was wrong with one store or destination."""

    id: str
    company_id: str
    company: str = Field(examples=["Acme"])
    subject: str = Field(description="integration or destination.", examples=["integration"])
    subject_id: str = Field(description="Which one.")
    kind: Kind = Field(examples=["not_advancing"])
    words: str = Field(description="What is wrong, and what to do.")
    opened_at: datetime
    seen_at: datetime = Field(description="When it was last seen to hold.")
    closed_at: datetime | None
    is_open: bool


class AlertList(Answer):
    """One page of alerts."""

    items: list[Alert]
    next: Next


Wanted = Annotated[State | None, Query(description="open or closed ones only.")]


def _is_open(state: State | None) -> bool | None:
    return None if state is None else state is State.OPEN


@router.get(
    "/alerts",
    summary="List alerts",
    response_model=AlertList,
    responses=problems(422),
    dependencies=guard(VIEWER, anywhere=True),
)
async def list_alerts(services: Using, me: Me, page: Page, state: Wanted = None) -> Listed:
    """List the alerts of the companies that the caller may see, newest first. Closed ones are kept for 90 days."""
    return await services.alerts.alerts(me.companies, _is_open(state), page)


@router.get(
    "/companies/{company_id}/alerts",
    summary="List a company's alerts",
    response_model=AlertList,
    responses=problems(404, 422),
    dependencies=guard(VIEWER),
)
async def list_alerts_of_company(services: Using, company_id: CompanyId, page: Page, state: Wanted = None) -> Listed:
    """List the alerts of one company, newest first."""
    return await services.alerts.alerts_of(company_id, _is_open(state), page)
