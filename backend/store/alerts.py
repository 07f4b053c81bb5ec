"""Who is in trouble, across companies, and the alerts that tell of it: one open row for each subject and kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, delete, desc, exists, func, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.health import CLAIMS_TOLD, DEAD_TOLD, FAILURES_TOLD, objective
from backend.domain.ids import new_id
from backend.domain.work import Scope
from backend.models import alerts, companies, deliveries, destinations, integrations
from backend.store.listings import Found, Place, found, newest, within
from backend.store.status import watched, with_agent

MOST_LOOKED_AT = 5_000  # rows of one look; those with an open alert first, so that no alert stays open for want of room
AT_ONCE = 500  # rows of one statement
LONGEST_PERIOD = 86_400  # seconds


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alert that should be open."""

    company_id: str
    subject: str
    subject_id: str
    kind: str
    words: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What only one open alert may have."""
        return self.company_id, self.subject_id, self.kind


class AlertStore:
    """Alerts of all companies; needs a transaction as the worker's role, or as a company for its own."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    # -- who may be in trouble -----------------------------------------------------------------------------------

    async def stores(self, scope: Scope, now: datetime, interval: int) -> list[Row[Any]]:
        """Return integrations that may be in trouble, by a rough measure, and all that have an open alert.

        `is_watched` tells whether the integration is one that should be polled.
        """
        c = integrations.c
        is_watched, cutoff = watched(scope), _cutoff(now, interval)
        is_suspect = or_(
            and_(c.status == "paused", c.pause_reason == "credentials_rejected"),
            and_(
                c.status == "active",
                or_(
                    c.claims >= CLAIMS_TOLD,
                    func.coalesce(c.watermark, c.created_at) < cutoff,
                    func.coalesce(c.last_success_at, c.created_at) < cutoff,
                ),
            ),
        )
        has_alert = c.id.in_(_subjects("integration"))
        query = (
            select(integrations, companies.c.name.label("company_name"), is_watched.label("is_watched"))
            .select_from(with_agent())
            .where(or_(has_alert, and_(is_watched, is_suspect)))
            .order_by(desc(has_alert), c.watermark)
            .limit(MOST_LOOKED_AT)
        )
        return list(await self._connection.execute(query))

    async def destinations(self, now: datetime) -> list[Row[Any]]:
        """Return destinations that are in trouble or have an open alert; `has_dead`: gave up on a delivery lately."""
        to, d = destinations.c, deliveries.c
        has_dead = exists().where(
            d.company_id == to.company_id,
            d.destination_id == to.id,
            d.state == "dead",
            d.finished_at > now - DEAD_TOLD,
        )
        has_alert = to.id.in_(_subjects("destination"))
        in_trouble = and_(to.status != "inactive", or_(to.status == "disabled", to.failures >= FAILURES_TOLD, has_dead))
        query = (
            select(destinations, companies.c.name.label("company_name"), has_dead.label("has_dead"))
            .join(companies, companies.c.id == to.company_id)
            .where(or_(has_alert, in_trouble))
            .order_by(desc(has_alert))
            .limit(MOST_LOOKED_AT)
        )
        return list(await self._connection.execute(query))

    # -- alerts --------------------------------------------------------------------------------------------------

    async def open_ones(self) -> list[Row[Any]]:
        """Return every open alert."""
        return list(await self._connection.execute(select(alerts).where(alerts.c.closed_at.is_(None))))

    async def raise_all(self, alarms: Sequence[Alarm], now: datetime) -> list[Row[Any]]:
        """Open alerts and return those that were not open before: another process may have been faster."""
        maker = sqlite.insert if self._connection.dialect.name == "sqlite" else postgresql.insert
        opened: list[Row[Any]] = []
        for part in _parts(alarms):
            rows = [
                {
                    "company_id": alarm.company_id,
                    "id": new_id(),
                    "subject": alarm.subject,
                    "subject_id": alarm.subject_id,
                    "kind": alarm.kind,
                    "words": alarm.words,
                    "opened_at": now,
                    "seen_at": now,
                }
                for alarm in part
            ]
            made = maker(alerts).values(rows).on_conflict_do_nothing().returning(alerts)
            opened.extend(await self._connection.execute(made))
        return opened

    async def close(self, ids: Sequence[str], now: datetime) -> list[Row[Any]]:
        """Close alerts and return those that were still open."""
        closed: list[Row[Any]] = []
        for part in _parts(ids):
            query = update(alerts).where(alerts.c.id.in_(part), alerts.c.closed_at.is_(None))
            closed.extend(await self._connection.execute(query.values(closed_at=now).returning(alerts)))
        return closed

    async def see_again(self, words: Mapping[str, str], now: datetime) -> None:
        """Note that alerts still hold; `words` by id."""
        for alert_id, said in words.items():
            query = update(alerts).where(alerts.c.id == alert_id, alerts.c.closed_at.is_(None))
            await self._connection.execute(query.values(words=said, seen_at=now))

    async def forget(self, before: datetime) -> None:
        """Delete alerts that were closed before a time."""
        await self._connection.execute(delete(alerts).where(alerts.c.closed_at < before))

    async def listed(
        self, only: frozenset[str] | None, *, is_open: bool | None, limit: int, after: Place | None = None
    ) -> list[Found]:
        """Return alerts of these companies, or of all when None, newest first."""
        query = select(alerts, companies.c.name.label("company")).join(companies, companies.c.id == alerts.c.company_id)
        query = query.where(within(alerts.c.company_id, only))
        if is_open is not None:
            query = query.where(alerts.c.closed_at.is_(None) if is_open else alerts.c.closed_at.is_not(None))
        return found(await self._connection.execute(newest(query, alerts, "opened_at", limit, after)))

    async def counts(self, only: frozenset[str] | None = None) -> dict[str, int]:
        """Return how many alerts are open, by kind; `only` of these companies, where it is given."""
        mine = within(alerts.c.company_id, only)
        query = select(alerts.c.kind, func.count()).where(alerts.c.closed_at.is_(None), mine).group_by(alerts.c.kind)
        return {row[0]: row[1] for row in await self._connection.execute(query)}


def _subjects(subject: str) -> Any:
    return select(alerts.c.subject_id).where(alerts.c.subject == subject, alerts.c.closed_at.is_(None))


def _cutoff(now: datetime, interval: int) -> ColumnElement[Any]:
    """Return the watermark below which a store may be late: its objective, its period rounded down to a power of two.

    Both databases can compare times, but each adds seconds from a column in its own way.
    """
    period = func.coalesce(integrations.c.poll_interval_seconds, interval)
    steps = [interval]
    while steps[-1] < LONGEST_PERIOD:
        steps.append(steps[-1] * 2)
    limits = [(period < above, _moment(now - objective(below, interval))) for below, above in _pairs(steps)]
    return case(*limits, else_=_moment(now - objective(steps[-1], interval)))


def _pairs(steps: Sequence[int]) -> Iterable[tuple[int, int]]:
    return zip(steps, [*steps[1:], 2 * steps[-1]], strict=True)


def _moment(at: datetime) -> ColumnElement[datetime]:
    return literal(at, integrations.c.watermark.type)


def _parts(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + AT_ONCE] for start in range(0, len(values), AT_ONCE))


UNTIL_FORGOTTEN = timedelta(days=90)
