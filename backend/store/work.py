"""The only writes and claims across companies: take due work under a lease, renew it, settle it.

A claim is one statement: pick due rows (skipping what others are taking, on PostgreSQL), stamp them with a lease
token, return them. Whoever settles says which token they hold; a lease that ran out matches no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, and_, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.backoff import BREAKER_OPENS_AT
from backend.domain.cursor import Cursor
from backend.domain.ids import new_id
from backend.domain.lifecycle import AgentRules, CartState
from backend.domain.payload import CompanyCard
from backend.domain.work import AgentCard, DeliveryWork, PollWork
from backend.models import carts, companies, company_agents, data_keys, deliveries, destinations, integrations

# A poll that was claimed this often without ever being settled kills its worker; it is left alone and shown.
MOST_CLAIMS = 10
MOCK = "mock"
# Destinations that a claim of deliveries looks up at once.
DESTINATIONS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Scope:
    """Which integrations the poll lane looks at."""

    template_slug: str
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim's terms. `token` is None until the claim is made."""

    now: datetime
    seconds: float

    @property
    def until(self) -> datetime:
        """When the lease runs out unless it is renewed."""
        return self.now + timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class SweepWork:
    """Claimed carts of one company and integration."""

    company_id: str
    integration_id: str
    cart_ids: tuple[str, ...]
    token: str


def _unleased(table: Table, now: datetime) -> ColumnElement[bool]:
    return or_(table.c.lease_token.is_(None), table.c.lease_expires_at <= now)


def _claim(table: Table, due: Select[Any], lease: Lease, token: str, **more: Any) -> Any:
    """Return the claiming statement: lock the due rows, stamp them, return their keys."""
    picked = (
        due.with_for_update(skip_locked=True, of=table).cte("due").prefix_with("MATERIALIZED", dialect="postgresql")
    )
    return (
        update(table)
        .where(tuple_(table.c.company_id, table.c.id).in_(select(picked.c.company_id, picked.c.id)))
        .values(lease_token=token, lease_expires_at=lease.until, **more)
        .returning(table.c.company_id, table.c.id)
    )


