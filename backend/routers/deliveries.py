"""A company's deliveries: the list, and one with its attempts and carts."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from backend.routers.carts import Decided
from backend.routers.deps import ID, CompanyId, DeliveryId, Page, Using
from backend.routers.guard import ANALYST, VIEWER, guard
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Minor, Next
from backend.services.overview import Listed
from backend.store.listings import DeliveryFilter

router = APIRouter(prefix="/api/v1/companies/{company_id}/deliveries", tags=["deliveries"])


class DeliveryState(StrEnum):
    """Where a delivery stands: waiting for an attempt, accepted, given up after ten, or overtaken by events."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    SUPERSEDED = "superseded"


class DeliverySummary(Answer):
    """One message to one destination."""

    id: str
    company_id: str
    destination_id: str
    destination: str = Field(examples=["partner"])
    agent_id: str
    agent: str
    integration_id: str
    integration: str = Field(examples=["acme-main"])
    platform: str = Field(examples=["shopify"])
    type: str = Field(examples=["cart.abandoned"])
    webhook_id: str = Field(description="The id under which the receiver dedupes.", examples=["msg_0a1b"])
    state: DeliveryState
    in_words: str = Field(examples=["Attempt 3 in 4 min: the partner answered HTTP 503 Service Unavailable."])
    cart_count: int = Field(examples=[3])
    attempts: int = Field(description="Attempts begun, of ten at most.", examples=[2])
    first_attempt_at: datetime | None
    next_attempt_at: datetime | None
    last_outcome: str | None
    last_status: int | None = Field(description="HTTP status of the last answer.")
    last_error: str | None
    finished_at: datetime | None
    superseded_by: str | None
    cycle_id: str | None
    created_at: datetime


class Attempt(Answer):
    """One try at a delivery."""

    id: str
    number: int
    started_at: datetime
    elapsed_ms: int
    outcome: str
    in_words: str
    status: int | None
    error: str | None
    answer: str | None = Field(description="The first 2,000 characters of what the partner answered.")
    next_attempt_at: datetime | None


class DeliveredCart(Decided):
    """A cart in a delivery, with the gate's last word on it."""

    cart_id: str
    source_cart_id: str
    cart_state: str
    currency: str
    total: float
    total_minor: Minor


class DeliveryDetail(DeliverySummary):
    """A delivery with its attempts and carts."""

    attempt_list: list[Attempt]
    carts: list[DeliveredCart]


class DeliveryList(Answer):
    """One page of deliveries."""

    items: list[DeliverySummary]
    next: Next


def delivery_filter(
    state: DeliveryState | None = None,
    destination_id: Annotated[str | None, Query(max_length=80, pattern=ID)] = None,
    integration_id: Annotated[str | None, Query(max_length=80, pattern=ID)] = None,
) -> DeliveryFilter:
    """Return which deliveries the caller asks for."""
    return DeliveryFilter(state.value if state else None, destination_id, integration_id)


@router.get(
    "", summary="List deliveries", response_model=DeliveryList, responses=problems(404, 422), dependencies=guard(VIEWER)
)
async def list_deliveries(
    services: Using, company_id: CompanyId, wanted: Annotated[DeliveryFilter, Depends(delivery_filter)], page: Page
) -> Listed:
    """List a company's deliveries, newest first."""
    return await services.overview.deliveries_of(company_id, wanted, page)


@router.get(
    "/{delivery_id}",
    summary="Look at a delivery",
    response_model=DeliveryDetail,
    responses=problems(404, 422),
    dependencies=guard(ANALYST),
)
async def get_delivery(services: Using, company_id: CompanyId, delivery_id: DeliveryId) -> dict[str, Any]:
    """Return a delivery with each attempt, and the carts in it with the rules that let them through."""
    return await services.overview.delivery(company_id, delivery_id)
