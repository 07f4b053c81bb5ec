"""Looks at carts and stored carts for tests of pure rules; any field can be replaced."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from backend.domain.carts import Line, SeenCart, Shopper, SourceStatus
from backend.domain.lifecycle import MOVES, AgentRules, CartRow, CartState, first_sight

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
RULES = AgentRules(threshold=timedelta(minutes=30), horizon=timedelta(days=30), attribution=timedelta(days=7))
IDS = ("cart-1", "store-1", "agent-1")
ADA = Shopper(email="ada@example.com", first_name="Ada", last_name="Moss")


def line(price: str = "10.00", **fields: Any) -> Line:
    """Return one line of one piece."""
    amount = Decimal(price)
    return replace(Line("1", "Enamel mug", Decimal(1), amount, amount), **fields)


def seen(minutes_ago: float = 0, price: str = "10.00", **fields: Any) -> SeenCart:
    """Return a look at a cart of one line, last touched so many minutes before noon."""
    at = NOON - timedelta(minutes=minutes_ago)
    plain = SeenCart(
        source_cart_id="c1",
        store_id="shop.example",
        status=SourceStatus.OPEN,
        created_at=at,
        updated_at=at,
        currency="USD",
        total=Decimal(price),
        lines=(line(price),),
        shopper=ADA,
    )
    return replace(plain, **fields)


def bought(minutes_ago: float = 0, **fields: Any) -> SeenCart:
    """Return a look at a cart that was bought so many minutes before noon."""
    at = NOON - timedelta(minutes=minutes_ago)
    return seen(minutes_ago, status=SourceStatus.COMPLETED, completed_at=at, order_ref="1001", **fields)


def emptied(minutes_ago: float = 0) -> SeenCart:
    """Return a look at a cart without lines."""
    return seen(minutes_ago, price="0", lines=())


def stored(state: CartState = CartState.ACTIVE, minutes_ago: float = 60, **fields: Any) -> CartRow:
    """Return a stored cart in a state, last touched so many minutes before noon."""
    row = first_sight(seen(minutes_ago), IDS, RULES, NOON).row
    row.state = state
    if state not in {CartState.ACTIVE, CartState.ABANDONED}:
        row.next_check_at = None
    if state in {CartState.ABANDONED, CartState.RECOVERED, CartState.LOST}:
        row.episode, row.abandoned_at = 1, row.abandon_at(RULES)
    return replace(row, **fields)


def legal(before: CartState, after: CartState) -> bool:
    """Whether a cart may be seen to go from one state to another: through any number of legal moves."""
    reached, frontier = {before}, {before}
    while frontier:
        frontier = {to for state in frontier for to in MOVES[state]} - reached
        reached |= frontier
    return after in reached
