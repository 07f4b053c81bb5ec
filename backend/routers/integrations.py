"""Integrations: a company's stores. Connect, test, pause, resume, rotate credentials, remove."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field, model_validator

from backend.domain.figures import IntegrationStatus
from backend.routers.deps import ID, CompanyId, IntegrationId, Page, Using
from backend.routers.guard import OPERATOR, VIEWER, guard
from backend.routers.problems import problems
from backend.routers.remedies import Misplaced
from backend.routers.schemas import Answer, Next, Storable
from backend.services.connection_reports import ConnectionReport
from backend.services.drafts import Draft
from backend.services.integrations import Integration, IntegrationChanges, IntegrationDraft
from backend.services.pages import Page as Listed

router = APIRouter(prefix="/api/v1/companies/{company_id}/integrations", tags=["integrations"])

SHOPIFY: dict[str, Any] = {
    "agent_id": "5f0c9a52",
    "name": "acme-main",
    "platform": "shopify",
    "settings": {"shop": "acme.myshopify.com", "api_version": "2026-10"},
    "credentials": {"access_token": "shpat_..."},
    "poll_interval_seconds": 300,
    "initial_lookback_days": 3,
}


# Keys that any platform takes inside these two fields; only the services may ask the platforms themselves.
INSIDE: dict[str, frozenset[str]] = {
    "settings": frozenset({"allow_http", "api_version", "base_url", "options", "shop", "store_hash"}),
    "credentials": frozenset(
        {
            "access_token",
            "access_token_secret",
            "consumer_key",
            "consumer_secret",
            "key",
            "password",
            "secret",
            "token",
            "username",
        }
    ),
}


class Nested(Storable):
    """Base of a body with `settings` or `credentials`: says of a key beside them that it belongs inside."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_flat(cls, value: Any) -> Any:
        given = set(value) - set(cls.model_fields) if isinstance(value, dict) else set()
        for part, names in INSIDE.items():
            flat = sorted(given & names)
            if flat and part in cls.model_fields:
                remedy = f'put it inside {part}: {{"{part}": {{"{flat[0]}": ...}}}}'
                raise Misplaced(f"{flat[0]} belongs under {part}", (flat[0],), remedy)
        return value


class NewIntegration(Nested, IntegrationDraft):
    """A store to be connected: shopify, woocommerce, custom or mock, with the settings and credentials it takes."""

    model_config = ConfigDict(json_schema_extra={"example": SHOPIFY})


class IntegrationChange(Nested, IntegrationChanges):
    """What to change. `settings` are laid over the stored ones key by key; a null key goes away."""

    model_config = ConfigDict(json_schema_extra={"example": {"poll_interval_seconds": 600}})


class NewCredentials(Nested, Draft):
    """Credentials to take the place of the stored ones. They are sealed, and never shown again."""

    model_config = ConfigDict(json_schema_extra={"example": {"credentials": SHOPIFY["credentials"]}})

    credentials: dict[str, Any] = Field(repr=False)


class IntegrationAnswer(Answer):
    """A connected store; of its credentials only the names are shown."""

    id: str
    agent_id: str
    name: str = Field(examples=["acme-main"])
    platform: str = Field(
        description="As it was connected: a mock store says mock, whatever platform it plays.", examples=["shopify"]
    )
    store_id: str = Field(examples=["acme.myshopify.com"])
    status: str = Field(description="active, paused or inactive (removed).", examples=["active"])
    pause_reason: str | None = Field(description="credentials_rejected is still probed.")
    settings: dict[str, Any] = Field(examples=[SHOPIFY["settings"]])
    has_credentials: bool
    credential_names: list[str] = Field(examples=[["access_token"]])
    poll_interval_seconds: int | None
    initial_lookback_days: int = Field(examples=[3])
    watermark: datetime | None = Field(description="Everything the store changed before this was read.")
    next_poll_at: datetime
    waiting_until: datetime | None
    waiting_for: str | None
    last_error_code: str | None
    last_error: str | None
    last_remedy: str | None
    last_error_at: datetime | None
    last_polled_at: datetime | None
    last_success_at: datetime | None
    notices: list[str] | None = Field(description="What is worth knowing of the store, in stable words.")
    created_at: datetime
    updated_at: datetime


class IntegrationList(Answer):
    """One page of integrations."""

    items: list[IntegrationAnswer]
    next: Next


class FindingAnswer(Answer):
    """One thing that a connection test looked at."""

    name: str = Field(examples=["credentials"])
    ok: bool
    detail: str
    remedy: str = Field(description="What to do when it is not ok.")


class FirstPollAnswer(Answer):
    """How many carts a first poll that looks back so far would hand off."""

    days: int = Field(examples=[3])
    carts: int = Field(examples=[12])
    at_least: bool = Field(description="The store has more than was read for this test.")
    is_chosen: bool


