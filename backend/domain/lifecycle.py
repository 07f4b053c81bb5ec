"""What one more look at a cart changes: states, moves, episodes and events. Pure; the clock is an argument.

active -> abandoned | converted | emptied | excluded
abandoned -> active | recovered | converted | emptied | lost | excluded
emptied -> active          lost -> active | recovered | converted          excluded -> active
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from backend.domain.carts import Answer, Consent, Line, SeenCart, Shopper, SourceStatus
from backend.errors import IllegalMove


class CartState(StrEnum):
    """What we make of a cart."""

    ACTIVE = "active"
    ABANDONED = "abandoned"
    RECOVERED = "recovered"
    CONVERTED = "converted"
    EMPTIED = "emptied"
    LOST = "lost"
    EXCLUDED = "excluded"


_S = CartState
MOVES: dict[CartState, frozenset[CartState]] = {
    _S.ACTIVE: frozenset({_S.ABANDONED, _S.CONVERTED, _S.EMPTIED, _S.EXCLUDED}),
    _S.ABANDONED: frozenset({_S.ACTIVE, _S.RECOVERED, _S.CONVERTED, _S.EMPTIED, _S.LOST, _S.EXCLUDED}),
    _S.EMPTIED: frozenset({_S.ACTIVE}),
    _S.LOST: frozenset({_S.ACTIVE, _S.RECOVERED, _S.CONVERTED}),
    _S.EXCLUDED: frozenset({_S.ACTIVE}),
    _S.RECOVERED: frozenset(),
    _S.CONVERTED: frozenset(),
}
BOUGHT = frozenset({_S.RECOVERED, _S.CONVERTED})
CONTENT_DIGITS = 16  # of the 32 of an activity hash


@dataclass(frozen=True, slots=True)
class AgentRules:
    """An agent's own figures for its carts."""

    threshold: timedelta = timedelta(minutes=30)
    horizon: timedelta = timedelta(days=30)
    attribution: timedelta = timedelta(days=7)


@dataclass(slots=True)
class CartRow:
    """A stored cart. `customer_id` and `shopper` are the person it is linked to, if any."""

    id: str
    integration_id: str
    agent_id: str
    source_cart_id: str
    store_id: str
    state: CartState
    episode: int
    revision: str
    activity: str
    currency: str
    total: Decimal
    subtotal: Decimal | None
    discount: Decimal | None
    tax: Decimal | None
    item_count: int
    coupons: tuple[str, ...]
    recovery_url: str | None
    order_ref: str | None
    exclusion: str | None
    is_test: bool
    is_mock: bool
    source_created_at: datetime
    source_updated_at: datetime
    last_activity_at: datetime
    abandoned_at: datetime | None
    completed_at: datetime | None
    contacted_at: datetime | None
    erased_at: datetime | None
    events: int
    next_check_at: datetime | None
    awaits_read: bool
    customer_id: str | None = None

    def move(self, to: CartState) -> None:
        """Change the state. Raises `IllegalMove` for a move that the table above does not have."""
        if to not in MOVES[self.state]:
            raise IllegalMove(f"a cart cannot go from {self.state} to {to}")
        self.state = to

    def abandon_at(self, rules: AgentRules) -> datetime:
        """When the cart counts as abandoned if nothing more happens."""
        return self.last_activity_at + rules.threshold


@dataclass(frozen=True, slots=True)
class EventDraft:
    """An event to append; the shopper's data is added when `has_content`."""

    type: str
    occurred_at: datetime
    has_content: bool = False


