"""An agent's abandoned carts: the payload made of them, the gate asked, and the deliveries that carry them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from backend.clock import Clock
from backend.db import Database, Transaction
from backend.domain.carts import Consent, Shopper
from backend.domain.gate import Case, Decision, Stage, Verdict, decide
from backend.domain.ids import event_id, new_id
from backend.domain.lifecycle import AgentRules, CartRow, CartState, refuses_contact
from backend.domain.payload import CartView, Entry, Sender, parcels, webhook_id
from backend.domain.work import Target
from backend.store.carts import CartStore
from backend.store.customers import CustomerStore
from backend.store.deliveries import CartDecision, DeliveryStore, NewDelivery

ABANDONED = "cart.abandoned"


@dataclass(frozen=True, slots=True)
class HandOff:
    """What a hand-off needs to know besides the carts. `reads`: cart id -> when its last read began."""

    company_id: str
    integration_id: str
    sender: Sender
    rules: AgentRules
    now: datetime
    cycle_id: str | None = None
    needs_fresh_read: bool = False
    reads: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(slots=True)
class HandOffPlan:
    """Decisions and deliveries ready to be written, after the carts they speak of."""

    new: list[CartDecision] = field(default_factory=list)
    again: list[CartDecision] = field(default_factory=list)
    deliveries: list[NewDelivery] = field(default_factory=list)
    handed_off: set[str] = field(default_factory=set)  # cart ids
    deferred: set[str] = field(default_factory=set)


class AbandonedCartAgentService:
    """Abandoned carts of agents, with company and customer, as partners see them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def views(self, tx: Transaction, company_id: str, rows: Sequence[CartRow]) -> list[CartView]:
        """Return stored carts with their lines and people."""
        lines = await CartStore(tx, company_id).lines_of([row.id for row in rows]) if rows else {}
        ids = [row.customer_id for row in rows if row.customer_id]
        known = await CustomerStore(tx, company_id).load(ids) if ids else {}
        found = []
        for row in rows:
            person = known.get(row.customer_id or "")
            shopper, consent = (person.shopper, person.consent) if person else (Shopper(), Consent())
            found.append(CartView(row, lines.get(row.id, ()), shopper, consent))
        return found

    async def plan(self, tx: Transaction, views: Sequence[CartView], handoff: HandOff) -> HandOffPlan:
        """Ask the gate for each cart and destination; carts already in a delivery are left as they are.

        Sets `awaits_read` on carts that are deferred until they were read again; the caller saves the carts.
        """
        plan = HandOffPlan()
        store = DeliveryStore(tx, handoff.company_id)
        targets = await store.targets(handoff.sender.agent_id)
        earlier = await store.decided([view.row.id for view in views], ABANDONED) if targets and views else {}
        for target in targets:
            self._plan_for(target, views, handoff, earlier, plan)
        for view in views:
            view.row.awaits_read = view.row.id in plan.deferred
        return plan

    def _plan_for(
        self,
        target: Target,
        views: Sequence[CartView],
        handoff: HandOff,
        earlier: Mapping[tuple[str, str, int], tuple[str, bool]],
        plan: HandOffPlan,
    ) -> None:
        allowed: list[Entry] = []
        decisions: list[tuple[CartView, str, str | None, Decision]] = []
        for view in views:
            row = view.row
            row_id, is_in_delivery = earlier.get((target.id, row.id, row.episode), (None, False))
            if is_in_delivery:
                continue
            decision = decide(_case(view, target, handoff))
            happening = event_id(handoff.integration_id, row.id, row.episode, ABANDONED)
            decisions.append((view, happening, row_id, decision))
            if decision.allows:
                allowed.append(Entry(view, happening))
                plan.handed_off.add(row.id)
            elif decision.verdict is Verdict.DEFER:
                plan.deferred.add(row.id)
        delivery_of = self._pack(target, allowed, handoff, plan)
        for view, happening, row_id, decision in decisions:
            entry = CartDecision(
                id=row_id or new_id(),
                delivery_id=delivery_of.get(happening),
                destination_id=target.id,
                cart_id=view.row.id,
                episode=view.row.episode,
                event_type=ABANDONED,
                revision="",
                event_id=happening,
                decision=decision,
            )
            (plan.again if row_id else plan.new).append(entry)

    def _pack(self, target: Target, entries: list[Entry], handoff: HandOff, plan: HandOffPlan) -> dict[str, str]:
        """Put allowed carts into deliveries; return event id -> delivery id."""
        delivery_of: dict[str, str] = {}
        for parcel in parcels(ABANDONED, handoff.sender, entries, target.max_carts):
            delivery = NewDelivery(
                id=new_id(),
                destination_id=target.id,
                agent_id=handoff.sender.agent_id,
                integration_id=handoff.integration_id,
                type=ABANDONED,
                webhook_id=webhook_id(target.id, [entry.event_id for entry in parcel.entries]),
                body=parcel.body,
                cart_count=len(parcel.entries),
                next_attempt_at=handoff.now,
                cycle_id=handoff.cycle_id,
            )
            plan.deliveries.append(delivery)
            delivery_of.update((entry.event_id, delivery.id) for entry in parcel.entries)
        return delivery_of

    async def write(self, tx: Transaction, plan: HandOffPlan, handoff: HandOff) -> None:
        """Store a plan's deliveries and decisions."""
        store = DeliveryStore(tx, handoff.company_id)
        await store.add(plan.deliveries, handoff.now)
        await store.add_decisions(plan.new, handoff.now)
        await store.save_decisions(plan.again, handoff.now)


def _case(view: CartView, target: Target, handoff: HandOff) -> Case:
    row = view.row
    return Case(
        event_type=ABANDONED,
        stage=Stage.WRITE,
        now=handoff.now,
        state=row.state,
        episode=row.episode,
        cart_episode=row.episode,
        abandon_at=row.abandoned_at or row.abandon_at(handoff.rules),
        horizon=handoff.rules.horizon,
        is_contactable=view.shopper.is_contactable,
        refuses_contact=refuses_contact(view.shopper, view.consent),
        is_erased=row.erased_at is not None,
        needs_fresh_read=handoff.needs_fresh_read,
        read_began_at=handoff.reads.get(row.id),
        include_uncontactable=target.include_uncontactable,
        include_opted_out=target.include_opted_out,
    )


def is_open(row: CartRow) -> bool:
    """Whether a hand-off of this cart may be asked for."""
    return row.state is CartState.ABANDONED and row.erased_at is None
