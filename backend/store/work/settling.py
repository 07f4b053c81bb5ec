"""Settling many polls of many companies in one commit: those that found nothing, and had nothing to clear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import String, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.cursor import Cursor
from backend.domain.ids import new_id
from backend.models import integrations, poll_cycle_counts, poll_cycles
from backend.models.base import UtcDateTime
from backend.store.bulk import Bulk
from backend.store.cycles import ROW_OF

TIMED = ("poll_ms", "fetch_ms", "save_ms")


@dataclass(frozen=True, slots=True)
class EmptyPoll:
    """A poll that found nothing. `timed`: poll, fetch and save time in ms; `pages` were fetched."""

    company_id: str
    integration_id: str
    token: str
    cursor: Cursor
    now: datetime
    next_poll_at: datetime
    budget: dict[str, Any] | None
    notices: list[str] | None
    cycle_id: str
    worker_id: str
    platform: str
    pages: int
    timed: tuple[int, int, int]


_SETTLED = Bulk(
    integrations,
    (
        "watermark",
        "window_from",
        "page_token",
        "next_watermark",
        "next_poll_at",
        "budget",
        "notices",
        "last_polled_at",
        "last_success_at",
        "updated_at",
        "lease_token",
        "lease_expires_at",
        "claims",
        "walk_pages",
        "clock_offset_seconds",
        "id",
        "company_id",
    ),
    counted=("polls", "empty_polls"),
)
_COUNTS = Bulk(
    poll_cycle_counts,
    ("company_id", "id", "cycle_id", "worker_id", "platforms", "value", "polls_succeeded", "pages", *TIMED),
)


_IDS, _TOKENS = (bindparam(name, expanding=True, type_=String) for name in ("ids", "tokens"))
_HELD = (
    select(integrations.c.id, integrations.c.lease_token)
    .where(integrations.c.id.in_(_IDS), integrations.c.lease_token.in_(_TOKENS))
    .where(integrations.c.lease_expires_at > bindparam("now", type_=UtcDateTime))
    .with_for_update(key_share=True)
)
_KNOWN = select(poll_cycles.c.id).where(poll_cycles.c.id.in_(_IDS))


async def settle_empty(connection: AsyncConnection, polls: Sequence[EmptyPoll]) -> set[str]:
    """Settle polls whose leases still hold; return the ids of their integrations.

    Their cycle's counts only grow by what they share: a poll each, its pages and times.
    """
    values = {
        "ids": [poll.integration_id for poll in polls],
        "tokens": sorted({poll.token for poll in polls}),
        "now": polls[0].now,
    }
    found = {(row.id, row.lease_token) for row in await connection.execute(_HELD, values)}
    kept = [poll for poll in polls if (poll.integration_id, poll.token) in found]
    await _SETTLED.update_keyed(connection, [_settled(poll) for poll in kept], keys=2)
    known = await _known_cycles(connection, {poll.cycle_id for poll in kept})
    counts = _summed([poll for poll in kept if poll.cycle_id in known])
    await _COUNTS.add_up(connection, counts, ROW_OF, merged=("platforms",))
    return {poll.integration_id for poll in kept}


async def _known_cycles(connection: AsyncConnection, wanted: set[str]) -> set[str]:
    """Return which of these cycles are still kept."""
    return set((await connection.execute(_KNOWN, {"ids": sorted(wanted)})).scalars())


def _settled(poll: EmptyPoll) -> tuple[Any, ...]:
    cursor = poll.cursor
    offset = round(cursor.clock_offset.total_seconds())
    moved = (cursor.watermark, cursor.window_from, cursor.page_token, cursor.next_watermark)
    told = (poll.budget, poll.notices, poll.now, poll.now, poll.now)
    return (*moved, poll.next_poll_at, *told, None, None, 0, cursor.pages, offset, poll.integration_id, poll.company_id)


def _summed(polls: Sequence[EmptyPoll]) -> list[tuple[Any, ...]]:
    """Return one row per company, cycle and worker, always in the same order, so that no two workers wait in a ring."""
    sums: dict[tuple[str, str, str], Counter[str]] = {}
    platforms: dict[tuple[str, str, str], set[str]] = {}
    for poll in polls:
        key = (poll.company_id, poll.cycle_id, poll.worker_id)
        into = sums.setdefault(key, Counter())
        into["polls_succeeded"] += 1
        into["pages"] += poll.pages
        for name, elapsed in zip(TIMED, poll.timed, strict=True):
            into[name] += elapsed
        platforms.setdefault(key, set()).add(poll.platform)
    rows: list[tuple[Any, ...]] = []
    for key, into in sorted(sums.items()):
        company, cycle, worker = key
        counted = (into["polls_succeeded"], into["pages"], *(into[name] for name in TIMED))
        rows.append((company, new_id(), cycle, worker, sorted(platforms[key]), {}, *counted))
    return rows
