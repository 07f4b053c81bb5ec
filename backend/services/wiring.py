"""The one place that knows which real things are used: builds every service of a process."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from backend.clock import Clock
from backend.config import Settings
from backend.crypto import load_master_key
from backend.db import Database
from backend.domain.ids import new_id
from backend.outbound import Outbound, OutboundPolicy
from backend.services.abandoned_carts import AbandonedCartAgentService
from backend.services.abandonment import AbandonmentSweep
from backend.services.agent_integrations import AgentIntegrationService
from backend.services.cart_intake import CartIntake
from backend.services.companies import CompanyService
from backend.services.deliveries import Deliverer, DeliveryLane
from backend.services.destinations import DestinationService
from backend.services.integrations import IntegrationService
from backend.services.keyring import Keyring
from backend.services.leases import LeaseKeeper
from backend.services.overview import OverviewService
from backend.services.poller import AgentIntegrationPoller, Lanes
from backend.services.polling import StorePolls
from backend.services.status import PollingStatus
from backend.services.superseding import Superseding

Checkpoint = Callable[[str], Awaitable[None]]


async def pass_by(_moment: str) -> None:
    """Let work go on; the kill tests put something else in its place."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a process works with. Close it when done."""

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

    async def aclose(self) -> None:
        """Stop renewing leases and close every connection."""
        await self.leases.aclose()
        await self.http.aclose()
        await self.database.close()


@dataclass(frozen=True, slots=True)
class _Base:
    settings: Settings
    database: Database
    clock: Clock
    http: Outbound
    keyring: Keyring
    leases: LeaseKeeper
    checkpoint: Checkpoint


async def build_services(
    settings: Settings, *, clock: Clock | None = None, checkpoint: Checkpoint = pass_by
) -> Services:
    """Build the services of one process. Raises `SetupProblem` when a setting is missing or wrong."""
    master_key = load_master_key(settings)
    database, clock = Database(settings), clock or Clock()
    http = Outbound(outbound_policy(settings))
    leases = LeaseKeeper(database, clock, settings.lease_seconds, worker_id=f"{os.getpid()}-{new_id()[:8]}")
    base = _Base(settings, database, clock, http, Keyring(master_key), leases, checkpoint)
    carts = AbandonedCartAgentService(database, clock)
    destinations = DestinationService(database, clock, settings, base.keyring)
    status = PollingStatus(settings, database, clock)
    return Services(
        settings=settings,
        database=database,
        clock=clock,
        http=http,
        keyring=base.keyring,
        leases=leases,
        poller=_poller(base, carts, status, destinations),
        status=status,
        agents=AgentIntegrationService(database, clock, settings),
        carts=carts,
        integrations=IntegrationService(database, clock, settings, base.keyring, http),
        companies=CompanyService(database, clock, base.keyring),
        destinations=destinations,
        overview=OverviewService(database, clock),
    )


def outbound_policy(settings: Settings) -> OutboundPolicy:
    """Return what the outbound door lets through under these settings."""
    return OutboundPolicy(
        allow_loopback=settings.outbound_allow_loopback,
        allowed_ports=frozenset(settings.outbound_allowed_ports),
        require_tls13=settings.outbound_require_tls13,
    )


def _poller(
    base: _Base, carts: AbandonedCartAgentService, status: PollingStatus, destinations: DestinationService
) -> AgentIntegrationPoller:
    intake = CartIntake(base.database, base.keyring, carts, base.checkpoint)
    lanes = Lanes(
        polls=StorePolls(base.database, base.clock, base.keyring, base.http, intake),
        sweep=AbandonmentSweep(base.database, base.clock, base.leases, carts, base.leases.worker_id),
        deliveries=DeliveryLane(
            Deliverer(
                settings=base.settings,
                database=base.database,
                clock=base.clock,
                http=base.http,
                keyring=base.keyring,
                leases=base.leases,
                superseding=Superseding(base.database, base.clock, carts),
                worker_id=base.leases.worker_id,
                checkpoint=base.checkpoint,
            )
        ),
    )

    async def make_defaults() -> None:
        await destinations.ensure_default()

    return AgentIntegrationPoller(base.settings, base.database, base.clock, lanes, base.leases, status, make_defaults)
