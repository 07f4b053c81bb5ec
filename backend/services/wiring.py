"""The one place that knows which real things are used: builds every service of a process."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database
from backend.errors import SetupProblem, Unavailable
from backend.outbound import Outbound
from backend.platforms.registry import PLATFORMS
from backend.services.abandoned_carts import AbandonedCartAgentService
from backend.services.agent_integrations import AgentIntegrationService
from backend.services.alerts import AlertService
from backend.services.api_keys import ApiKeyService
from backend.services.audit_trail import AuditTrail
from backend.services.companies import CompanyService
from backend.services.destinations import DestinationService
from backend.services.engine import Base, Checkpoint, build_base, build_engine, pass_by
from backend.services.exposition import Exposition
from backend.services.integrations import IntegrationService
from backend.services.invitations import InvitationService
from backend.services.keyring import Keyring, check_master_key
from backend.services.leases import LeaseKeeper
from backend.services.metrics import Metrics
from backend.services.overview import OverviewService
from backend.services.people import PeopleService
from backend.services.poller import AgentIntegrationPoller
from backend.services.restore import DeliveryHold
from backend.services.second_factor import SecondFactor
from backend.services.sessions import SessionService
from backend.services.status import PollingStatus
from backend.services.throttle import Throttle
from backend.services.tokens import Tokens
from backend.services.watch import Watch

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a process works with. Close it when done."""

    base: Base
    settings: Settings
    database: Database
    clock: Clock
    http: Outbound
    keyring: Keyring
    leases: LeaseKeeper
    poller: AgentIntegrationPoller
    status: PollingStatus
    agents: AgentIntegrationService
    carts: AbandonedCartAgentService
    integrations: IntegrationService
    companies: CompanyService
    destinations: DestinationService
    overview: OverviewService
    hold: DeliveryHold
    metrics: Metrics
    watch: Watch
    exposition: Exposition
    alerts: AlertService
    keys: ApiKeyService
    audit: AuditTrail
    throttle: Throttle
    sessions: SessionService
    people: PeopleService
    invitations: InvitationService

    async def aclose(self) -> None:
        """Stop renewing leases and close every connection."""
        await self.throttle.aclose()
        await self.base.aclose()


def tell_of_unknown_platforms(settings: Settings) -> None:
    """Log the names of shop systems that this version does not know, which may be a later one's, or mistyped."""
    if unknown := sorted(set(settings.platforms) - set(PLATFORMS)):
        log.warning("platforms.unknown", setting="PLATFORMS", unknown=unknown, known=list(PLATFORMS))


async def build_services(
    settings: Settings, *, clock: Clock | None = None, checkpoint: Checkpoint = pass_by
) -> Services:
    """Build the services of one process. Raises `SetupProblem` when a setting is missing or wrong."""
    tell_of_unknown_platforms(settings)
    base = build_base(settings, clock=clock or Clock(), checkpoint=checkpoint)
    hold = DeliveryHold(settings, base.database, base.clock)
    try:
        await check_master_key(base.database, base.keyring)
        await hold.check()
        await base.budgets.describe()  # a Redis that is away, or is not one, is told of now
    except (SetupProblem, Unavailable):
        await base.aclose()
        raise
    destinations = DestinationService(base.database, base.clock, settings, base.keyring)

    async def make_defaults() -> None:
        try:
            await destinations.ensure_default()
        except SetupProblem as problem:  # told by every cycle, and no reason to stop the others' work
            log.error("default_destination.refused", problem=str(problem))  # noqa: TRY400  the message says it all

    engine, metrics = build_engine(base, make_defaults), base.metrics
    throttle, tokens = Throttle(settings), Tokens(base.keyring, base.clock)
    second_factor = SecondFactor(base.database, base.clock, base.keyring)
    sessions = SessionService(base.database, base.clock, tokens, second_factor, throttle)
    return Services(
        base=base,
        settings=settings,
        database=base.database,
        clock=base.clock,
        http=base.http,
        keyring=base.keyring,
        leases=base.leases,
        poller=engine.poller,
        status=engine.status,
        agents=AgentIntegrationService(base.database, base.clock, settings),
        carts=engine.carts,
        integrations=IntegrationService(base.database, base.clock, settings, base.keyring, base.http),
        companies=CompanyService(base.database, base.clock, base.keyring),
        destinations=destinations,
        overview=OverviewService(base.database, base.clock),
        hold=hold,
        metrics=metrics,
        watch=Watch(settings, base.database, base.clock, metrics),
        exposition=Exposition(settings, base.database, base.clock, metrics),
        alerts=AlertService(base.database),
        keys=ApiKeyService(base.database, base.clock, settings),
        audit=AuditTrail(base.database, base.clock, base.keyring),
        throttle=throttle,
        sessions=sessions,
        people=PeopleService(base.database, base.clock, sessions, second_factor),
        invitations=InvitationService(base.database, base.clock, settings, tokens, throttle),
    )
