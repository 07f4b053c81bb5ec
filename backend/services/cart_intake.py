"""Save one page: carts, people, items, events, abandonments, deliveries and the cursor, in one commit."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from backend.db import Database, Transaction
from backend.domain import lifecycle
from backend.domain.carts import Answer, CartPage, Consent, SeenCart, Shopper, UnreadableRecord
from backend.domain.cursor import Cursor
from backend.domain.ids import new_id
from backend.domain.lifecycle import CartRow, Change, EventDraft, Kind
from backend.domain.payload import CartView
from backend.domain.work import PollWork, Tally
from backend.services.abandoned_carts import AbandonedCartAgentService, HandOff, is_open
from backend.services.keyring import Keyring, Subjects
from backend.store.carts import CartStore, EventRow
from backend.store.customers import CustomerRow, CustomerStore, KeyStore
from backend.store.cycles import add_counts
from backend.store.polls import PollStore, QuarantineStore


@dataclass(frozen=True, slots=True)
class Intake:
    """One page to be saved. `cursor` is None for a re-read, which moves none."""

    work: PollWork
    page: CartPage
    cursor: Cursor | None
    read_began_at: datetime
    now: datetime
    cycle_id: str
    worker_id: str
    rereads: bool


@dataclass(slots=True, eq=False)
class Look:
    """One cart of the page: what was seen (None for an exclusion) and what it changed."""

    change: Change
    seen: SeenCart | None
    person: CustomerRow | None = None

    @property
    def row(self) -> CartRow:
        """The cart as it is to be stored."""
        return self.change.row


@dataclass(slots=True)
class SavedPage:
    """What a page came to."""

    tally: Tally = field(default_factory=Tally)
    waits_for_read: bool = False
    is_counted: bool = False  # its tally went into the cycle's counts with the commit


class CartIntake:
    """Turns a `CartPage` into rows."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        carts: AbandonedCartAgentService,
        checkpoint: Callable[[str], Awaitable[None]],
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._carts = carts
        self._checkpoint = checkpoint

    async def save_page(self, intake: Intake) -> SavedPage:
        """Save a page in one commit, fenced by the poll's lease. Raises `LeaseLost` with nothing changed."""
        saved = SavedPage()
        await self._checkpoint("page_fetched")
        async with self._database.transaction(intake.work.company_id) as tx:
            await self._move_cursor(tx, intake)
            looks = await self._look(tx, intake)
            await self._save_people(tx, intake, looks)
            await self._save_carts(tx, intake, looks, saved)
            await self._quarantine(tx, intake, saved)
            saved.is_counted = bool(saved.tally.counts)
            saved.tally.counts["carts_seen"] = len(intake.page.carts)
            if saved.is_counted:
                await add_counts(tx, intake.work.company_id, (intake.cycle_id, intake.worker_id), saved.tally)
            await self._checkpoint("before_commit")
        await self._checkpoint("after_commit")
        return saved

    async def _move_cursor(self, tx: Transaction, intake: Intake) -> None:
        store = PollStore(tx, intake.work)
        if intake.cursor is None:
            await store.change(intake.now, updated_at=intake.now)
        else:
            await store.move_cursor(intake.cursor, intake.now)

    async def _look(self, tx: Transaction, intake: Intake) -> list[Look]:
        """Fold the page into what is stored; the same cart twice in a page counts by its newest look."""
        newest: dict[str, SeenCart] = {}
        for seen in intake.page.carts:
            other = newest.get(seen.source_cart_id)
            if other is None or other.updated_at <= seen.updated_at:
                newest[seen.source_cart_id] = seen
        excluded = {each.source_cart_id: each.reason for each in intake.page.exclusions}
        known = await CartStore(tx, intake.work.company_id).load_by_source(
            intake.work.integration_id, [*newest, *excluded]
        )
        looks = [Look(self._fold(known.get(source_id), seen, intake), seen) for source_id, seen in newest.items()]
        for source_id, reason in excluded.items():
            if source_id in known and source_id not in newest:
                looks.append(Look(lifecycle.exclude(known[source_id], reason, intake.now), None))
        return looks

    def _fold(self, row: CartRow | None, seen: SeenCart, intake: Intake) -> Change:
        rules = intake.work.agent.rules
        if row is None:
            ids = (new_id(), intake.work.integration_id, intake.work.agent.id)
            return lifecycle.first_sight(seen, ids, rules, intake.now)
        return lifecycle.next_sight(row, seen, rules, intake.now)

    async def _save_people(self, tx: Transaction, intake: Intake, looks: Sequence[Look]) -> None:
        """Find or make the person behind each new or changed cart, and link the cart to them."""
        wanted = [(look, _identity(look.seen)) for look in looks if look.seen and _is_news(look)]
        store = CustomerStore(tx, intake.work.company_id)
        identities = sorted({identity for _, identity in wanted if identity})
        if not identities:
            return
        known = await store.load_by_identity(intake.work.integration_id, identities)
        fresh: dict[str, CustomerRow] = {}
        changed: dict[str, CustomerRow] = {}
        for look, identity in wanted:
            if identity is None or look.seen is None:
                continue
            old = changed.get(identity) or fresh.get(identity) or known.get(identity)
            person = _merged(old, identity, look.seen)
            if old is None or identity in fresh:
                fresh[identity] = person
            elif person != old:
                changed[identity] = person
            look.person, look.row.customer_id = person, person.id
        await store.add(intake.work.integration_id, list(fresh.values()), intake.now)
        await store.save(list(changed.values()), intake.now)

    async def _save_carts(self, tx: Transaction, intake: Intake, looks: list[Look], saved: SavedPage) -> None:
        abandoned = self._abandon_due(intake, looks)
        for look in looks:
            look.row.events += len(look.change.events)
        handoff = self._handoff(intake, looks)
        asked = {look for look in looks if is_open(look.row) and _asks_again(look, abandoned)}
        views = await self._views(tx, intake.work.company_id, [look for look in looks if look in asked])
        plan = await self._carts.plan(tx, views, handoff)

        await self._store(tx, intake, looks, asked)
        await self._append_events(tx, intake, looks)
        await CartStore(tx, intake.work.company_id).log_abandonments([look.row for look in abandoned], intake.now)
        await self._carts.write(tx, plan, handoff)

        saved.waits_for_read = bool(plan.deferred)
        _count(saved.tally, looks, abandoned)
        if plan.deliveries:
            saved.tally.counts["deliveries_made"] += len(plan.deliveries)
        for view in views:
            if view.row.id in plan.handed_off:
                saved.tally.add_value(view.row.currency, view.row.total)

    async def _store(self, tx: Transaction, intake: Intake, looks: list[Look], asked: set[Look]) -> None:
        store = CartStore(tx, intake.work.company_id)
        fresh = [look for look in looks if look.change.kind is Kind.NEW]
        changed = [look for look in looks if look.change.kind is Kind.CHANGED]
        waited = [look for look in asked if look.change.kind in {Kind.SAME, Kind.STALE}]
        await store.add([look.row for look in fresh], intake.now)
        await store.save([look.row for look in (*changed, *waited)], intake.now)
        await store.replace_lines({look.row.id: look.seen.lines for look in fresh if look.seen}, known=False)
        await store.replace_lines({look.row.id: look.seen.lines for look in changed if look.seen}, known=True)

    def _abandon_due(self, intake: Intake, looks: Sequence[Look]) -> set[Look]:
        rules = intake.work.agent.rules
        current = [look for look in looks if look.change.kind is not Kind.STALE]
        due = {look for look in current if lifecycle.is_abandoned(look.row, rules, intake.now)}
        for look in due:
            look.change.events.append(lifecycle.abandon(look.row, rules))
            if look.change.kind is Kind.SAME:
                look.change.kind = Kind.CHANGED
        return due

    def _handoff(self, intake: Intake, looks: Sequence[Look]) -> HandOff:
        return HandOff(
            company_id=intake.work.company_id,
            integration_id=intake.work.integration_id,
            sender=intake.work.agent.sender(intake.work.platform_shown),
            rules=intake.work.agent.rules,
            now=intake.now,
            cycle_id=intake.cycle_id,
            needs_fresh_read=intake.rereads,
            reads={look.row.id: intake.read_began_at for look in looks},
        )

    async def _views(self, tx: Transaction, company_id: str, looks: Sequence[Look]) -> list[CartView]:
        """Return what receivers see: the content of this look, the person as known by now."""
        strangers = [look.row.customer_id for look in looks if look.person is None and look.row.customer_id]
        people = await CustomerStore(tx, company_id).load(strangers) if strangers else {}
        views = []
        for look in looks:
            person = look.person or people.get(look.row.customer_id or "")
            shopper, consent = (person.shopper, person.consent) if person else (Shopper(), Consent())
            views.append(CartView(look.row, look.seen.lines if look.seen else (), shopper, consent))
        return views

    async def _append_events(self, tx: Transaction, intake: Intake, looks: Sequence[Look]) -> None:
        speaking = [look for look in looks if look.change.events]
        if not speaking:
            return
        company = intake.work.company_id
        with_content = [look for look in speaking if any(event.has_content for event in look.change.events)]
        fresh = {look.row.id: look.row.customer_id for look in with_content if look.change.kind is Kind.NEW}
        ids = [look.row.id for look in with_content]
        subjects = await self._keyring.subjects(tx, company, ids, fresh, intake.now)
        await KeyStore(tx, company).add_subject_keys(subjects.made, intake.now)
        linked = {look.row.id: look.row.customer_id for look in with_content if look.row.customer_id}
        await KeyStore(tx, company).link({cart: who for cart, who in linked.items() if who and cart not in fresh})
        events: list[EventRow] = []
        for look in speaking:
            first = look.row.events - len(look.change.events)
            for offset, draft in enumerate(look.change.events):
                events.append(_event(look, draft, first + offset + 1, subjects, intake))
        await CartStore(tx, company).append_events(events, intake.now)

    async def _quarantine(self, tx: Transaction, intake: Intake, saved: SavedPage) -> None:
        work, now = intake.work, intake.now
        store = QuarantineStore(tx, work.company_id)
        if intake.page.unreadable:
            rows = {_quarantine_id(work.integration_id, record): record for record in intake.page.unreadable}
            known = await store.known(work.integration_id, list(rows))
            sealed = [
                await self._sealed_record(tx, intake, key, record) for key, record in rows.items() if key not in known
            ]
            await store.add(work.integration_id, sealed, now)
            await store.seen_again(work.integration_id, sorted(known), now)
            saved.tally.counts["records_quarantined"] += len(sealed)
        readable = [seen.source_cart_id for seen in intake.page.carts]
        readable += [excluded.source_cart_id for excluded in intake.page.exclusions]
        if readable:
            await store.close(work.integration_id, readable)

    async def _sealed_record(
        self, tx: Transaction, intake: Intake, key: str, record: UnreadableRecord
    ) -> dict[str, Any]:
        place = (intake.work.company_id, "quarantine", "record_sealed", key)
        text = record.raw.decode("utf-8", "replace")
        sealed, version = await self._keyring.seal_json(tx, place, {"record": text}, intake.now)
        return {
            "id": key,
            "source_cart_id": record.source_cart_id,
            "reason": record.reason,
            "record_sealed": sealed,
            "record_version": version,
        }


