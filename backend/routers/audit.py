"""The audit chains: who did what, in a company and to the installation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from backend.domain.audit import INSTALLATION
from backend.routers.deps import CompanyId, Page, Using
from backend.routers.guard import OWNER, guard
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Next
from backend.services.audit_trail import RecordPage

router = APIRouter(prefix="/api/v1", tags=["audit"])


class RecordAnswer(Answer):
    """One thing that somebody did. It holds no values and no person's name."""

    seq: int = Field(description="Its number in the chain, from 1 on.", examples=[17])
    at: datetime
    actor: str = Field(
        description="Who: a key, a person, the local user, a command or the service.", examples=["key:k3e1"]
    )
    action: str = Field(examples=["integration.paused"])
    subject: str = Field(description="The id of what it was done to.", examples=["i7d9"])
    details: dict[str, Any] = Field(examples=[{"fields": ["name"]}])


class RecordList(Answer):
    """One page of a chain."""

    items: list[RecordAnswer]
    next: Next


@router.get(
    "/audit",
    summary="List what was done to the installation",
    response_model=RecordList,
    responses=problems(),
    dependencies=guard(OWNER),
)
async def list_records(services: Using, page: Page) -> RecordPage:
    """List what concerned no single company, newest first: polling, holds, keys for all companies."""
    return await services.audit.records(INSTALLATION, limit=page.limit, after=page.after)


@router.get(
    "/companies/{company_id}/audit",
    summary="List what was done in a company",
    response_model=RecordList,
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def list_records_of_company(services: Using, company_id: CompanyId, page: Page) -> RecordPage:
    """List what was done in a company, newest first; of a removed company too."""
    return await services.audit.records(company_id, limit=page.limit, after=page.after)
