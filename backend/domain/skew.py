"""Stores whose clock is not ours: how far it is off, and their carts' times as our clock would have told them.

Cursors stay in the store's own time, since that is what the store filters by. Everything else (when a cart is
abandoned, when it was bought after contact) is compared with our clock, so a page's times are moved before it is saved.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from backend.domain.carts import CartPage, SeenCart

# Clocks this close agree. It is also how far a known offset may drift before it is taken anew: were it to follow every
# answer's second, the same cart would seem younger or older with each look, and a newer look could pass for an older.
TOLERANCE = timedelta(minutes=5)
# A `Date` farther off than this tells of a broken header rather than of the clock that dates the records.
CREDIBLE = timedelta(days=2)
SECOND = timedelta(seconds=1)


def settled(before: timedelta, server_time: datetime | None, now: datetime) -> timedelta:
    """Return how far the store's clock is ahead of ours (negative: behind), in whole seconds.

    `before` is what was known of it; it stays unless `server_time` (the answer's `Date`) contradicts it by more than
    `TOLERANCE`.
    """
    if server_time is None:
        return before
    measured = round((server_time - now) / SECOND) * SECOND
    if abs(measured) > CREDIBLE:
        return timedelta(0)
    if abs(measured - before) <= TOLERANCE:
        return before
    return timedelta(0) if abs(measured) <= TOLERANCE else measured


def aligned(page: CartPage, offset: timedelta, now: datetime) -> CartPage:
    """Return the page with its carts' times by our clock, none of them later than `now`.

    A cart dated later than its own store's present would else outrank every later look at it until that time has
    come. Pages of stores whose clock agrees with ours are nearly always returned as they are.
    """
    if not offset and all(cart.updated_at <= now for cart in page.carts):
        return page
    notices = page.notices
    if offset:
        notices = (*notices, "store_clock_ahead" if offset > timedelta(0) else "store_clock_behind")
    return replace(page, carts=tuple(_cart(cart, offset, now) for cart in page.carts), notices=notices)


def _cart(cart: SeenCart, offset: timedelta, now: datetime) -> SeenCart:
    return replace(
        cart,
        created_at=_moment(cart.created_at, offset, now),
        updated_at=_moment(cart.updated_at, offset, now),
        completed_at=None if cart.completed_at is None else _moment(cart.completed_at, offset, now),
    )


def _moment(moment: datetime, offset: timedelta, now: datetime) -> datetime:
    try:
        return min(moment - offset, now)
    except OverflowError:  # the year 1 has no day before it
        return min(moment, now)
