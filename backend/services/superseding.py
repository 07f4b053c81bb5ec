"""The gate's second question, from freshly loaded rows right before an attempt, and what a no leads to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from backend.clock import Clock
from backend.db import Database, Transaction
from backend.domain.carts import Answer
from backend.domain.gate import Case, Decision, Stage, decide
from backend.domain.ids import new_id
from backend.domain.lifecycle import CartState
from backend.domain.payload import CartView, Entry, Parcel, parcels, webhook_id
from backend.domain.work import DeliveryWork, Target
from backend.services.abandoned_carts import AbandonedCartAgentService
from backend.store.carts import CartStore
from backend.store.deliveries import CartDecision, DeliveryStore, HeldCart, NewDelivery
from backend.store.sweeps import SweepStore

log = structlog.get_logger()

# Past its horizon a cart is lost, which the state says; the date itself is asked only when a delivery is written.
NO_HORIZON = timedelta.max


@dataclass(frozen=True, slots=True)
class Asked:
    """What the gate said of some deliveries: which are `denied`, and whose carts (customers' ids) each one holds."""

    denied: frozenset[str]
    people: Mapping[str, Set[str]]


NOTHING_ASKED = Asked(frozenset(), {})


class Superseding:
    """Lets a delivery go on only while the gate still allows every cart in it."""

    def __init__(self, database: Database, clock: Clock, carts: AbandonedCartAgentService) -> None:
        self._database = database
        self._clock = clock
        self._carts = carts

    async def ask(self, tx: Transaction, part: Sequence[DeliveryWork], target: Target) -> Asked:
        """Ask whether these deliveries, all to `target`, may still be sent as they are."""
        store = DeliveryStore(tx, part[0].company_id)
        held = await store.held_carts(sorted(work.id for work in part))
        decisions = self._decide(held, target)
        people: dict[str, set[str]] = defaultdict(set)
        for each in held:
            if each.customer_id is not None:
                people[each.delivery_id].add(each.customer_id)
        return Asked(frozenset(each.delivery_id for each in held if not decisions[each.id].allows), people)

    def _decide(self, held: Sequence[HeldCart], target: Target) -> dict[str, Decision]:
        now = self._clock.now()
        return {each.id: decide(attempt_case(each, target, now)) for each in held}

    async def supersede(self, work: DeliveryWork) -> None:
        """Close one delivery and move the carts that may still go to a new one, in one transaction."""
        async with self._database.transaction(work.company_id) as tx:
            store, now = DeliveryStore(tx, work.company_id), self._clock.now()
            ids = [each.cart_id for each in await store.held_carts([work.id])]
            rows = await CartStore(tx, work.company_id).load(ids, lock=True)
            held = await store.held_carts([work.id])  # once more, now that nobody can change the carts
            target, integration_id = await store.target_of(work.id)
            views = {view.row.id: view for view in await self._carts.views(tx, work.company_id, rows)}
            decisions = self._decide(held, target)
            keep = [each for each in held if decisions[each.id].allows]
            made = await self._parcels(tx, work, integration_id, [(each, views[each.cart_id]) for each in keep], target)
            fresh = [(_replacement(work, parcel, target, integration_id), parcel) for parcel in made]
            replacement = fresh[0][0].id if fresh else None
            if not await store.supersede(work.id, work.token, replacement, now):
                return  # the lease was lost: somebody else decides now
            await store.add([delivery for delivery, _ in fresh], now)
            moved_to = {entry.event_id: delivery.id for delivery, parcel in fresh for entry in parcel.entries}
            saved = [_redecided(each, moved_to.get(each.event_id), target.id, decisions[each.id]) for each in held]
            await store.save_decisions(saved, now)
        rules: dict[str, int] = defaultdict(int)
        for each in held:
            rules[decisions[each.id].rule or "allowed"] += 1
        log.info("delivery.superseded", company_id=work.company_id, delivery_id=work.id, rules=dict(rules))

    async def _parcels(
        self,
        tx: Transaction,
        work: DeliveryWork,
        integration_id: str,
        keep: list[tuple[HeldCart, CartView]],
        target: Target,
    ) -> list[Parcel]:
        if not keep:
            return []
        agent, _platform, shown = await SweepStore(tx, work.company_id).owner(integration_id)
        entries = [Entry(view, each.event_id) for each, view in keep]
        return parcels(work.type, agent.sender(shown), entries, target.max_carts)


def _replacement(work: DeliveryWork, parcel: Parcel, target: Target, integration_id: str) -> NewDelivery:
    """Return the delivery that takes over: a new message id, the old one's attempts and times."""
    return NewDelivery(
        id=new_id(),
        destination_id=target.id,
        agent_id=target.agent_id,
        integration_id=integration_id,
        type=work.type,
        webhook_id=webhook_id(target.id, [entry.event_id for entry in parcel.entries]),
        body=parcel.body,
        cart_count=len(parcel.entries),
        next_attempt_at=work.due_at,
        cycle_id=work.cycle_id,
        attempts=work.attempts - 1,  # the claim counted an attempt that was never made
        first_attempt_at=work.first_attempt_at if work.attempts > 1 else None,
    )


def _redecided(each: HeldCart, moved_to: str | None, destination_id: str, decision: Decision) -> CartDecision:
    return CartDecision(
        id=each.id,
        delivery_id=moved_to or each.delivery_id,
        destination_id=destination_id,
        cart_id=each.cart_id,
        episode=each.episode,
        event_type=each.event_type,
        revision="",
        event_id=each.event_id,
        decision=decision,
    )


def attempt_case(held: HeldCart, target: Target, now: datetime) -> Case:
    """Return the facts for asking the gate again right before an attempt."""
    answers = [held.consent_email] if held.has_email else []
    if held.has_phone:
        answers.append(held.consent_sms)
    return Case(
        event_type=held.event_type,
        stage=Stage.ATTEMPT,
        now=now,
        state=CartState(held.state),
        episode=held.episode,
        cart_episode=held.cart_episode,
        abandon_at=held.abandoned_at or now,
        horizon=NO_HORIZON,
        is_contactable=held.has_email or held.has_phone,
        refuses_contact=bool(answers) and all(answer == Answer.NO for answer in answers),
        is_erased=held.is_erased,
        include_uncontactable=target.include_uncontactable,
        include_opted_out=target.include_opted_out,
    )
