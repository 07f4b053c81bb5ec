"""The gate: one row per rule and moment of asking, the order of the rules, the trace."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backend.domain.gate import FRESH_WAIT, RULES, Case, Stage, Verdict, decide
from backend.domain.lifecycle import CartState
from tests.domain.sights import NOON
from tests.domain.sights import RULES as AGENT

S, SECOND = CartState, timedelta(seconds=1)
GOOD = Case(
    event_type="cart.abandoned",
    stage=Stage.WRITE,
    now=NOON,
    state=S.ABANDONED,
    episode=1,
    cart_episode=1,
    abandon_at=NOON - timedelta(hours=1),
    horizon=AGENT.horizon,
    is_contactable=True,
    refuses_contact=False,
)
OLD: dict[str, Any] = {"abandon_at": NOON - AGENT.horizon - SECOND}
UNREACHABLE: dict[str, Any] = {"is_contactable": False}
REFUSES: dict[str, Any] = {"refuses_contact": True}
UNREAD: dict[str, Any] = {"needs_fresh_read": True}
# facts, what is said when a delivery is written, what right before an attempt
ROWS: list[tuple[dict[str, Any], str | None, str | None]] = [
    ({}, None, None),
    ({"is_erased": True}, "deny erased", "deny erased"),
    ({"state": S.RECOVERED}, "deny bought", "deny bought"),
    ({"state": S.CONVERTED}, "deny bought", "deny bought"),
    ({"state": S.EXCLUDED}, "deny excluded", "deny excluded"),
    ({"state": S.EMPTIED}, "deny excluded", "deny excluded"),
    ({"state": S.ACTIVE}, "deny threshold", "deny threshold"),
    ({"state": S.LOST}, "deny horizon", "deny horizon"),
    ({"abandon_at": NOON}, "defer threshold", None),
    ({"abandon_at": NOON + SECOND}, "defer threshold", None),
    ({"abandon_at": NOON - SECOND}, None, None),
    ({"cart_episode": 2}, "deny episode", "deny episode"),
    (OLD, "deny horizon", None),
    ({"abandon_at": NOON - AGENT.horizon}, None, None),
    (UNREACHABLE, "deny contactable", None),
    ({**UNREACHABLE, "include_uncontactable": True}, None, None),
    (REFUSES, "deny refused", "deny refused"),
    ({**REFUSES, "include_opted_out": True}, None, None),
    (UNREAD, "defer fresh", None),
    ({**UNREAD, "read_began_at": NOON - timedelta(hours=1)}, "defer fresh", None),
    ({**UNREAD, "read_began_at": NOON - timedelta(hours=1) + SECOND}, None, None),
]


def said(case: Case) -> str | None:
    decision = decide(case)
    return None if decision.allows else f"{decision.verdict} {decision.rule}"


@pytest.mark.parametrize(("facts", "at_write", "at_attempt"), ROWS, ids=[str(row[0]) for row in ROWS])
def test_what_the_gate_says(facts: dict[str, Any], at_write: str | None, at_attempt: str | None) -> None:
    case = replace(GOOD, **facts)
    assert (said(case), said(replace(case, stage=Stage.ATTEMPT))) == (at_write, at_attempt)


@pytest.mark.parametrize("event_type", ["cart.recovered", "cart.converted", "cart.lost"])
@pytest.mark.parametrize("state", list(S))
def test_an_outcome_is_not_asked_for_the_state_it_tells_of(event_type: str, state: CartState) -> None:
    assert decide(replace(GOOD, event_type=event_type, state=state, **OLD, **UNREACHABLE)).allows


@pytest.mark.parametrize(("facts", "rule"), [({"is_erased": True}, "erased"), (REFUSES, "refused")])
def test_an_outcome_is_asked_for_the_person(facts: dict[str, Any], rule: str) -> None:
    assert decide(replace(GOOD, event_type="cart.recovered", **facts)).rule == rule


def test_the_rules_have_their_order() -> None:
    expected = "erased bought excluded threshold episode horizon contactable refused fresh".split()
    assert [name for name, _ in RULES] == expected


def test_the_first_objection_decides_and_ends_the_trace() -> None:
    decision = decide(replace(GOOD, cart_episode=2, **UNREACHABLE, **REFUSES))
    assert decision.trace == [
        ["erased", "pass"],
        ["bought", "pass"],
        ["excluded", "pass"],
        ["threshold", "pass"],
        ["episode", "deny: the cart was abandoned anew since"],
    ]


def test_what_passes_shows_every_rule_it_passed() -> None:
    assert decide(GOOD).trace == [[name, "pass"] for name, _ in RULES]


@pytest.mark.parametrize(
    ("facts", "until"), [({"abandon_at": NOON + SECOND}, NOON + SECOND), (UNREAD, NOON + FRESH_WAIT)]
)
def test_a_deferral_says_until_when(facts: dict[str, Any], until: object) -> None:
    decision = decide(replace(GOOD, **facts))
    assert (decision.verdict, decision.until) == (Verdict.DEFER, until)


def test_only_an_abandonment_waits_for_a_read() -> None:
    assert decide(replace(GOOD, event_type="cart.updated", **UNREAD)).allows