class WorkStore:
    """Work of all companies. `connection` is a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    # -- polls ---------------------------------------------------------------------------------------------------

    async def claim_polls(
        self, scope: Scope, lease: Lease, most: int, *, due_by: datetime | None, after: str = ""
    ) -> list[PollWork]:
        """Take up to `most` integrations: those due by `due_by`, the longest due first.

        With None every one that may be polled now, in the order of their ids, from `after` on: a one-off run takes
        each once.
        """
        c = integrations.c
        query = (
            select(c.company_id, c.id)
            .select_from(_with_agent(integrations))
            .where(_pollable(scope), _unleased(integrations, lease.now), c.claims < MOST_CLAIMS)
            .where(or_(c.waiting_until.is_(None), c.waiting_until <= lease.now))
            .limit(most)
        )
        if due_by is None:
            query = query.where(c.status == "active", c.id > after).order_by(c.id)
        else:
            query = query.where(c.next_poll_at <= due_by).order_by(c.next_poll_at)
        token = new_id()
        taken = (await self._connection.execute(_claim(integrations, query, lease, token, claims=c.claims + 1))).all()
        return await self._poll_work(token) if taken else []

    async def _poll_work(self, token: str) -> list[PollWork]:
        query = (
            select(integrations, *AGENT_COLUMNS)
            .select_from(_with_agent(integrations))
            .where(integrations.c.lease_token == token)
            .order_by(integrations.c.next_poll_at)
        )
        return [_poll_work(row) for row in await self._connection.execute(query)]

    async def held(self, scope: Scope, now: datetime) -> list[Row[Any]]:
        """Return (company_id, id, name) of integrations that some worker holds at this moment."""
        c = integrations.c
        query = (
            select(c.company_id, c.id, c.name)
            .select_from(_with_agent(integrations))
            .where(_pollable(scope), c.lease_token.is_not(None), c.lease_expires_at > now)
        )
        return list(await self._connection.execute(query))

    async def waiting(self, scope: Scope, now: datetime) -> list[Row[Any]]:
        """Return integrations that are not polled now: paused, or waiting for a time."""
        c = integrations.c
        query = (
            select(c.company_id, c.id, c.name, c.status, c.pause_reason, c.waiting_until, c.waiting_for, c.next_poll_at)
            .select_from(_with_agent(integrations))
            .where(_pollable(scope), or_(c.status == "paused", c.waiting_until > now))
        )
        return list(await self._connection.execute(query))

    async def agents_found(self, scope: Scope) -> dict[str, int]:
        """Return how many active agents of the template each company has."""
        query = (
            select(company_agents.c.company_id, func.count())
            .join(companies, companies.c.id == company_agents.c.company_id)
            .where(_agent_is_active(scope))
            .group_by(company_agents.c.company_id)
        )
        return {row[0]: row[1] for row in await self._connection.execute(query)}

    # -- sweep ---------------------------------------------------------------------------------------------------

    async def claim_carts(self, lease: Lease, most: int) -> list[SweepWork]:
        """Take carts whose time is up: active past their threshold, abandoned past their horizon."""
        c = carts.c
        query = (
            select(c.company_id, c.id)
            .where(
                c.next_check_at < lease.now,
                c.state.in_([CartState.ACTIVE.value, CartState.ABANDONED.value]),
                _unleased(carts, lease.now),
            )
            .order_by(c.next_check_at)
            .limit(most)
        )
        token = new_id()
        await self._connection.execute(_claim(carts, query, lease, token))
        rows = await self._connection.execute(
            select(c.company_id, c.integration_id, c.id).where(c.lease_token == token).order_by(c.next_check_at)
        )
        groups: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            groups.setdefault((row.company_id, row.integration_id), []).append(row.id)
        return [SweepWork(company, store, tuple(ids), token) for (company, store), ids in groups.items()]

    # -- deliveries ----------------------------------------------------------------------------------------------

    async def claim_deliveries(
        self, lease: Lease, most: int, per_destination: int, *, due_by: datetime | None = None
    ) -> list[DeliveryWork]:
        """Take deliveries due by `due_by` (now), oldest first: so many per destination, one where it is on probation.

        Asks destination by destination, each through the index of its own due deliveries, so that one partner's
        backlog neither slows the claim nor hides what others are owed.
        """
        due_by = due_by or lease.now
        token, left, seen = new_id(), most, 0
        while left > 0:
            owed = await self._owed(lease, due_by, seen)
            for place in owed:
                share = min(left, 1 if place.failures >= BREAKER_OPENS_AT else per_destination)
                if share > 0:
                    left -= await self._claim_for((place.company_id, place.id), lease, token, due_by=due_by, most=share)
            seen += len(owed)
            if len(owed) < DESTINATIONS_AT_ONCE:
                break
        return await self._delivery_work(token) if left < most else []

    async def _owed(self, lease: Lease, due_by: datetime, seen: int) -> list[Row[Any]]:
        """Return the destinations that are owed something and may be asked, the longest waiting first, after `seen`."""
        d, to = deliveries.c, destinations.c
        oldest = (
            select(func.min(d.next_attempt_at))
            .where(d.company_id == to.company_id, d.destination_id == to.id, d.state == "pending")
            .scalar_subquery()
        )
        query = (
            select(to.company_id, to.id, to.failures)
            .where(to.status == "active", or_(to.held_until.is_(None), to.held_until <= lease.now), oldest <= due_by)
            .order_by(oldest)
            .offset(seen)
            .limit(DESTINATIONS_AT_ONCE)
        )
        return list(await self._connection.execute(query))

    async def _claim_for(
        self, destination: tuple[str, str], lease: Lease, token: str, *, due_by: datetime, most: int
    ) -> int:
        d = deliveries.c
        due = (
            select(d.company_id, d.id)
            .where(
                d.company_id == destination[0],
                d.destination_id == destination[1],
                d.state == "pending",
                d.next_attempt_at <= due_by,
                _unleased(deliveries, lease.now),
            )
            .order_by(d.next_attempt_at)  # and nothing more: the index then hands over the first ones without sorting
            .limit(most)
        )
        started = func.coalesce(d.first_attempt_at, lease.now)
        claim = _claim(deliveries, due, lease, token, attempts=d.attempts + 1, first_attempt_at=started)
        return len((await self._connection.execute(claim)).all())

    async def _delivery_work(self, token: str) -> list[DeliveryWork]:
        to = destinations.c
        query = (
            select(
                *(deliveries.c[name] for name in _SENT),
                to.url,
                to.secrets_sealed,
                to.secrets_version,
                to.failures.label("destination_failures"),
            )
            .select_from(_with_destination())
            .where(deliveries.c.lease_token == token)
            .order_by(deliveries.c.next_attempt_at)
        )
        return [_delivery_work(row) for row in await self._connection.execute(query)]

    async def has_other_keys(self, master_key: str) -> bool:
        """Whether some company's data key was wrapped by a master key of another fingerprint."""
        others = select(data_keys.c.id).where(data_keys.c.master_key != master_key).limit(1)
        return (await self._connection.execute(others)).first() is not None

    # -- leases --------------------------------------------------------------------------------------------------

    async def renew(self, lane: str, tokens: Sequence[str], until: datetime) -> set[str]:
        """Renew the leases under these tokens in one statement; return the tokens that still hold something."""
        table = LANES[lane]
        done = await self._connection.execute(
            update(table)
            .where(table.c.lease_token.in_(tokens))
            .values(lease_expires_at=until)
            .returning(table.c.lease_token)
        )
        return {row.lease_token for row in done}