def _is_news(look: Look) -> bool:
    return look.change.kind in {Kind.NEW, Kind.CHANGED}


def _asks_again(look: Look, abandoned: set[Look]) -> bool:
    """Whether the gate is asked for this cart now: just abandoned, read while waiting, or contact came late."""
    return look in abandoned or look.row.awaits_read or look.change.contact_came


def _identity(seen: SeenCart) -> str | None:
    """Return the person's identity; somebody without any contact is known by the cart alone."""
    identity = lifecycle.identity_of(seen.shopper)
    if identity is None and seen.shopper != Shopper():
        return f"cart:{seen.source_cart_id}"
    return identity


def _merged(old: CustomerRow | None, identity: str, seen: SeenCart) -> CustomerRow:
    """Add what a look says of a person to what is known; a blank never erases, an erased person stays blank."""
    if old is None:
        return CustomerRow(new_id(), identity, seen.shopper, seen.consent)
    if old.is_erased:
        return old
    now, was = seen.shopper, old.shopper
    shopper = Shopper(
        id=now.id or was.id,
        email=now.email or was.email,
        phone=now.phone or was.phone,
        first_name=now.first_name or was.first_name,
        last_name=now.last_name or was.last_name,
        locale=now.locale or was.locale,
        country=now.country or was.country,
        is_guest=now.is_guest and was.is_guest,
    )
    said, before = seen.consent, old.consent
    consent = Consent(
        email=said.email if said.email is not Answer.UNKNOWN else before.email,
        sms=said.sms if said.sms is not Answer.UNKNOWN else before.sms,
        source=said.source or before.source,
        at=said.at or before.at,
    )
    return CustomerRow(old.id, identity, shopper, consent)


