"""Destinations: the partners' addresses, their signing secrets, and what each takes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

from backend.domain.figures import DestinationStatus
from backend.routers.deps import ID, CompanyId, DestinationId, Page, Using
from backend.routers.guard import OPERATOR, VIEWER, guard
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Next, Storable
from backend.services.destinations import (
    Destination,
    DestinationChanges,
    DestinationDraft,
    SignedDestination,
)
from backend.services.drafts import Draft
from backend.services.pages import Page as Listed

router = APIRouter(prefix="/api/v1/companies/{company_id}/destinations", tags=["destinations"])

PARTNER: dict[str, Any] = {
    "agent_id": "5f0c9a52",
    "name": "partner",
    "url": "https://api.partner.example/hooks/recovery",
    "max_carts_per_payload": 100,
    "include_uncontactable": False,
    "include_opted_out": False,
}
SHOWN_ONCE = "The signing secret, only if it was made here; it is never shown again."


class NewDestination(Storable, DestinationDraft):
    """A partner's address. Without a `secret` (whsec_...) one is made and shown once."""

    model_config = ConfigDict(json_schema_extra={"example": PARTNER})


class DestinationChange(Storable, DestinationChanges):
    """What to change of a destination; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"max_carts_per_payload": 50}})


class NewSecret(Storable, Draft):
    """A new signing secret. With `keep_old` messages carry the old ones' signatures too, until they are dropped."""

    model_config = ConfigDict(json_schema_extra={"example": {"keep_old": True}})

    secret: str | None = Field(None, max_length=200, repr=False, description="whsec_...; left out: one is made.")
    keep_old: bool = True


class DestinationAnswer(Answer):
    """A partner's address; of its secrets only the ends are shown, newest first."""

    id: str
    agent_id: str
    name: str = Field(examples=[PARTNER["name"]])
    url: str = Field(examples=[PARTNER["url"]])
    secret_hints: list[str] = Field(examples=[["whsec_…9f3c"]])
    status: str = Field(description="active, disabled (what is owed waits) or inactive (removed).", examples=["active"])
    status_reason: str | None
    max_carts_per_payload: int = Field(examples=[100])
    include_uncontactable: bool = Field(description="Carts without e-mail and phone are handed off too.")
    include_opted_out: bool = Field(description="Carts of shoppers who refuse contact are handed off too.")
    failures: int = Field(description="Failed attempts in a row.")
    held_until: datetime | None = Field(description="Left alone until then, after failures in a row.")
    last_error: str | None
    last_error_at: datetime | None
    last_success_at: datetime | None
    created_at: datetime
    updated_at: datetime


class DestinationList(Answer):
    """One page of destinations."""

    items: list[DestinationAnswer]
    next: Next


class SignedAnswer(Answer):
    """A destination after its secret was set."""

    destination: DestinationAnswer
    secret: str | None = Field(description=SHOWN_ONCE, examples=["whsec_..."])


@router.get(
    "",
    summary="List destinations",
    response_model=DestinationList,
    responses=problems(404, 422),
    dependencies=guard(VIEWER),
)
async def list_destinations(
    services: Using,
    company_id: CompanyId,
    page: Page,
    status: DestinationStatus | None = None,
    agent_id: Annotated[str | None, Query(max_length=80, pattern=ID)] = None,
) -> Listed[Destination]:
    """List a company's destinations, newest first."""
    return await services.destinations.list(
        company_id, status=status, agent_id=agent_id, limit=page.limit, after=page.after
    )


@router.post(
    "",
    status_code=201,
    summary="Add a destination",
    response_model=SignedAnswer,
    responses=problems(404, 409, 413, 422),
    dependencies=guard(OPERATOR),
)
async def create_destination(services: Using, company_id: CompanyId, destination: NewDestination) -> SignedDestination:
    """Add a partner's address. Its name is its own within the agent."""
    return await services.destinations.create(company_id, destination)


@router.get(
    "/{destination_id}",
    summary="Look at a destination",
    response_model=DestinationAnswer,
    responses=problems(404, 422),
    dependencies=guard(VIEWER),
)
async def get_destination(services: Using, company_id: CompanyId, destination_id: DestinationId) -> Destination:
    """Return one destination."""
    return await services.destinations.get(company_id, destination_id)


@router.patch(
    "/{destination_id}",
    summary="Change a destination",
    response_model=DestinationAnswer,
    responses=problems(404, 409, 413, 422),
    dependencies=guard(OPERATOR),
)
async def change_destination(
    services: Using, company_id: CompanyId, destination_id: DestinationId, changes: DestinationChange
) -> Destination:
    """Change what is given. A new address, or the status active, begins with no failures and nothing held back."""
    return await services.destinations.change(company_id, destination_id, changes)


@router.put(
    "/{destination_id}/secret",
    summary="Rotate the secret",
    response_model=SignedAnswer,
    responses=problems(404, 413, 422),
    dependencies=guard(OPERATOR),
)
async def rotate_secret(
    services: Using, company_id: CompanyId, destination_id: DestinationId, new: NewSecret
) -> SignedDestination:
    """Sign with a new secret, given or made here; the old ones sign along unless `keep_old` is false."""
    return await services.destinations.rotate_secret(company_id, destination_id, new.secret, keep_old=new.keep_old)


@router.post(
    "/{destination_id}/drop-old-secrets",
    summary="Drop old secrets",
    response_model=DestinationAnswer,
    responses=problems(404, 422),
    dependencies=guard(OPERATOR),
)
async def drop_old_secrets(services: Using, company_id: CompanyId, destination_id: DestinationId) -> Destination:
    """Sign with the newest secret only, once the partner has changed over."""
    return await services.destinations.drop_old_secrets(company_id, destination_id)


@router.delete(
    "/{destination_id}",
    status_code=204,
    summary="Remove a destination",
    responses=problems(404, 422),
    dependencies=guard(OPERATOR),
)
async def remove_destination(services: Using, company_id: CompanyId, destination_id: DestinationId) -> None:
    """Delete a destination that nothing was decided for; one with deliveries becomes inactive.

    Nothing new goes to an inactive destination, and its deliveries stay to be looked at.
    """
    await services.destinations.remove(company_id, destination_id)
