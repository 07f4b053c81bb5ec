"""Agents: which are active, what each serves, and what new figures mean for open carts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import insert, select

from backend.domain.ids import new_id
from backend.errors import BadInput, Conflict, NotFound
from backend.models import carts
from backend.services.agent_integrations import AgentChanges, AgentDraft, AgentIntegrationService
from tests.factories import make_agent, make_company, make_integration
from tests.worlds import World


@pytest.fixture
def agents(world: World) -> AgentIntegrationService:
    return AgentIntegrationService(world.database, world.clock, world.settings)


async def make_cart(world: World, company_id: str, agent_id: str, integration_id: str, state: str = "active") -> str:
    """Add a cart that is due in an hour."""
    cart_id, now = new_id(), world.clock.now()
    row = dict.fromkeys(("revision", "activity", "store_id", "source_cart_id"), "x") | {
        "company_id": company_id,
        "id": cart_id,
        "agent_id": agent_id,
        "integration_id": integration_id,
        "state": state,
        "episode": 0,
        "currency": "USD",
        "total": 10,
        "item_count": 1,
        "coupons": [],
        "is_test": False,
        "is_mock": False,
        "events": 1,
        "awaits_read": False,
        "next_check_at": now + timedelta(hours=1),
    }
    times = ("source_created_at", "source_updated_at", "last_activity_at", "created_at", "updated_at")
    async with world.database.transaction(company_id) as tx:
        await tx.execute(insert(carts), [row | dict.fromkeys(times, now)])
    return cart_id


async def test_an_agent_has_the_figures_of_the_house_unless_told(agents: AgentIntegrationService, world: World) -> None:
    made = await agents.create(await make_company(world), AgentDraft(name="Recovery"))
    figures = (made.template_slug, made.abandonment_threshold_minutes, made.recovery_horizon_days)
    assert figures == ("ecommerce-abandoned-cart", 30, 30)


async def test_an_agent_shows_the_integrations_it_serves(agents: AgentIntegrationService, world: World) -> None:
    company_id = await make_company(world)
    agent_id = await make_agent(world, company_id)
    await make_integration(world, company_id, agent_id, name="main", poll_interval_seconds=300)
    await make_integration(world, company_id, await make_agent(world, company_id, name="Other"), name="elsewhere")
    served = (await agents.get(company_id, agent_id)).integrations
    assert [(each.name, each.platform, each.poll_interval_seconds) for each in served] == [("main", "custom", 300)]


@pytest.mark.parametrize(
    ("fields", "is_polled"),
    [({}, True), ({"status": "inactive"}, False), ({"template_slug": "newsletter"}, False)],
)
async def test_which_agents_are_polled(
    agents: AgentIntegrationService, world: World, fields: dict[str, str], is_polled: bool
) -> None:
    company_id = await make_company(world)
    agent_id = await make_agent(world, company_id, **fields)
    assert (await agents.get(company_id, agent_id)).is_polled is is_polled


async def test_the_active_agents_of_a_company(agents: AgentIntegrationService, world: World) -> None:
    company_id = await make_company(world)
    active = await make_agent(world, company_id)
    await make_agent(world, company_id, name="Asleep", status="inactive")
    assert [item.id for item in (await agents.list(company_id, status="active")).items] == [active]


async def test_agents_of_another_company_are_not_shown(agents: AgentIntegrationService, world: World) -> None:
    ours, theirs = await make_company(world), await make_company(world, "Bolt")
    agent_id = await make_agent(world, theirs)
    assert (await agents.list(ours)).items == ()
    with pytest.raises(NotFound):
        await agents.get(ours, agent_id)


async def test_two_agents_of_a_company_have_two_names(agents: AgentIntegrationService, world: World) -> None:
    company_id = await make_company(world)
    await agents.create(company_id, AgentDraft(name="Recovery"))
    other = await agents.create(company_id, AgentDraft(name="Other"))
    with pytest.raises(Conflict, match="already an agent named Recovery"):
        await agents.create(company_id, AgentDraft(name="Recovery"))
    with pytest.raises(Conflict, match="already an agent named Recovery"):
        await agents.change(company_id, other.id, AgentChanges(name="Recovery"))


async def test_an_agent_needs_a_company(agents: AgentIntegrationService) -> None:
    with pytest.raises(NotFound):
        await agents.create("nobody", AgentDraft(name="Recovery"))


async def test_a_list_of_no_company(agents: AgentIntegrationService) -> None:
    with pytest.raises(NotFound):
        await agents.list("nobody")


async def test_an_unknown_status_is_refused(agents: AgentIntegrationService, world: World) -> None:
    with pytest.raises(BadInput, match="paused"):
        await agents.list(await make_company(world), status="paused")


@pytest.mark.parametrize(
    ("state", "changes", "is_due"),
    [
        ("active", {"abandonment_threshold_minutes": 5}, True),
        ("active", {"name": "Other"}, False),
        ("abandoned", {"abandonment_threshold_minutes": 5, "recovery_horizon_days": 60}, False),
    ],
)
async def test_a_new_threshold_lets_the_sweep_look_at_active_carts_at_once(
    agents: AgentIntegrationService, world: World, state: str, changes: dict[str, object], is_due: bool
) -> None:
    company_id = await make_company(world)
    agent_id = await make_agent(world, company_id)
    await make_cart(world, company_id, agent_id, await make_integration(world, company_id, agent_id), state)
    await agents.change(company_id, agent_id, AgentChanges.model_validate(changes))
    async with world.database.reading(company_id) as tx:
        due_at = (await tx.execute(select(carts.c.next_check_at))).scalar_one()
    assert (due_at <= world.clock.now()) is is_due


async def test_an_agent_without_anything_is_deleted(agents: AgentIntegrationService, world: World) -> None:
    company_id = await make_company(world)
    agent_id = await make_agent(world, company_id)
    await agents.remove(company_id, agent_id)
    with pytest.raises(NotFound):
        await agents.get(company_id, agent_id)


async def test_an_agent_with_integrations_is_deactivated(agents: AgentIntegrationService, world: World) -> None:
    company_id = await make_company(world)
    agent_id = await make_agent(world, company_id)
    await make_integration(world, company_id, agent_id)
    await agents.remove(company_id, agent_id)
    assert (await agents.get(company_id, agent_id)).status == "inactive"


@pytest.mark.parametrize(
    "fields", [{"abandonment_threshold_minutes": 0}, {"recovery_horizon_days": 400}, {"template_slug": "A b"}]
)
def test_figures_out_of_bounds_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AgentDraft.model_validate({"name": "Recovery", **fields})
