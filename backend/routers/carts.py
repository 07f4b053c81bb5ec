"""A company's carts: the list, and one with what happened to it and why it was handed off or not."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from backend.domain.lifecycle import CartState
from backend.routers.deps import ID, CartId, CompanyId, Page, Using
from backend.routers.guard import ANALYST, VIEWER, guard
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Minor, Moment, Next
from backend.services.overview import Listed
from backend.store.listings import CartFilter

router = APIRouter(prefix="/api/v1/companies/{company_id}/carts", tags=["carts"])


class CartSummary(Answer):
    """A cart as a list shows it: the shopper's contact masked, and never the link back to the cart."""

    id: str = Field(examples=["9f86d081884c7d659a2feaa0c55ad015"])
    company_id: str
    integration_id: str
    integration: str = Field(description="The store's name.", examples=["acme-main"])
    platform: str = Field(examples=["shopify"])
    agent_id: str
    agent: str = Field(examples=["Recovery agent"])
    source_cart_id: str = Field(description="The cart's id in its store.", examples=["cart_123"])
    state: CartState
    episode: int = Field(description="How many times it was abandoned.", examples=[1])
    revision: str
    currency: str = Field(examples=["USD"])
    total: float = Field(examples=[159.99])
    total_minor: Minor
    item_count: int = Field(examples=[2])
    is_contactable: bool
    email_masked: str | None = Field(examples=["a•••@example.com"])
    phone_masked: str | None = Field(examples=["•••42"])
    recovery_host: str | None = Field(description="Host of the link back to the cart.", examples=["acme.example"])
    is_mock: bool = Field(description="Made-up data of the mock platform.")
    is_test: bool = Field(description="The store marks it as a test.")
    exclusion: str | None = Field(description="Why it is no cart, when it is excluded.")
    order_ref: str | None
    last_activity_at: datetime
    abandoned_at: datetime | None
    completed_at: datetime | None
    contacted_at: datetime | None
    created_at: datetime
    updated_at: datetime


class CartCustomer(Answer):
    """The shopper, as far as the store knows them. Any field may be null."""

    id: str
    email: str | None
    phone: str | None
    first_name: str | None
    last_name: str | None
    locale: str | None
    country: str | None
    consent_email: str = Field(description="yes, no or unknown.", examples=["yes"])
    consent_sms: str = Field(description="yes, no or unknown.", examples=["unknown"])


class CartItem(Answer):
    """One line of a cart."""

    line_id: str
    product_id: str | None
    variant_id: str | None
    sku: str | None
    title: str = Field(examples=["Blue mug"])
    variant: str | None
    quantity: Decimal = Field(examples=["2"])
    unit_price: float
    unit_price_minor: Minor
    line_total: float
    line_total_minor: Minor


class CartEvent(Answer):
    """Something that happened to a cart; its content stays sealed."""

    seq: int
    type: str = Field(examples=["cart.abandoned"])
    episode: int
    occurred_at: datetime
    recorded_at: datetime
    source: str = Field(examples=["poll"])
    cycle_id: str | None


class Decided(Answer):
    """What the gate said, with each rule it asked."""

    event_type: str = Field(examples=["cart.abandoned"])
    episode: int
    event_id: str
    verdict: str = Field(description="allow, defer or deny.", examples=["allow"])
    rule: str | None = Field(description="The rule that objected.", examples=[None])
    trace: list[list[str]] = Field(examples=[[["bought", "pass"], ["threshold", "pass"]]])
    decided_at: datetime


class CartDecision(Decided):
    """The gate's decision on handing this cart to one destination."""

    destination_id: str
    destination: str
    delivery_id: str | None
    delivery_state: str | None


class CartDetail(CartSummary):
    """A cart with everything about it but the link back to it."""

    subtotal: float | None
    subtotal_minor: Minor
    discount: float | None
    discount_minor: Minor
    tax: float | None
    tax_minor: Minor
    coupons: list[str]
    source_created_at: datetime
    source_updated_at: datetime
    customer: CartCustomer | None
    items: list[CartItem]
    events: list[CartEvent] = Field(description="The newest 200, newest first.")
    decisions: list[CartDecision] = Field(description="The newest 200, newest first.")


class CartList(Answer):
    """One page of carts."""

    items: list[CartSummary]
    next: Next


def cart_filter(
    state: CartState | None = None,
    integration_id: Annotated[str | None, Query(max_length=80, pattern=ID)] = None,
    min_date: Annotated[Moment | None, Query(description="Last activity at or after this.")] = None,
    max_date: Annotated[Moment | None, Query(description="Last activity at or before this.")] = None,
    is_contactable: Annotated[bool | None, Query(description="Whether there is an e-mail or a phone.")] = None,
    search: Annotated[
        str | None, Query(max_length=200, pattern=r"^[^\x00]*$", description="Part of the cart's id in its store.")
    ] = None,
) -> CartFilter:
    """Return which carts the caller asks for."""
    return CartFilter(
        state=state.value if state else None,
        integration_id=integration_id,
        min_date=min_date,
        max_date=max_date,
        is_contactable=is_contactable,
        search=search or None,
    )


@router.get("", summary="List carts", response_model=CartList, responses=problems(404, 422), dependencies=guard(VIEWER))
async def list_carts(
    services: Using, company_id: CompanyId, wanted: Annotated[CartFilter, Depends(cart_filter)], page: Page
) -> Listed:
    """List a company's carts, most lately changed first."""
    return await services.overview.carts_of(company_id, wanted, page)


@router.get(
    "/{cart_id}",
    summary="Look at a cart",
    response_model=CartDetail,
    responses=problems(404, 422),
    dependencies=guard(ANALYST),
)
async def get_cart(services: Using, company_id: CompanyId, cart_id: CartId) -> dict[str, Any]:
    """Return a cart with its items, what happened to it, and the gate's decisions with the rules asked."""
    return await services.overview.cart(company_id, cart_id)
