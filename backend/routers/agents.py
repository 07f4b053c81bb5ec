"""Agents: what a company runs. An agent owns stores and destinations, and their figures."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from backend.domain.figures import AgentStatus
from backend.routers.deps import AgentId, CompanyId, Page, Using
from backend.routers.guard import OPERATOR, VIEWER, guard
from backend.routers.problems import problems
from backend.routers.schemas import Answer, Next, Storable
from backend.services.agent_integrations import Agent, AgentChanges, AgentDraft
from backend.services.pages import Page as Listed

router = APIRouter(prefix="/api/v1/companies/{company_id}/agents", tags=["agents"])

FIGURES: dict[str, Any] = {
    "name": "Recovery agent",
    "template_slug": "ecommerce-abandoned-cart",
    "status": "active",
    "abandonment_threshold_minutes": 30,
    "recovery_horizon_days": 30,
    "attribution_window_days": 7,
}


class NewAgent(Storable, AgentDraft):
    """An agent to be made; only the name must be given."""

    model_config = ConfigDict(json_schema_extra={"example": FIGURES})


class AgentChange(Storable, AgentChanges):
    """What to change of an agent; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"abandonment_threshold_minutes": 60}})


class AgentIntegration(Answer):
    """A store of an agent. `poll_interval_seconds` null: it follows the polling interval."""

    id: str
    name: str = Field(examples=["acme-main"])
    platform: str = Field(examples=["shopify"])
    status: str = Field(examples=["active"])
    poll_interval_seconds: int | None


class AgentAnswer(Answer):
    """An agent with the stores it serves."""

    id: str
    name: str = Field(examples=[FIGURES["name"]])
    template_slug: str = Field(examples=[FIGURES["template_slug"]])
    status: str = Field(examples=["active"])
    abandonment_threshold_minutes: int = Field(examples=[30])
    recovery_horizon_days: int = Field(examples=[30])
    attribution_window_days: int = Field(examples=[7])
    is_polled: bool = Field(description="Active, and made from the template that this installation polls.")
    integrations: list[AgentIntegration]
    created_at: datetime
    updated_at: datetime


class AgentList(Answer):
    """One page of agents."""

    items: list[AgentAnswer]
    next: Next


@router.get(
    "", summary="List agents", response_model=AgentList, responses=problems(404, 422), dependencies=guard(VIEWER)
)
async def list_agents(
    services: Using, company_id: CompanyId, page: Page, status: AgentStatus | None = None
) -> Listed[Agent]:
    """List a company's agents, newest first; `status=active` asks which are active."""
    return await services.agents.list(company_id, status=status, limit=page.limit, after=page.after)


@router.post(
    "",
    status_code=201,
    summary="Add an agent",
    response_model=AgentAnswer,
    responses=problems(404, 409, 413, 422),
    dependencies=guard(OPERATOR),
)
async def create_agent(services: Using, company_id: CompanyId, agent: NewAgent) -> Agent:
    """Make an agent. Its name is its own in the company."""
    return await services.agents.create(company_id, agent)


@router.get(
    "/{agent_id}",
    summary="Look at an agent",
    response_model=AgentAnswer,
    responses=problems(404, 422),
    dependencies=guard(VIEWER),
)
async def get_agent(services: Using, company_id: CompanyId, agent_id: AgentId) -> Agent:
    """Return one agent with its stores."""
    return await services.agents.get(company_id, agent_id)


@router.patch(
    "/{agent_id}",
    summary="Change an agent",
    response_model=AgentAnswer,
    responses=problems(404, 409, 413, 422),
    dependencies=guard(OPERATOR),
)
async def change_agent(services: Using, company_id: CompanyId, agent_id: AgentId, changes: AgentChange) -> Agent:
    """Change what is given. New figures hold for open carts at once; what was handed off stays handed off."""
    return await services.agents.change(company_id, agent_id, changes)


@router.delete(
    "/{agent_id}",
    status_code=204,
    summary="Remove an agent",
    responses=problems(404, 422),
    dependencies=guard(OPERATOR),
)
async def remove_agent(services: Using, company_id: CompanyId, agent_id: AgentId) -> None:
    """Delete an agent without stores and destinations; one that has any becomes inactive.

    Of an inactive agent no store is polled, and its history stays to be looked at.
    """
    await services.agents.remove(company_id, agent_id)
