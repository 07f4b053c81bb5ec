"""What is stored of the companies that a configuration names, opened for comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backend.db import Database, Transaction
from backend.services.destinations import DestinationService
from backend.services.integrations import IntegrationService
from backend.store.companies import AgentRow, AgentStore, CompanyRow
from backend.store.cycles import InstallationStore
from backend.store.destinations import DestinationRow, DestinationStore
from backend.store.integrations import IntegrationRow, IntegrationStore
from backend.store.overview import OverviewStore


@dataclass(frozen=True, slots=True)
class StoredIntegration:
    """An integration with its credentials open. `holds_carts`: it can no longer be pointed at another store."""

    row: IntegrationRow
    credentials: Mapping[str, str] = field(repr=False)
    holds_carts: bool


@dataclass(frozen=True, slots=True)
class StoredDestination:
    """A destination with its live secrets, newest first."""

    row: DestinationRow
    secrets: Sequence[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredAgent:
    """An agent with what belongs to it, by name."""

    row: AgentRow
    integrations: Mapping[str, StoredIntegration]
    destinations: Mapping[str, StoredDestination]


@dataclass(frozen=True, slots=True)
class StoredCompany:
    """A company with its agents, by name."""

    row: CompanyRow
    agents: Mapping[str, StoredAgent]


@dataclass(frozen=True, slots=True)
class Stored:
    """The installation as far as a file speaks of it. `others` are the companies that it does not name."""

    companies: Mapping[str, StoredCompany]
    others: Sequence[CompanyRow]
    polling_interval: int | None


class StateReader:
    """Loads what is stored. Reads only."""

    def __init__(self, database: Database, integrations: IntegrationService, destinations: DestinationService) -> None:
        self._database = database
        self._integrations = integrations
        self._destinations = destinations

    async def load(self, names: Sequence[str]) -> Stored:
        """Return the companies of these names, whole, and the rows of all others."""
        async with self._database.overview() as tx:
            rows = await OverviewStore(tx, None).every_company()
            state = await InstallationStore(tx).state()
        wanted = set(names)
        named = {row.name: await self._company(row) for row in rows if row.name in wanted}
        others = [row for row in rows if row.name not in wanted]
        return Stored(named, others, None if state is None else state.interval_seconds)

    async def _company(self, row: CompanyRow) -> StoredCompany:
        async with self._database.reading(row.id) as tx:
            stores: dict[str, dict[str, StoredIntegration]] = {}
            for integration in await IntegrationStore(tx, row.id).load_all():
                opened = await self._integration(tx, row.id, integration)
                stores.setdefault(integration.agent_id, {})[integration.name] = opened
            partners: dict[str, dict[str, StoredDestination]] = {}
            for destination in await DestinationStore(tx, row.id).load_all():
                secrets = await self._destinations.secrets_in(tx, row.id, destination)
                partners.setdefault(destination.agent_id, {})[destination.name] = StoredDestination(
                    destination, secrets
                )
            agents = await AgentStore(tx, row.id).load_all()
        return StoredCompany(
            row,
            {agent.name: StoredAgent(agent, stores.get(agent.id, {}), partners.get(agent.id, {})) for agent in agents},
        )

    async def _integration(self, tx: Transaction, company_id: str, row: IntegrationRow) -> StoredIntegration:
        credentials = await self._integrations.credentials_in(tx, company_id, row)
        return StoredIntegration(row, credentials, await IntegrationStore(tx, company_id).has_carts(row.id))
