"""The one gate that every hand-off passes: an ordered list of rules, first objection wins, the trace is kept.

Asked twice: when a delivery is written, and from freshly loaded rows right before every attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from backend.domain.lifecycle import BOUGHT, CartState

STATE_EVENTS = frozenset({"cart.abandoned", "cart.updated"})
FRESH_WAIT = timedelta(minutes=5)


class Verdict(StrEnum):
    """What the gate says."""

    ALLOW = "allow"
    DEFER = "defer"
    DENY = "deny"


class Stage(StrEnum):
    """When the gate is asked."""

    WRITE = "write"
    ATTEMPT = "attempt"


@dataclass(frozen=True, slots=True)
class Case:
    """The facts of one hand-off. `episode` is the one the message speaks of, `cart_episode` the cart's present one.

    `read_began_at` is when the last read of this cart from its store began, if it was read in this transaction.
    """

    event_type: str
    stage: Stage
    now: datetime
    state: CartState
    episode: int
    cart_episode: int
    abandon_at: datetime
    horizon: timedelta
    is_contactable: bool
    refuses_contact: bool
    is_erased: bool = False
    needs_fresh_read: bool = False
    read_began_at: datetime | None = None
    include_uncontactable: bool = False
    include_opted_out: bool = False


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a rule does not let the case through; `until` is when to ask again, for a deferral."""

    verdict: Verdict
    words: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's answer. `trace` lists each rule asked and what it said, in order."""

    verdict: Verdict
    rule: str | None
    until: datetime | None
    trace: list[list[str]]

    @property
    def allows(self) -> bool:
        """Whether the hand-off may go on."""
        return self.verdict is Verdict.ALLOW


def _deny(words: str) -> Objection:
    return Objection(Verdict.DENY, words)


def _erased(case: Case) -> Objection | None:
    return _deny("the person was erased") if case.is_erased else None


def _bought(case: Case) -> Objection | None:
    return _deny("the cart was bought") if case.state in BOUGHT else None


def _excluded(case: Case) -> Objection | None:
    closed = {CartState.EXCLUDED: "the record is no cart", CartState.EMPTIED: "the cart is empty"}
    return _deny(closed[case.state]) if case.state in closed else None


def _threshold(case: Case) -> Objection | None:
    """Nobody is written to before the time is up; once written, a worker whose clock is behind asks no second time."""
    if case.state is CartState.ACTIVE:
        return _deny("the shopper is active")
    waits = case.stage is Stage.WRITE and case.now <= case.abandon_at
    return Objection(Verdict.DEFER, "not idle long enough", case.abandon_at) if waits else None


def _episode(case: Case) -> Objection | None:
    return _deny("the cart was abandoned anew since") if case.episode != case.cart_episode else None


def _horizon(case: Case) -> Objection | None:
    if case.state is CartState.LOST:
        return _deny("the abandonment is older than the horizon")
    is_new = case.stage is Stage.WRITE
    return _deny("older than the horizon") if is_new and case.now > case.abandon_at + case.horizon else None


def _contactable(case: Case) -> Objection | None:
    lacks = not case.is_contactable and not case.include_uncontactable
    return _deny("neither e-mail nor phone") if lacks and case.stage is Stage.WRITE else None


def _refused(case: Case) -> Objection | None:
    refuses = case.refuses_contact and not case.include_opted_out
    return _deny("every reachable channel says no consent") if refuses else None


def _fresh(case: Case) -> Objection | None:
    """A store that lets carts be read again is read again after `abandon_at`, so that a purchase is not missed."""
    waits = case.stage is Stage.WRITE and case.needs_fresh_read and case.event_type == "cart.abandoned"
    if not waits or (case.read_began_at is not None and case.read_began_at > case.abandon_at):
        return None
    return Objection(Verdict.DEFER, "waits for a read of the cart", case.now + FRESH_WAIT)


Rule = Callable[[Case], Objection | None]
# Rules about the cart's state hold for cart.abandoned and cart.updated only; outcome events tell of that state.
STATE_RULES: tuple[tuple[str, Rule], ...] = (
    ("bought", _bought),
    ("excluded", _excluded),
    ("threshold", _threshold),
    ("episode", _episode),
    ("horizon", _horizon),
    ("contactable", _contactable),
)
RULES: tuple[tuple[str, Rule], ...] = (("erased", _erased), *STATE_RULES, ("refused", _refused), ("fresh", _fresh))
OUTCOME_RULES: tuple[tuple[str, Rule], ...] = (("erased", _erased), ("refused", _refused))

PASSED = [[name, "pass"] for name, _ in RULES]


def decide(case: Case) -> Decision:
    """Ask the rules in order; the first objection decides."""
    rules = RULES if case.event_type in STATE_EVENTS else OUTCOME_RULES
    for position, (name, rule) in enumerate(rules):
        objection = rule(case)
        if objection is not None:
            trace = [[passed, "pass"] for passed, _ in rules[:position]]
            trace.append([name, f"{objection.verdict}: {objection.words}"])
            return Decision(objection.verdict, name, objection.until, trace)
    trace = PASSED if rules is RULES else [[name, "pass"] for name, _ in rules]
    return Decision(Verdict.ALLOW, None, None, trace)