class Kind(StrEnum):
    """What a look at a cart came to."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"
    STALE = "stale"


@dataclass(slots=True)
class Change:
    """A cart as it is to be stored, and what happened. `contact_came` asks the gate again for a denied hand-off."""

    kind: Kind
    row: CartRow
    events: list[EventDraft]
    contact_came: bool = False


def _digest(parts: list[str]) -> str:
    text = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _line(line: Line) -> str:
    return (
        f"{line.id}\x1e{line.product_id}\x1e{line.variant_id}\x1e{line.quantity}\x1e{line.line_total}\x1e{line.title}"
    )


def activity_hash(seen: SeenCart) -> str:
    """Hash what the shopper does, in two halves: what is in the cart, and who they say they are.

    A change of either moves the clock of an active cart; only the first (`content_of`) revives an abandoned one.
    """
    content = _digest([str(seen.total), seen.currency, *map(_line, seen.lines)])
    person = seen.shopper
    contact = _digest(
        [str(part) for part in (person.id, person.email, person.phone, person.first_name, person.last_name)]
    )
    return content[:CONTENT_DIGITS] + contact[:CONTENT_DIGITS]


def content_of(activity: str) -> str:
    """Return the half of an activity hash that tells of items, quantities and totals."""
    return activity[:CONTENT_DIGITS]


def revision_hash(seen: SeenCart, activity: str) -> str:
    """Hash everything a receiver would see. The same revision again means there is nothing to do."""
    person, consent = seen.shopper, seen.consent
    return _digest(
        [
            activity,
            seen.status,
            *(str(part) for part in (person.id, person.email, person.phone, person.first_name, person.last_name)),
            *(str(part) for part in (person.locale, person.country, consent.email, consent.sms)),
            *(str(part) for part in (seen.subtotal, seen.discount, seen.tax, seen.recovery_url, seen.order_ref)),
            *seen.coupons,
            *(
                f"{line.sku}\x1e{line.variant}\x1e{line.unit_price}\x1e{line.image_url}\x1e{line.url}"
                for line in seen.lines
            ),
        ]
    )


def first_sight(seen: SeenCart, ids: tuple[str, str, str], rules: AgentRules, now: datetime) -> Change:
    """Return the row and events of a cart never seen before. `ids` are those of cart, integration and agent."""
    activity = activity_hash(seen)
    last_activity = min(seen.updated_at, now)
    row = CartRow(
        id=ids[0],
        integration_id=ids[1],
        agent_id=ids[2],
        source_cart_id=seen.source_cart_id,
        store_id=seen.store_id,
        state=CartState.ACTIVE,
        episode=0,
        revision=revision_hash(seen, activity),
        activity=activity,
        currency=seen.currency,
        total=seen.total,
        subtotal=seen.subtotal,
        discount=seen.discount,
        tax=seen.tax,
        item_count=len(seen.lines),
        coupons=seen.coupons,
        recovery_url=seen.recovery_url,
        order_ref=seen.order_ref,
        exclusion=None,
        is_test=seen.is_test,
        is_mock=seen.is_mock,
        source_created_at=min(seen.created_at, now),
        source_updated_at=seen.updated_at,
        last_activity_at=last_activity,
        abandoned_at=None,
        completed_at=None,
        contacted_at=None,
        erased_at=None,
        events=0,
        next_check_at=None,
        awaits_read=False,
    )
    events = [EventDraft("cart.created", min(seen.created_at, now), has_content=True)]
    _settle_new(row, seen, rules, now, events)
    return Change(Kind.NEW, row, events)


def _settle_new(row: CartRow, seen: SeenCart, rules: AgentRules, now: datetime, events: list[EventDraft]) -> None:
    """Give a new cart its first state: complete, empty, past its horizon, or active."""
    if seen.status is SourceStatus.COMPLETED:
        _complete(row, seen, rules, now, events)
    elif not seen.lines:
        row.move(CartState.EMPTIED)
    elif row.abandon_at(rules) + rules.horizon < now:
        row.state = CartState.LOST  # too old to be handed off: it never was ours to abandon
        events.append(EventDraft("cart.lost", now))
    else:
        row.next_check_at = row.abandon_at(rules)


def next_sight(row: CartRow, seen: SeenCart, rules: AgentRules, now: datetime) -> Change:
    """Fold one more look at a stored cart into `row` (changed in place) and say what happened.

    An older look than the one stored changes nothing, unless it says that the cart was bought.
    """
    bought = seen.status is SourceStatus.COMPLETED
    if row.erased_at is not None or row.state in BOUGHT or (seen.updated_at < row.source_updated_at and not bought):
        return Change(Kind.STALE, row, [])
    activity = activity_hash(seen)
    revision = revision_hash(seen, activity)
    if revision == row.revision and not _has_come_back(row, seen):
        return Change(Kind.SAME, row, [])
    before = row.activity
    _take_over(row, seen, revision, activity)
    events = [EventDraft("cart.updated", min(seen.updated_at, now), has_content=True)]
    contact_came = False
    if bought:
        _complete(row, seen, rules, now, events)
    elif not seen.lines:
        _empty(row, now, events)
    else:
        contact_came = not _wake(row, seen, rules, now, events, before)
    return Change(Kind.CHANGED, row, events, contact_came=contact_came)


def _has_come_back(row: CartRow, seen: SeenCart) -> bool:
    """Whether an excluded cart is listed as a cart again."""
    return row.state is CartState.EXCLUDED and seen.status is SourceStatus.OPEN and bool(seen.lines)


def _take_over(row: CartRow, seen: SeenCart, revision: str, activity: str) -> None:
    """Copy what the platform says; decide nothing."""
    row.revision, row.activity = revision, activity
    row.currency, row.total = seen.currency, seen.total
    row.subtotal, row.discount, row.tax = seen.subtotal, seen.discount, seen.tax
    row.item_count, row.coupons = len(seen.lines), seen.coupons
    row.recovery_url, row.order_ref = seen.recovery_url, seen.order_ref
    row.is_test = seen.is_test
    row.source_updated_at = max(seen.updated_at, row.source_updated_at)


def _wake(
    row: CartRow, seen: SeenCart, rules: AgentRules, now: datetime, events: list[EventDraft], before: str
) -> bool:
    """Let the shopper's doings move the activity clock and revive the cart; return False when only details came.

    `before` is the activity hash so far. A late contact field alone does not revive, and neither does content that
    is no newer than the abandonment. What the store does by itself (a payment link that ends) moves no clock.
    """
    at = min(seen.updated_at, now)
    if row.state is CartState.ACTIVE:
        if row.activity != before:
            row.last_activity_at = max(row.last_activity_at, at)
        row.next_check_at = row.abandon_at(rules)
        return True
    moved = content_of(row.activity) != content_of(before)
    is_later = row.abandoned_at is None or at > row.abandoned_at
    if row.state in {CartState.ABANDONED, CartState.LOST} and not (moved and is_later):
        return False
    row.move(CartState.ACTIVE)
    row.exclusion, row.contacted_at, row.awaits_read = None, None, False
    row.last_activity_at = max(row.last_activity_at, at)
    row.next_check_at = row.abandon_at(rules)
    events.append(EventDraft("cart.revived", at))
    return True


def _complete(row: CartRow, seen: SeenCart, rules: AgentRules, now: datetime, events: list[EventDraft]) -> None:
    """Close a bought cart as recovered (bought after contact, within the window) or converted."""
    at = min(seen.completed_at or seen.updated_at, now)
    if row.state in {CartState.EMPTIED, CartState.EXCLUDED}:
        row.move(CartState.ACTIVE)
    after_contact = row.contacted_at is not None and row.contacted_at <= at <= row.contacted_at + rules.attribution
    is_open_episode = row.state in {CartState.ABANDONED, CartState.LOST}
    row.move(CartState.RECOVERED if after_contact and is_open_episode else CartState.CONVERTED)
    row.completed_at, row.order_ref = at, seen.order_ref
    row.next_check_at, row.awaits_read = None, False
    events.append(EventDraft(f"cart.{row.state}", at))


def _empty(row: CartRow, now: datetime, events: list[EventDraft]) -> None:
    if row.state in {CartState.ACTIVE, CartState.ABANDONED}:
        row.move(CartState.EMPTIED)
        row.next_check_at, row.awaits_read = None, False
        events.append(EventDraft("cart.emptied", now))


def exclude(row: CartRow, reason: str, now: datetime) -> Change:
    """Close a cart that the platform no longer shows as one."""
    if row.state not in {CartState.ACTIVE, CartState.ABANDONED}:
        return Change(Kind.SAME, row, [])
    row.move(CartState.EXCLUDED)
    row.exclusion, row.next_check_at, row.awaits_read = reason, None, False
    return Change(Kind.CHANGED, row, [EventDraft("cart.excluded", now)])


def is_abandoned(row: CartRow, rules: AgentRules, now: datetime) -> bool:
    """Whether the cart's time is up. An event in that very second still keeps it alive."""
    return row.state is CartState.ACTIVE and now > row.abandon_at(rules)


