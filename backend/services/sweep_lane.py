"""The sweep lane: carts whose time is up are marked abandoned and handed off, or given up as lost."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import structlog

from backend.clock import Clock
from backend.db import Database, Transaction
from backend.domain.lanes import SWEEP
from backend.domain.lifecycle import CartRow, EventDraft, abandon, check_later, is_abandoned, is_lost, lose
from backend.domain.payload import CartView
from backend.domain.work import SweepWork, Tally
from backend.services.abandoned_carts import AbandonedCartAgentService, HandOff
from backend.services.leases import LeaseKeeper
from backend.services.metrics import Metrics
from backend.store.carts import CartStore, EventRow
from backend.store.cycles import add_counts
from backend.store.polls import make_due
from backend.store.sweeps import SweepStore
from backend.store.work import CartQueue, Room

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SweepNeeds:
    """What the lane works with."""

    database: Database
    clock: Clock
    leases: LeaseKeeper
    carts: AbandonedCartAgentService
    metrics: Metrics


class SweepLane:
    """Marks idle carts by their `next_check_at`, with the same hand-off that the intake uses.

    What it does counts for `cycle_id`. `rereads` names the platforms whose carts can be read again.
    """

    name = SWEEP
    places = 4  # stores whose carts are in hand at once

    def __init__(self, needs: SweepNeeds, rereads: Set[str]) -> None:
        self._database = needs.database
        self._clock = needs.clock
        self._leases = needs.leases
        self._carts = needs.carts
        self._metrics = needs.metrics
        self._rereads = rereads
        self.cycle_id: str | None = None

    async def claim(self, room: Room) -> list[SweepWork]:
        """Take carts whose time is up."""
        async with self._database.work() as tx:
            return await CartQueue(tx).claim(self._leases.terms(), room)

    async def work(self, piece: SweepWork) -> bool:
        """Decide one store's claimed carts; its company may have more than one claim takes."""
        await self._sweep(piece, self.cycle_id)
        return True

    async def _sweep(self, work: SweepWork, cycle_id: str | None) -> None:
        """Decide the claimed carts of one store in one commit; a cart that moved on meanwhile is left alone."""
        tally = Tally()
        async with self._database.transaction(work.company_id) as tx:
            now = self._clock.now()
            sweeps = SweepStore(tx, work.company_id)
            rows = await sweeps.load_held(work.cart_ids, work.token, now)
            agent, platform, shown = await sweeps.owner(work.integration_id)
            handoff = HandOff(
                company_id=work.company_id,
                integration_id=work.integration_id,
                sender=agent.sender(shown),
                rules=agent.rules,
                now=now,
                cycle_id=cycle_id,
                needs_fresh_read=platform in self._rereads,
            )
            abandoned, events = self._decide(rows, handoff)
            some_wait = await self._save(tx, rows, abandoned, events, handoff, tally)
            await CartStore(tx, work.company_id).release(work.integration_id, work.token)
            if cycle_id is not None and tally.counts:
                await add_counts(tx, work.company_id, (cycle_id, self._leases.worker_id), tally)
        if some_wait:  # apart from the rest: a poll holds its store's row while it waits for the carts held above
            async with self._database.transaction(work.company_id) as tx:
                await make_due(tx, work.company_id, work.integration_id, now)
        self._metrics.count(tally)
        log.info("sweep.finished", company_id=work.company_id, integration_id=work.integration_id, **tally.counts)

    def _decide(self, rows: list[CartRow], handoff: HandOff) -> tuple[list[CartRow], list[tuple[CartRow, EventDraft]]]:
        abandoned: list[CartRow] = []
        events: list[tuple[CartRow, EventDraft]] = []
        for row in rows:
            if is_abandoned(row, handoff.rules, handoff.now):
                events.append((row, abandon(row, handoff.rules)))
                abandoned.append(row)
            elif is_lost(row, handoff.rules, handoff.now):
                events.append((row, lose(row, handoff.now)))
            else:
                check_later(row, handoff.rules)  # the agent's figures were changed
        for row, _ in events:
            row.events += 1
        return abandoned, events

    async def _save(
        self,
        tx: Transaction,
        rows: list[CartRow],
        abandoned: list[CartRow],
        events: list[tuple[CartRow, EventDraft]],
        handoff: HandOff,
        tally: Tally,
    ) -> bool:
        """Save what was decided and hand off; return whether some carts wait to be read again first."""
        views: list[CartView] = await self._carts.views(tx, handoff.company_id, abandoned)
        plan = await self._carts.plan(tx, views, handoff)
        store = CartStore(tx, handoff.company_id)
        await store.save(rows, handoff.now)
        await store.append_events([_event(row, draft, handoff) for row, draft in events], handoff.now)
        await store.log_abandonments(abandoned, handoff.now)
        await self._carts.write(tx, plan, handoff)
        if abandoned:
            tally.counts["carts_abandoned"] += len(abandoned)
        if plan.deliveries:
            tally.counts["deliveries_made"] += len(plan.deliveries)
        for row in abandoned:
            if row.id in plan.handed_off:
                tally.add_value(row.currency, row.total)
        return bool(plan.deferred)


def _event(row: CartRow, draft: EventDraft, handoff: HandOff) -> EventRow:
    return EventRow(
        cart_id=row.id,
        seq=row.events,
        type=draft.type,
        episode=row.episode,
        occurred_at=draft.occurred_at,
        source="sweep",
        revision=row.revision,
        data={},
        cycle_id=handoff.cycle_id,
    )
