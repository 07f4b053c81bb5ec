"""API keys of a company, and those of the whole installation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from backend.domain.access import Role
from backend.routers.deps import CompanyId, KeyId, Page, Using
from backend.routers.guard import OWNER, Me, guard
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Next, Storable
from backend.services.api_keys import ApiKey, ApiKeyDraft, MadeKey
from backend.services.pages import Page as Listed

router = APIRouter(prefix="/api/v1", tags=["keys"])
OF_COMPANY = "/companies/{company_id}/keys"
EXAMPLE: dict[str, Any] = {"name": "nightly export", "role": "analyst", "scopes": ["carts:read"], "expires_in_days": 90}


class NewKey(Storable, ApiKeyDraft):
    """A key to be made."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})


class KeyAnswer(Answer):
    """A key, by what may be shown of it."""

    id: str
    name: str = Field(examples=[EXAMPLE["name"]])
    shown: str = Field(description="The key's first characters.", examples=["crk_live_4fQz81Lk"])
    role: Role
    company_id: str | None = Field(description="Null: all companies, and the installation itself.")
    scopes: list[str] | None = Field(description="What it is narrowed to; null: all that its role allows.")
    state: str = Field(description="live, expired or revoked.", examples=["live"])
    replaces: str | None = Field(description="The key that this one takes the place of.")
    created_by: str = Field(examples=["local:local"])
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class MadeKeyAnswer(Answer):
    """A key that was just made: `key` is shown this once."""

    api_key: KeyAnswer
    key: str = Field(examples=["crk_live_..."])


class KeyList(Answer):
    """One page of keys."""

    items: list[KeyAnswer]
    next: Next


@router.get(
    "/keys",
    summary="List the installation's keys",
    response_model=KeyList,
    responses=problems(),
    dependencies=guard(OWNER),
)
async def list_keys(services: Using, page: Page) -> Listed[ApiKey]:
    """List the keys for all companies, newest first, live or not."""
    return await services.keys.list(None, limit=page.limit, after=page.after)


@router.post(
    "/keys",
    status_code=201,
    summary="Make a key for all companies",
    response_model=MadeKeyAnswer,
    responses=problems(413),
    dependencies=guard(OWNER),
)
async def create_key(services: Using, me: Me, key: NewKey) -> MadeKey:
    """Make a key that reaches every company and the installation itself, as far as its role goes."""
    return await services.keys.create(None, key, me)


@router.post(
    "/keys/{key_id}/rotate",
    status_code=201,
    summary="Rotate a key",
    response_model=MadeKeyAnswer,
    responses=problems(404, 409),
    dependencies=guard(OWNER),
)
async def rotate_key(services: Using, me: Me, key_id: KeyId) -> MadeKey:
    """Make a key with the same rights; the old one works for another day, so that nothing stops meanwhile."""
    return await services.keys.rotate(None, key_id, me)


@router.delete(
    "/keys/{key_id}",
    summary="Revoke a key",
    response_model=KeyAnswer,
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def revoke_key(services: Using, key_id: KeyId) -> ApiKey:
    """Refuse a key from its next request on. It stays in the list."""
    return await services.keys.revoke(None, key_id)


@router.get(
    OF_COMPANY,
    summary="List a company's keys",
    response_model=KeyList,
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def list_keys_of_company(services: Using, company_id: CompanyId, page: Page) -> Listed[ApiKey]:
    """List the keys of one company, newest first, live or not."""
    return await services.keys.list(company_id, limit=page.limit, after=page.after)


@router.post(
    OF_COMPANY,
    status_code=201,
    summary="Make a key for a company",
    response_model=MadeKeyAnswer,
    responses=problems(404, 413),
    dependencies=guard(OWNER),
)
async def create_key_of_company(services: Using, me: Me, company_id: CompanyId, key: NewKey) -> MadeKey:
    """Make a key that reaches this company and no other."""
    return await services.keys.create(company_id, key, me)


@router.post(
    f"{OF_COMPANY}/{{key_id}}/rotate",
    status_code=201,
    summary="Rotate a company's key",
    response_model=MadeKeyAnswer,
    responses=problems(404, 409),
    dependencies=guard(OWNER),
)
async def rotate_key_of_company(services: Using, me: Me, company_id: CompanyId, key_id: KeyId) -> MadeKey:
    """Make a key with the same rights; the old one works for another day, so that nothing stops meanwhile."""
    return await services.keys.rotate(company_id, key_id, me)


@router.delete(
    f"{OF_COMPANY}/{{key_id}}",
    summary="Revoke a company's key",
    response_model=KeyAnswer,
    responses=problems(404),
    dependencies=guard(OWNER),
)
async def revoke_key_of_company(services: Using, company_id: CompanyId, key_id: KeyId) -> ApiKey:
    """Refuse a key from its next request on. It stays in the list."""
    return await services.keys.revoke(company_id, key_id)