def abandon(row: CartRow, rules: AgentRules) -> EventDraft:
    """Begin the next episode of an idle cart; `abandoned_at` is the moment its threshold ran out."""
    row.move(CartState.ABANDONED)
    row.episode += 1
    row.abandoned_at, row.contacted_at = row.abandon_at(rules), None
    row.next_check_at = row.abandoned_at + rules.horizon
    return EventDraft("cart.abandoned", row.abandoned_at)


def is_lost(row: CartRow, rules: AgentRules, now: datetime) -> bool:
    """Whether an abandonment is past its horizon."""
    return row.state is CartState.ABANDONED and row.abandoned_at is not None and row.abandoned_at + rules.horizon < now


def check_later(row: CartRow, rules: AgentRules) -> None:
    """Set when an open cart's time is up by the agent's present figures."""
    if row.state is CartState.ACTIVE:
        row.next_check_at = row.abandon_at(rules)
    elif row.state is CartState.ABANDONED and row.abandoned_at is not None:
        row.next_check_at = row.abandoned_at + rules.horizon


def lose(row: CartRow, now: datetime) -> EventDraft:
    """Give up an abandoned cart that is past its horizon."""
    row.move(CartState.LOST)
    row.next_check_at, row.awaits_read = None, False
    return EventDraft("cart.lost", now)


def identity_of(shopper: Shopper) -> str | None:
    """Return what makes a person one person within a store; None for somebody without any contact."""
    if shopper.id:
        return f"id:{shopper.id}"
    if shopper.email:
        return f"email:{shopper.email}"
    return f"phone:{shopper.phone}" if shopper.phone else None


def refuses_contact(shopper: Shopper, consent: Consent) -> bool:
    """Whether every channel the person can be reached by says no."""
    answers = [consent.email] if shopper.email else []
    if shopper.phone:
        answers.append(consent.sms)
    return bool(answers) and all(answer is Answer.NO for answer in answers)
