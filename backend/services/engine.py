"""Puts the poller together: database, keys, outbound door, leases and the three lanes."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from backend.clock import Clock
from backend.config import Settings
from backend.crypto import load_master_key, other_master_keys
from backend.db import Database
from backend.domain.ids import new_id
from backend.outbound import Outbound, OutboundPolicy
from backend.services.abandoned_carts import AbandonedCartAgentService
from backend.services.budget_keepers import Keeper
from backend.services.budgets import Budgets, Times, open_keeper, sharers_in
from backend.services.cart_intake import CartIntake
from backend.services.deliveries import Deliverer, DeliveryLane
from backend.services.keyring import Keyring
from backend.services.leases import LeaseKeeper
from backend.services.metrics import Metrics
from backend.services.poll_lane import PollTools
from backend.services.poller import REREADS, AgentIntegrationPoller, Lanes, finish_cycle
from backend.services.polling import PollNeeds, StorePolls
from backend.services.status import PollingStatus
from backend.services.superseding import Superseding
from backend.services.sweep_lane import SweepLane, SweepNeeds

Checkpoint = Callable[[str], Awaitable[None]]


async def pass_by(_moment: str) -> None:
    """Let work go on; the kill tests put something else in its place."""


@dataclass(frozen=True, slots=True)
class Base:
    """The real things of a process.

    `checkpoint` is awaited at named moments of the work: page_fetched, before_commit, after_commit, delivery_claimed,
    answer_read. That a request was sent only its receiver can tell.
    """

    settings: Settings
    database: Database
    clock: Clock
    http: Outbound
    keyring: Keyring
    leases: LeaseKeeper
    budgets: Keeper
    metrics: Metrics
    checkpoint: Checkpoint

    async def aclose(self) -> None:
        """Stop renewing leases and close every connection."""
        await self.leases.aclose()
        await self.budgets.aclose()
        await self.http.aclose()
        await self.database.close()


@dataclass(frozen=True, slots=True)
class Engine:
    """The poller and what it shares with others."""

    poller: AgentIntegrationPoller
    status: PollingStatus
    carts: AbandonedCartAgentService
    lanes: Lanes


def build_base(settings: Settings, *, clock: Clock, checkpoint: Checkpoint = pass_by) -> Base:
    """Open the real things. Raises `SetupProblem` when a setting is missing or wrong."""
    master_key = load_master_key(settings)
    database = Database(settings)
    worker_id = f"{os.getpid()}-{new_id()[:8]}"
    return Base(
        settings=settings,
        database=database,
        clock=clock,
        http=Outbound(outbound_policy(settings)),
        keyring=Keyring(master_key, other_master_keys(settings)),
        leases=LeaseKeeper(database, clock, settings.lease_seconds, worker_id),
        budgets=open_keeper(settings, clock),
        metrics=Metrics(),
        checkpoint=checkpoint,
    )


def outbound_policy(settings: Settings) -> OutboundPolicy:
    """Return what the outbound door lets through under these settings."""
    return OutboundPolicy(
        allow_loopback=settings.outbound_allow_loopback,
        allowed_ports=frozenset(settings.outbound_allowed_ports),
        denied=settings.outbound_denied_addresses,
        require_tls13=settings.outbound_require_tls13,
    )


def build_engine(base: Base, make_defaults: Callable[[], Awaitable[None]]) -> Engine:
    """Build the poller and its lanes; `make_defaults` makes missing default destinations at a cycle's start."""
    carts = AbandonedCartAgentService(base.database, base.clock)
    status = PollingStatus(base.settings, base.database, base.clock, base.budgets.describe)
    intake = CartIntake(base.database, base.keyring, carts, base.checkpoint)
    deliverer = Deliverer(
        settings=base.settings,
        database=base.database,
        clock=base.clock,
        http=base.http,
        keyring=base.keyring,
        leases=base.leases,
        superseding=Superseding(base.database, base.clock, carts),
        metrics=base.metrics,
        worker_id=base.leases.worker_id,
        checkpoint=base.checkpoint,
    )
    budgets = Budgets(base.budgets, base.http, Times(base.clock, base.clock.ticks), sharers_in(base.database))
    polls = StorePolls(PollNeeds(base.database, base.clock, base.keyring, budgets, intake, base.metrics))
    lanes = Lanes(
        polls=PollTools(
            base.settings, base.database, base.leases, polls, partial(finish_cycle, base.database, base.clock)
        ),
        sweep=lambda: SweepLane(SweepNeeds(base.database, base.clock, base.leases, carts, base.metrics), REREADS),
        deliveries=lambda due_by: DeliveryLane(deliverer, due_by),
        leases=base.leases,
    )
    poller = AgentIntegrationPoller(base.settings, base.database, base.clock, lanes, status, make_defaults)
    return Engine(poller, status, carts, lanes)