class ConnectionAnswer(Answer):
    """What a connection test found. It changes nothing, in the store or here."""

    ok: bool
    platform: str = Field(examples=["shopify"])
    store_id: str | None
    findings: list[FindingAnswer]
    first_poll: list[FirstPollAnswer] = Field(description="Empty when the store could not be read.")
    pages: int
    checked_at: datetime


@router.get(
    "", summary="List stores", response_model=IntegrationList, responses=problems(404, 422), dependencies=guard(VIEWER)
)
async def list_integrations(
    services: Using,
    company_id: CompanyId,
    page: Page,
    status: IntegrationStatus | None = None,
    agent_id: Annotated[str | None, Query(max_length=80, pattern=ID)] = None,
) -> Listed[Integration]:
    """List a company's stores, newest first."""
    return await services.integrations.list(
        company_id, status=status, agent_id=agent_id, limit=page.limit, after=page.after
    )


@router.post(
    "",
    status_code=201,
    summary="Connect a store",
    response_model=IntegrationAnswer,
    responses=problems(404, 409, 413, 422),
    dependencies=guard(OPERATOR),
)
async def create_integration(services: Using, company_id: CompanyId, integration: NewIntegration) -> Integration:
    """Connect a store; it is polled at the next beat. One store is connected once in a company."""
    return await services.integrations.create(company_id, integration)


@router.post(
    "/verify",
    summary="Test a store first",
    response_model=ConnectionAnswer,
    responses=problems(404, 413, 422),
    dependencies=guard(OPERATOR),
)
async def verify_draft(services: Using, company_id: CompanyId, integration: NewIntegration) -> ConnectionReport:
    """Test a connection before it is saved: what is wrong, what to do, and what a first poll would hand off."""
    return await services.integrations.verify_draft(company_id, integration)


@router.get(
    "/{integration_id}",
    summary="Look at a store",
    response_model=IntegrationAnswer,
    responses=problems(404, 422),
    dependencies=guard(VIEWER),
)
async def get_integration(services: Using, company_id: CompanyId, integration_id: IntegrationId) -> Integration:
    """Return one store."""
    return await services.integrations.get(company_id, integration_id)


@router.patch(
    "/{integration_id}",
    summary="Change a store",
    response_model=IntegrationAnswer,
    responses=problems(404, 409, 413, 422),
    dependencies=guard(OPERATOR),
)
async def change_integration(
    services: Using, company_id: CompanyId, integration_id: IntegrationId, changes: IntegrationChange
) -> Integration:
    """Change what is given. An integration that has carts cannot be pointed at another store."""
    return await services.integrations.change(company_id, integration_id, changes)


@router.put(
    "/{integration_id}/credentials",
    summary="Rotate credentials",
    response_model=IntegrationAnswer,
    responses=problems(404, 413, 422),
    dependencies=guard(OPERATOR),
)
async def rotate_credentials(
    services: Using, company_id: CompanyId, integration_id: IntegrationId, new: NewCredentials
) -> Integration:
    """Save new credentials and try them at once; what the old ones were refused for is forgotten."""
    return await services.integrations.rotate_credentials(company_id, integration_id, new.credentials)


@router.post(
    "/{integration_id}/verify",
    summary="Test a store",
    response_model=ConnectionAnswer,
    responses=problems(404, 422),
    dependencies=guard(OPERATOR),
)
async def verify_integration(services: Using, company_id: CompanyId, integration_id: IntegrationId) -> ConnectionReport:
    """Test the connection as it is stored. Any fault of the store is a finding with its remedy."""
    return await services.integrations.verify(company_id, integration_id)


@router.post(
    "/{integration_id}/pause",
    summary="Pause a store",
    response_model=IntegrationAnswer,
    responses=problems(404, 409, 422),
    dependencies=guard(OPERATOR),
)
async def pause_integration(services: Using, company_id: CompanyId, integration_id: IntegrationId) -> Integration:
    """Stop polling this store until it is resumed."""
    return await services.integrations.pause(company_id, integration_id)


@router.post(
    "/{integration_id}/resume",
    summary="Resume a store",
    response_model=IntegrationAnswer,
    responses=problems(404, 409, 422),
    dependencies=guard(OPERATOR),
)
async def resume_integration(services: Using, company_id: CompanyId, integration_id: IntegrationId) -> Integration:
    """Poll this store again, at once."""
    return await services.integrations.resume(company_id, integration_id)


@router.delete(
    "/{integration_id}",
    status_code=204,
    summary="Remove a store",
    responses=problems(404, 422),
    dependencies=guard(OPERATOR),
)
async def remove_integration(services: Using, company_id: CompanyId, integration_id: IntegrationId) -> None:
    """Delete a store that never brought anything; one that did becomes inactive, as its carts name it.

    An inactive store is not polled, and its carts, deliveries and polls stay to be looked at. It is still listed, and
    becomes active again by a change of its `status`.
    """
    await services.integrations.remove(company_id, integration_id)