def _event(look: Look, draft: EventDraft, seq: int, subjects: Subjects, intake: Intake) -> EventRow:
    data: dict[str, Any] = {}
    personal: tuple[bytes | None, str | None] = (None, None)
    if draft.has_content and look.seen is not None:
        data = _content(look.seen)
        private = {"shopper": look.seen.shopper, "consent": look.seen.consent, "recovery_url": look.seen.recovery_url}
        personal = subjects.seal_personal(look.row.id, seq, orjson.dumps(private))
    return EventRow(
        cart_id=look.row.id,
        seq=seq,
        type=draft.type,
        episode=look.row.episode,
        occurred_at=draft.occurred_at,
        source=f"poll:{intake.work.platform}",
        revision=look.row.revision,
        data=data,
        personal_sealed=personal[0],
        subject_key_id=personal[1],
        cycle_id=intake.cycle_id,
    )


def _content(seen: SeenCart) -> dict[str, Any]:
    """Return the normal form as seen, without personal fields."""
    return {
        "source_cart_id": seen.source_cart_id,
        "store_id": seen.store_id,
        "status": seen.status,
        "created_at": seen.created_at,
        "updated_at": seen.updated_at,
        "completed_at": seen.completed_at,
        "currency": seen.currency,
        "total": seen.total,
        "subtotal": seen.subtotal,
        "discount": seen.discount,
        "tax": seen.tax,
        "lines": seen.lines,
        "coupons": seen.coupons,
        "order_ref": seen.order_ref,
        "is_test": seen.is_test,
        "is_mock": seen.is_mock,
        "raw_version": seen.raw_version,
    }


def _quarantine_id(integration_id: str, record: UnreadableRecord) -> str:
    return hashlib.sha256(integration_id.encode() + b"\x1f" + record.raw).hexdigest()


def _count(tally: Tally, looks: Sequence[Look], abandoned: set[Look]) -> None:
    counts = {
        "carts_new": sum(look.change.kind is Kind.NEW for look in looks),
        "carts_changed": sum(look.change.kind is Kind.CHANGED for look in looks),
        "carts_excluded": sum(look.seen is None and look.change.kind is Kind.CHANGED for look in looks),
        "carts_abandoned": len(abandoned),
    }
    tally.counts.update({name: count for name, count in counts.items() if count})
