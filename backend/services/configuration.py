"""ConfigurationService: bring companies, agents, integrations and destinations to what a file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database, Transaction
from backend.domain.configuration import read_configuration
from backend.errors import ServiceError
from backend.outbound import Outbound
from backend.services.agent_integrations import AgentChanges, AgentDraft, AgentIntegrationService
from backend.services.audit import noting_last
from backend.services.companies import CompanyChanges, CompanyDraft, CompanyService
from backend.services.configuration_plan import CompanyPlan, Plan, Planner, PlanRules, Step
from backend.services.configuration_state import StateReader
from backend.services.destinations import DestinationChanges, DestinationDraft, DestinationService
from backend.services.integrations import IntegrationChanges, IntegrationDraft, IntegrationService
from backend.services.keyring import Keyring


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A signing secret that was made for a destination; it cannot be shown again."""

    path: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a plan: the companies brought to it, those that were not with the reason, the secrets made."""

    companies: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    secrets: tuple[NewSecret, ...]


class ConfigurationService:
    """Plans and applies configurations. A second run of the same file has nothing to change."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, keyring: Keyring, http: Outbound) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._companies = CompanyService(database, clock, keyring)
        self._agents = AgentIntegrationService(database, clock, settings)
        self._integrations = IntegrationService(database, clock, settings, keyring, http)
        self._destinations = DestinationService(database, clock, settings, keyring)

    async def plan(
        self, text: str, environment: Mapping[str, str], *, prune: bool = False, may_generate: bool = False
    ) -> Plan:
        """Return what a file would change. `may_generate`: a missing signing secret may be made, as it can be shown.

        Raises `FaultyConfiguration` with every fault and its line. Changes nothing.
        """
        read = read_configuration(text, environment)
        reader = StateReader(self._database, self._integrations, self._destinations)
        stored = await reader.load([company.name for company in read.content.companies])
        interval = stored.polling_interval or self._settings.polling_interval
        rules = PlanRules(interval, prune=prune, may_generate=may_generate)
        return Planner(read, stored, rules, self._integrations, self._destinations).plan()

    async def apply(self, plan: Plan) -> Applied:
        """Take a plan's steps, each company's in one transaction: a company comes out whole, or as it was."""
        done: list[str] = []
        failed: list[tuple[str, str]] = []
        secrets: list[NewSecret] = []
        for company in plan.companies:
            try:
                secrets += await self._apply_company(company)
            except ServiceError as error:
                failed.append((company.name, str(error)))
            else:
                done.append(company.name)
        return Applied(tuple(done), tuple(failed), tuple(secrets))

    async def _apply_company(self, plan: CompanyPlan) -> list[NewSecret]:
        takes = {
            "company": self._company,
            "agent": self._agent,
            "integration": self._integration,
            "destination": self._destination,
        }
        secrets: list[NewSecret] = []
        company_id, now = plan.company_id, self._clock.now()
        async with self._database.transaction(company_id) as tx, noting_last(tx, company_id, now):
            for step in plan.steps:
                made = await takes[step.noun](tx, company_id, step)
                if made is not None:
                    secrets.append(NewSecret(step.path, made))
        return secrets

    async def _company(self, tx: Transaction, company_id: str, step: Step) -> str | None:
        if isinstance(step.what, CompanyDraft):
            await self._companies.create_in(tx, company_id, step.what)
        elif isinstance(step.what, CompanyChanges):
            await self._companies.change_in(tx, company_id, step.what)
        return None

    async def _agent(self, tx: Transaction, company_id: str, step: Step) -> str | None:
        if isinstance(step.what, AgentDraft):
            await self._agents.create_in(tx, company_id, step.what, step.row_id)
        elif isinstance(step.what, AgentChanges):
            await self._agents.change_in(tx, company_id, step.row_id, step.what)
        return None

    async def _integration(self, tx: Transaction, company_id: str, step: Step) -> str | None:
        if isinstance(step.what, IntegrationDraft):
            await self._integrations.create_in(tx, company_id, step.what, step.row_id)
        elif isinstance(step.what, IntegrationChanges):
            await self._integrations.change_in(tx, company_id, step.row_id, step.what)
        if step.credentials is not None:
            await self._integrations.rotate_credentials_in(tx, company_id, step.row_id, step.credentials)
        return None

    async def _destination(self, tx: Transaction, company_id: str, step: Step) -> str | None:
        """Take the step; return a secret that was made."""
        if isinstance(step.what, DestinationDraft):
            return (await self._destinations.create_in(tx, company_id, step.what, step.row_id)).secret
        if isinstance(step.what, DestinationChanges):
            await self._destinations.change_in(tx, company_id, step.row_id, step.what)
        if step.secret is not None:
            # The file is the truth: what it no longer names no longer signs.
            await self._destinations.rotate_secret_in(tx, (company_id, step.row_id), step.secret, keep_old=False)
        return None
