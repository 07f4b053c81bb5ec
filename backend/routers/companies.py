"""Companies: whose carts these are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from backend.domain.figures import CompanyStatus
from backend.errors import NotAllowed
from backend.routers.deps import CompanyId, Page, Using
from backend.routers.guard import OPERATOR, OWNER, VIEWER, Me, guard
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Next, Storable
from backend.services.companies import Company, CompanyChanges, CompanyDraft
from backend.services.pages import Page as Listed

router = APIRouter(prefix="/api/v1/companies", tags=["companies"])

# Whether a name is free tells that another company has it, and weight is a share of what all have.
SHARED = frozenset({"name", "status", "weight"})
CARD: dict[str, Any] = {
    "name": "Acme",
    "website": "https://acme.example",
    "support_email": "help@acme.example",
    "phone": "+1 555 0100",
    "country": "US",
}


class NewCompany(Storable, CompanyDraft):
    """A company to be made. Partners are told all of it as it stands, but not its status and weight."""

    model_config = ConfigDict(json_schema_extra={"example": CARD})


class CompanyChange(Storable, CompanyChanges):
    """What to change of a company; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"website": "https://acme.example", "country": "US"}})


class CompanyAnswer(Answer):
    """A company. While it is inactive none of its agents is polled."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["9f86d081884c7d659a2feaa0c55ad015"])
    name: str = Field(examples=[CARD["name"]])
    website: str | None = Field(examples=[CARD["website"]])
    support_email: str | None = Field(examples=[CARD["support_email"]])
    phone: str | None = Field(examples=[CARD["phone"]])
    country: str | None = Field(examples=[CARD["country"]])
    status: str = Field(examples=["active"])
    weight: int = Field(examples=[1], description="Its share of the work when there is too much.")
    created_at: datetime
    updated_at: datetime


class CompanyList(Answer):
    """One page of companies."""

    items: list[CompanyAnswer]
    next: Next


@router.get(
    "",
    summary="List companies",
    response_model=CompanyList,
    responses=problems(422),
    dependencies=guard(VIEWER, anywhere=True),
)
async def list_companies(services: Using, me: Me, page: Page, status: CompanyStatus | None = None) -> Listed[Company]:
    """List the companies that the caller may see, newest first."""
    return await services.companies.list(status=status, only=me.companies, limit=page.limit, after=page.after)


@router.post(
    "",
    status_code=201,
    summary="Add a company",
    response_model=CompanyAnswer,
    responses=problems(409, 413, 422),
    dependencies=guard(OPERATOR),
)
async def create_company(services: Using, company: NewCompany) -> Company:
    """Make a company and its first data key. Its name is its own in this installation."""
    return await services.companies.create(company)


@router.get(
    "/{company_id}",
    summary="Look at a company",
    response_model=CompanyAnswer,
    responses=problems(404, 422),
    dependencies=guard(VIEWER),
)
async def get_company(services: Using, company_id: CompanyId) -> Company:
    """Return one company."""
    return await services.companies.get(company_id)


@router.patch(
    "/{company_id}",
    summary="Change a company",
    response_model=CompanyAnswer,
    responses=problems(404, 409, 413, 422),
    dependencies=guard(OPERATOR),
)
async def change_company(services: Using, me: Me, company_id: CompanyId, changes: CompanyChange) -> Company:
    """Change what is given; the rest stays as it is. Null empties a field that may be empty.

    Name, status and weight concern the other companies too: they need the role in all companies.
    """
    shared = sorted(SHARED & changes.model_fields_set)
    if shared and not me.may(OPERATOR, None):
        raise NotAllowed(f"to change {' and '.join(shared)} needs the role operator in all companies")
    return await services.companies.change(company_id, changes)


@router.delete(
    "/{company_id}",
    status_code=204,
    summary="Remove a company",
    responses=problems(404, 422),
    dependencies=guard(OWNER),
)
async def remove_company(services: Using, company_id: CompanyId) -> None:
    """Delete a company without agents; one that has agents becomes inactive, as its carts and deliveries name it.

    Of an inactive company no store is polled, and its history stays to be looked at.
    """
    await services.companies.remove(company_id)
