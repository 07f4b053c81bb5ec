"""The poll lane's queue: integrations whose time has come."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.cursor import Cursor
from backend.domain.ids import new_id
from backend.domain.lifecycle import AgentRules
from backend.domain.payload import CompanyCard
from backend.domain.work import AgentCard, PollWork, Scope
from backend.models import carts, companies, company_agents, integrations
from backend.store.work.leases import Lease, Room, claiming, unleased

# A poll that was claimed this often without ever being settled kills its worker; it is left alone and shown.
MOST_CLAIMS = 10
MOCK = "mock"


class PollQueue:
    """Integrations of all companies. `connection` is a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, scope: Scope, lease: Lease, room: Room, *, due_by: datetime) -> list[PollWork]:
        """Take integrations due by `due_by`, the longest due first.

        When the last claim left some behind, every company's longest due comes before anyone's second; a company of
        weight n takes n.
        """
        token, left = new_id(), room.pieces
        for most, kind in _kinds(room):
            due = _due(scope, lease, room).where(integrations.c.next_poll_at <= due_by, *kind)
            if room.is_crowded:
                left -= await self._round(due, lease, token, min(most, left))
            left -= await self._take(due.order_by(integrations.c.next_poll_at), lease, token, min(most, left))
        return await self._work(token, lease.now) if left < room.pieces else []

    async def claim_each(self, scope: Scope, lease: Lease, room: Room, *, after: str) -> list[PollWork]:
        """Take every integration that may be polled now, due or not, in the order of their ids, from `after` on."""
        c, token = integrations.c, new_id()
        due = _due(scope, lease, room).where(c.status == "active", c.id > after).order_by(c.id)
        return await self._work(token, lease.now) if await self._take(due, lease, token, room.pieces) else []

    async def _take(self, due: Select[Any], lease: Lease, token: str, most: int) -> int:
        if most <= 0:
            return 0
        claim = claiming(integrations, due.limit(most), lease, token, claims=integrations.c.claims + 1)
        return len((await self._connection.execute(claim)).all())

    async def _round(self, due: Select[Any], lease: Lease, token: str, most: int) -> int:
        """Take the longest due integration of each company, and more of those that weigh more."""
        c, each = integrations.c, companies.alias("each")
        mine = due.with_only_columns(c.id).where(c.company_id == each.c.id).order_by(c.next_poll_at).limit(1)
        head = mine.correlate(each).scalar_subquery()
        heads = (
            select(each.c.id.label("company_id"), head.label("id")).where(each.c.status == "active").subquery("heads")
        )
        is_head = (heads.c.company_id == c.company_id) & (heads.c.id == c.id)
        first = (
            select(c.company_id, c.id)
            .join(heads, is_head)
            .where(unleased(integrations, lease.now))
            .order_by(c.next_poll_at)
        )
        taken = await self._take(first, lease, token, most)
        for company, weight in await self._heavy(token):
            more = due.where(c.company_id == company).order_by(c.next_poll_at)
            taken += await self._take(more, lease, token, min(weight - 1, most - taken))
        return taken

    async def _heavy(self, token: str) -> list[tuple[str, int]]:
        """Return (company, weight) of the companies in this claim that weigh more than one."""
        held = select(integrations.c.company_id).where(integrations.c.lease_token == token)
        query = select(companies.c.id, companies.c.weight).where(companies.c.weight > 1, companies.c.id.in_(held))
        return [(row[0], row[1]) for row in await self._connection.execute(query)]

    async def _work(self, token: str, now: datetime) -> list[PollWork]:
        query = (
            select(integrations, *AGENT_COLUMNS, _has_waiting(now).label("has_waiting"))
            .select_from(_with_agent())
            .where(integrations.c.lease_token == token)
            .order_by(integrations.c.next_poll_at)
        )
        return [_poll_work(row) for row in await self._connection.execute(query)]

    async def held(self, scope: Scope, now: datetime) -> list[Row[Any]]:
        """Return (company_id, id, name) of integrations that some worker holds at this moment."""
        c = integrations.c
        query = (
            select(c.company_id, c.id, c.name)
            .select_from(_with_agent())
            .where(_pollable(scope), c.lease_token.is_not(None), c.lease_expires_at > now)
        )
        return list(await self._connection.execute(query))

    async def waiting(self, scope: Scope, now: datetime) -> list[Row[Any]]:
        """Return integrations that are not polled now: paused, or waiting for a time."""
        c = integrations.c
        query = (
            select(c.company_id, c.id, c.name, c.status, c.pause_reason, c.waiting_until, c.waiting_for, c.next_poll_at)
            .select_from(_with_agent())
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


def _kinds(room: Room) -> list[tuple[int, tuple[ColumnElement[bool], ...]]]:
    """Return how many of which kind to take: those that failed last time have only some of the places."""
    failed = integrations.c.failures > 0
    if room.suspects >= room.pieces:
        return [(room.pieces, ())]
    return [(room.pieces, (~failed,)), (room.suspects, (failed,))]


def _has_waiting(now: datetime) -> ColumnElement[bool]:
    """Whether some carts of a store may have to be read again: deferred ones, or, of its company, ones that are due."""
    c = carts.c
    deferred = exists().where(
        c.company_id == integrations.c.company_id, c.integration_id == integrations.c.id, c.awaits_read
    )
    mine = and_(c.company_id == integrations.c.company_id, c.next_check_at.is_not(None))
    return or_(deferred, select(func.min(c.next_check_at)).where(mine).scalar_subquery() < now)


def _due(scope: Scope, lease: Lease, room: Room) -> Select[Any]:
    """Return the query for what may be polled at all, without its order."""
    c = integrations.c
    return (
        select(c.company_id, c.id)
        .select_from(_with_agent())
        .where(_pollable(scope), unleased(integrations, lease.now), c.claims < MOST_CLAIMS)
        .where(or_(c.waiting_until.is_(None), c.waiting_until <= lease.now), room.admits(c.company_id))
    )


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


def _with_agent() -> Any:
    c = integrations.c
    on_agent = and_(company_agents.c.company_id == c.company_id, company_agents.c.id == c.agent_id)
    return integrations.join(company_agents, on_agent).join(companies, companies.c.id == c.company_id)


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


def _cursor(row: Row[Any]) -> Cursor:
    return Cursor(
        watermark=row.watermark,
        window_from=row.window_from,
        page_token=row.page_token,
        next_watermark=row.next_watermark,
        clock_offset=timedelta(seconds=row.clock_offset_seconds),
        pages=row.walk_pages,
    )


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
        cursor=_cursor(row),
        initial_lookback=timedelta(days=row.initial_lookback_days),
        period=None if period is None else timedelta(seconds=period),
        next_poll_at=row.next_poll_at,
        failures=row.failures,
        refusals=row.refusals,
        first_refused_at=row.first_refused_at,
        is_paused=row.status == "paused",
        has_trouble=row.last_error_code is not None or row.status != "active",
        has_waiting=row.has_waiting,
        claims=row.claims,
        budget=row.budget,
        notices=row.notices,
        token=row.lease_token,
    )
