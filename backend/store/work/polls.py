"""The poll lane's queue: integrations whose time has come."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.cursor import Cursor
from backend.domain.ids import new_id
from backend.domain.lifecycle import AgentRules
from backend.domain.payload import CompanyCard
from backend.domain.work import AgentCard, PollWork, Scope
from backend.models import carts, companies, company_agents, integrations
from backend.models.base import UtcDateTime
from backend.store.work.leases import MOST, NOW, TOKEN, Lease, Room, admitted, claiming, terms, unleased

# A poll that was claimed this often without ever being settled kills its worker; it is left alone and shown.
MOST_CLAIMS = 10
MOCK = "mock"
DUE_BY = bindparam("due_by", type_=UtcDateTime)
Kind = Literal["any", "sound", "failing"]


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
        values = terms(lease, token, full=sorted(room.full), due_by=due_by)
        for most, kind in _kinds(room):
            if room.is_crowded:
                left -= await self._round(scope, kind, values, min(most, left))
            left -= await self._take(_by_time(scope, kind), values, min(most, left))
        return await self._work(values) if left < room.pieces else []

    async def claim_each(self, scope: Scope, lease: Lease, room: Room, *, after: str) -> list[PollWork]:
        """Take every integration that may be polled now, due or not, in the order of their ids, from `after` on."""
        values = terms(lease, new_id(), full=sorted(room.full), after=after)
        return await self._work(values) if await self._take(_each(scope), values, room.pieces) else []

    async def _take(self, claim: Any, values: dict[str, Any], most: int) -> int:
        return len((await self._connection.execute(claim, {**values, "most": most})).all()) if most > 0 else 0

    async def _round(self, scope: Scope, kind: Kind, values: dict[str, Any], most: int) -> int:
        """Take the longest due integration of each company, and more of those that weigh more."""
        taken = await self._take(_heads(scope, kind), values, most)
        for company, weight in (await self._connection.execute(HEAVY, values)).all():
            more = min(weight - 1, most - taken)
            taken += await self._take(_by_time(scope, kind, one_company=True), {**values, "company": company}, more)
        return taken

    async def _work(self, values: dict[str, Any]) -> list[PollWork]:
        lease = values["until"] - values["now"]
        return [_poll_work(row, lease) for row in await self._connection.execute(CLAIMED, values)]

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


def _kinds(room: Room) -> list[tuple[int, Kind]]:
    """Return how many of which kind to take: those that failed last time have only some of the places."""
    if room.suspects >= room.pieces:
        return [(room.pieces, "any")]
    return [(room.pieces, "sound"), (room.suspects, "failing")]


def _due(scope: Scope, kind: Kind = "any") -> Select[Any]:
    """Return the query for what may be polled at all, without its order."""
    c = integrations.c
    query = (
        select(c.company_id, c.id)
        .select_from(_with_agent())
        .where(_pollable(scope), unleased(integrations), c.claims < MOST_CLAIMS)
        .where(or_(c.waiting_until.is_(None), c.waiting_until <= NOW), admitted(c.company_id))
    )
    return query if kind == "any" else query.where(c.failures > 0 if kind == "failing" else c.failures == 0)


def _claiming(due: Select[Any]) -> Any:
    return claiming(integrations, due.limit(MOST), claims=integrations.c.claims + 1)


@cache
def _by_time(scope: Scope, kind: Kind, *, one_company: bool = False) -> Any:
    """Return the claim of the longest due, of all companies or of one."""
    c = integrations.c
    due = _due(scope, kind).where(c.next_poll_at <= DUE_BY).order_by(c.next_poll_at)
    return _claiming(due.where(c.company_id == bindparam("company")) if one_company else due)


@cache
def _each(scope: Scope) -> Any:
    """Return the claim of whatever may be polled, from an id on."""
    c = integrations.c
    return _claiming(_due(scope).where(c.status == "active", c.id > bindparam("after")).order_by(c.id))


@cache
def _heads(scope: Scope, kind: Kind) -> Any:
    """Return the claim of each company's longest due: one probe of an index per company."""
    c, each = integrations.c, companies.alias("each")
    mine = _due(scope, kind).with_only_columns(c.id).where(c.company_id == each.c.id, c.next_poll_at <= DUE_BY)
    head = mine.order_by(c.next_poll_at).limit(1).correlate(each).scalar_subquery()
    heads = select(each.c.id.label("company_id"), head.label("id")).where(each.c.status == "active").subquery("heads")
    is_head = (heads.c.company_id == c.company_id) & (heads.c.id == c.id)
    return _claiming(
        select(c.company_id, c.id).join(heads, is_head).where(unleased(integrations)).order_by(c.next_poll_at)
    )


def _has_waiting() -> ColumnElement[bool]:
    """Whether some carts of a store may have to be read again: deferred ones, or, of its company, ones that are due."""
    c = carts.c
    deferred = exists().where(
        c.company_id == integrations.c.company_id, c.integration_id == integrations.c.id, c.awaits_read
    )
    mine = and_(c.company_id == integrations.c.company_id, c.next_check_at.is_not(None))
    return or_(deferred, select(func.min(c.next_check_at)).where(mine).scalar_subquery() < NOW)


HEAVY = select(companies.c.id, companies.c.weight).where(
    companies.c.weight > 1,
    companies.c.id.in_(select(integrations.c.company_id).where(integrations.c.lease_token == TOKEN)),
)
CLAIMED = (
    select(integrations, *AGENT_COLUMNS, _has_waiting().label("has_waiting"))
    .select_from(_with_agent())
    .where(integrations.c.lease_token == TOKEN)
    .order_by(integrations.c.next_poll_at)
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


def _poll_work(row: Row[Any], lease: timedelta) -> PollWork:
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
        lease=lease,
    )
