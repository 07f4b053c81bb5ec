"""AgentIntegrationService: which agents are active, which integrations each serves, and their poll settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database, Transaction
from backend.domain.figures import (
    DEFAULT_ATTRIBUTION_DAYS,
    DEFAULT_HORIZON_DAYS,
    DEFAULT_TEMPLATE,
    DEFAULT_THRESHOLD_MINUTES,
    AgentStatus,
    AttributionDays,
    HorizonDays,
    Name,
    Slug,
    ThresholdMinutes,
)
from backend.domain.ids import new_id
from backend.errors import NotFound
from backend.services.audit import note
from backend.services.companies import found_company, hold_company
from backend.services.drafts import Changes, Draft
from backend.services.pages import Page, known_status, slice_of
from backend.store.companies import AgentRow, AgentStore, ServedRow


class AgentDraft(Draft):
    """An agent to be made."""

    name: Name
    template_slug: Slug = DEFAULT_TEMPLATE
    status: AgentStatus = "active"
    abandonment_threshold_minutes: ThresholdMinutes = DEFAULT_THRESHOLD_MINUTES
    recovery_horizon_days: HorizonDays = DEFAULT_HORIZON_DAYS
    attribution_window_days: AttributionDays = DEFAULT_ATTRIBUTION_DAYS


class AgentChanges(Changes):
    """What to change of an agent."""

    name: Name | None = None
    template_slug: Slug | None = None
    status: AgentStatus | None = None
    abandonment_threshold_minutes: ThresholdMinutes | None = None
    recovery_horizon_days: HorizonDays | None = None
    attribution_window_days: AttributionDays | None = None


@dataclass(frozen=True, slots=True)
class ServedIntegration:
    """An integration of an agent. `poll_interval_seconds` None: it follows the polling interval."""

    id: str
    name: str
    platform: str
    status: str
    poll_interval_seconds: int | None


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent with the integrations it serves.

    `is_polled`: the agent is active and made from the template that this installation polls.
    """

    id: str
    name: str
    template_slug: str
    status: str
    abandonment_threshold_minutes: int
    recovery_horizon_days: int
    attribution_window_days: int
    is_polled: bool
    integrations: tuple[ServedIntegration, ...]
    created_at: datetime
    updated_at: datetime


class AgentIntegrationService:
    """A company's agents, each with what it polls."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock

    async def list(
        self, company_id: str, *, status: str | None = None, limit: int = 50, after: str | None = None
    ) -> Page[Agent]:
        """Return agents, newest first; `status="active"` asks which are active. Raises `NotFound`, `BadInput`."""
        part = slice_of(limit, after)
        wanted = known_status(status, get_args(AgentStatus))
        async with self._database.reading(company_id) as tx:
            await found_company(tx, company_id)
            rows = await AgentStore(tx, company_id).list_page(part.rows, part.place, status=wanted)
            return part.cut(await self._agents(tx, company_id, rows))

    async def get(self, company_id: str, agent_id: str) -> Agent:
        """Return one agent. Raises `NotFound`."""
        async with self._database.reading(company_id) as tx:
            return await self._agent(tx, company_id, agent_id)

    async def create(self, company_id: str, draft: AgentDraft) -> Agent:
        """Make an agent. Raises `NotFound`, or `Conflict` when the company has one of that name."""
        async with self._database.transaction(company_id) as tx:
            return await self.create_in(tx, company_id, draft, new_id())

    async def create_in(self, tx: Transaction, company_id: str, draft: AgentDraft, agent_id: str) -> Agent:
        """Make an agent inside a transaction, under an id of the caller's."""
        await hold_company(tx, company_id)
        now = self._clock.now()
        await AgentStore(tx, company_id).add(agent_id, draft.model_dump(), now)
        await note(tx, company_id, now, "agent.created", agent_id)
        return await self._agent(tx, company_id, agent_id)

    async def change(self, company_id: str, agent_id: str, changes: AgentChanges) -> Agent:
        """Change an agent. Raises `NotFound`, or `Conflict` when the name is taken.

        A new threshold holds for active carts as well: the sweep looks at them at once. A cart that is abandoned
        already keeps the horizon it was abandoned under.
        """
        async with self._database.transaction(company_id) as tx:
            return await self.change_in(tx, company_id, agent_id, changes)

    async def change_in(self, tx: Transaction, company_id: str, agent_id: str, changes: AgentChanges) -> Agent:
        """Change an agent inside a transaction."""
        await found_agent(tx, company_id, agent_id)
        store, now = AgentStore(tx, company_id), self._clock.now()
        values = changes.values()
        await store.change(agent_id, values, now)
        if changes.abandonment_threshold_minutes is not None:
            await store.check_active_carts_now(agent_id, now)
        await note(tx, company_id, now, "agent.changed", agent_id, fields=sorted(values))
        return await self._agent(tx, company_id, agent_id)

    async def remove(self, company_id: str, agent_id: str) -> None:
        """Delete an agent without integrations and destinations; deactivate one that has any.

        What it collected and handed off stays readable, and a later agent of the same name cannot be taken for it.
        Raises `NotFound`.
        """
        async with self._database.transaction(company_id) as tx:
            await found_agent(tx, company_id, agent_id)
            store, now = AgentStore(tx, company_id), self._clock.now()
            if not await store.delete_if_unused(agent_id):
                await store.change(agent_id, {"status": "inactive"}, now)
            await note(tx, company_id, now, "agent.removed", agent_id)

    async def _agent(self, tx: Transaction, company_id: str, agent_id: str) -> Agent:
        return (await self._agents(tx, company_id, [await found_agent(tx, company_id, agent_id)]))[0]

    async def _agents(self, tx: Transaction, company_id: str, rows: Sequence[AgentRow]) -> tuple[Agent, ...]:
        """Return agents with what they serve."""
        served: dict[str, list[ServedIntegration]] = {}
        for row in await AgentStore(tx, company_id).served([row.id for row in rows]) if rows else ():
            served.setdefault(row.agent_id, []).append(_served(row))
        return tuple(self._with(row, tuple(served.get(row.id, ()))) for row in rows)

    def _with(self, row: AgentRow, integrations: tuple[ServedIntegration, ...]) -> Agent:
        is_polled = row.status == "active" and row.template_slug == self._settings.target_template_slug
        values = {name: getattr(row, name) for name in AgentRow.__slots__}
        return Agent(**values, is_polled=is_polled, integrations=integrations)


async def found_agent(tx: Transaction, company_id: str, agent_id: str) -> AgentRow:
    """Return an agent's row. Raises `NotFound`, also when the company is not there."""
    row = await AgentStore(tx, company_id).load(agent_id)
    if row is None:
        await found_company(tx, company_id)
        raise NotFound(f"there is no agent {agent_id} in this company")
    return row


def _served(row: ServedRow) -> ServedIntegration:
    return ServedIntegration(row.id, row.name, row.platform, row.status, row.poll_interval_seconds)