_SENT = (
    "company_id",
    "id",
    "destination_id",
    "webhook_id",
    "type",
    "body",
    "attempts",
    "next_attempt_at",
    "first_attempt_at",
    "cycle_id",
    "lease_token",
)
LANES: dict[str, Table] = {"poll": integrations, "sweep": carts, "delivery": deliveries}

AGENT_COLUMNS = (
    company_agents.c.name.label("agent_name"),
    company_agents.c.abandonment_threshold_minutes,
    company_agents.c.recovery_horizon_days,
    company_agents.c.attribution_window_days,
    companies.c.name.label("company_name"),
    companies.c.website,
    companies.c.support_email,
    companies.c.phone,
    companies.c.country,
)


def _with_agent(table: Table) -> Any:
    on_agent = and_(company_agents.c.company_id == table.c.company_id, company_agents.c.id == table.c.agent_id)
    return table.join(company_agents, on_agent).join(companies, companies.c.id == table.c.company_id)


def _with_destination() -> Any:
    on = and_(destinations.c.company_id == deliveries.c.company_id, destinations.c.id == deliveries.c.destination_id)
    return deliveries.join(destinations, on)


def _agent_is_active(scope: Scope) -> ColumnElement[bool]:
    return and_(
        company_agents.c.template_slug == scope.template_slug,
        company_agents.c.status == "active",
        companies.c.status == "active",
    )


def _pollable(scope: Scope) -> ColumnElement[bool]:
    return and_(
        _agent_is_active(scope),
        integrations.c.status.in_(["active", "paused"]),
        # An operator's pause holds until it is lifted; rejected credentials are probed when due.
        or_(integrations.c.status == "active", integrations.c.pause_reason == "credentials_rejected"),
        integrations.c.platform.in_([*scope.platforms, MOCK]),
    )


def agent_card(row: Row[Any]) -> AgentCard:
    """Return the agent and company columns of a joined row."""
    company = CompanyCard(row.company_id, row.company_name, row.website, row.support_email, row.phone, row.country)
    rules = AgentRules(
        threshold=timedelta(minutes=row.abandonment_threshold_minutes),
        horizon=timedelta(days=row.recovery_horizon_days),
        attribution=timedelta(days=row.attribution_window_days),
    )
    return AgentCard(company, row.agent_id, row.agent_name, rules)


def _poll_work(row: Row[Any]) -> PollWork:
    period = row.poll_interval_seconds
    return PollWork(
        company_id=row.company_id,
        integration_id=row.id,
        name=row.name,
        platform=row.platform,
        store_id=row.store_id,
        settings=row.settings,
        credentials_sealed=row.credentials_sealed,
        credentials_version=row.credentials_version,
        agent=agent_card(row),
        cursor=Cursor(row.watermark, row.window_from, row.page_token, row.next_watermark),
        initial_lookback=timedelta(days=row.initial_lookback_days),
        period=None if period is None else timedelta(seconds=period),
        next_poll_at=row.next_poll_at,
        failures=row.failures,
        refusals=row.refusals,
        first_refused_at=row.first_refused_at,
        is_paused=row.status == "paused",
        token=row.lease_token,
    )


def _delivery_work(row: Any) -> DeliveryWork:
    return DeliveryWork(
        company_id=row.company_id,
        id=row.id,
        destination_id=row.destination_id,
        url=row.url,
        secrets_sealed=row.secrets_sealed,
        secrets_version=row.secrets_version,
        destination_failures=row.destination_failures,
        webhook_id=row.webhook_id,
        type=row.type,
        body=row.body,
        attempts=row.attempts,
        due_at=row.next_attempt_at,
        first_attempt_at=row.first_attempt_at,
        cycle_id=row.cycle_id,
        token=row.lease_token,
    )
